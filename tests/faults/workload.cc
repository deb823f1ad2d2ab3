#include "tests/faults/workload.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "tests/faults/table_shapes.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

// A statement may meet what another one did before: constraints, deadlocks, locks that it does not get.
// Everything else is a mistake of the test.
bool MayHappen(const absl::Status& error) {
  const std::string sqlstate = SqlstateOf(error);
  return sqlstate.starts_with("23") || sqlstate.starts_with("40") || sqlstate == "55P03" ||
         sqlstate == "21000";
}

}  // namespace

void CreateShapes(const std::string& conninfo, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Connection connection = MustConnect(conninfo);
  RunSql(connection, std::string(kShapeTypesSql));
  for (const TableShape& shape : TableShapes()) {
    RunSql(connection, std::string(shape.create));
    for (int i = 0; i < 3; ++i) {
      const std::string change = FillTemplate(shape.changes.front(), 500, random);
      const absl::Status status = connection.Execute(change).status();
      EXPECT_TRUE(status.ok() || MayHappen(status)) << status << "\nin: " << change;
    }
  }
}

class Workload::Writer {
 public:
  Writer(Workload& owner, const std::string& conninfo, std::uint64_t seed)
      : owner_(owner), random_(seed), connection_(MustConnect(conninfo)) {
    // A writer that waits for the lock of a table that is being emptied or copied goes on with another.
    RunSql(connection_, "set lock_timeout = '2s'");
  }

  void Run() {
    while (!owner_.stop_ && !broken_) {
      const int kind = Draw(0, 99);
      if (kind < 40) {
        WriteOne();
      } else {
        WriteTransaction(kind >= 97);
      }
    }
  }

 private:
  int Draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  std::string NextStatement(int rows) {
    const std::vector<TableShape>& shapes = TableShapes();
    const TableShape& shape = shapes[static_cast<std::size_t>(Draw(0, static_cast<int>(shapes.size()) - 1))];
    // Inserts stand first, and come more often, lest the tables run empty.
    const int last = static_cast<int>(shape.changes.size()) - 1;
    const std::string_view change = shape.changes[static_cast<std::size_t>(std::max(0, Draw(-1, last)))];
    // A table that is emptied more often than a copy takes could never be copied.
    if (change.starts_with("truncate") && Draw(0, 99) > 0) return NextStatement(rows);
    return FillTemplate(change, rows, random_);
  }

  // False: the statement failed, and with it the transaction, if there is one.
  bool Execute(const std::string& sql) {
    const absl::StatusOr<Result> result = connection_.Execute(sql);
    if (result.ok()) {
      pending_ += result->affected();
      return true;
    }
    if (!MayHappen(result.status())) {
      ADD_FAILURE() << result.status() << "\nin: " << sql;
      broken_ = true;
    }
    return false;
  }

  void Committed(bool large) {
    owner_.changes_ += pending_;
    ++(large ? owner_.large_commits_ : owner_.commits_);
    pending_ = 0;
  }

  void WriteOne() {
    pending_ = 0;
    if (Execute(NextStatement(Draw(1, 10)))) Committed(false);
  }

  void WriteTransaction(bool large) {
    pending_ = 0;
    if (!Execute("begin")) return;
    bool ok = true;
    const int statements = large ? Draw(3, 8) : Draw(1, 8);
    for (int i = 0; ok && i < statements; ++i) {
      ok = Draw(0, 3) == 0 ? WriteSubtransaction(large, 1) : Execute(NextStatement(Rows(large)));
    }
    if (ok && Draw(0, 9) > 0 && Execute("commit")) return Committed(large);
    Execute("rollback");
    ++owner_.rollbacks_;
  }

  int Rows(bool large) { return large ? Draw(500, 2500) : Draw(1, 30); }

  bool WriteSubtransaction(bool large, int depth) {
    const std::string name = absl::StrFormat("s%d", depth);
    const std::int64_t pending_before = pending_;
    if (!Execute("savepoint " + name)) return false;
    bool ok = true;
    const int statements = Draw(1, 3);
    for (int i = 0; ok && i < statements; ++i) {
      const bool nested = depth < 3 && Draw(0, 3) == 0;
      ok = nested ? WriteSubtransaction(large, depth + 1) : Execute(NextStatement(Rows(large)));
    }
    if (broken_) return false;
    if (ok && Draw(0, 2) > 0) return Draw(0, 1) == 0 || Execute("release " + name);
    pending_ = pending_before;
    ++owner_.savepoint_rollbacks_;
    return Execute("rollback to " + name);
  }

  Workload& owner_;
  std::mt19937_64 random_;
  Connection connection_;
  std::int64_t pending_ = 0;
  bool broken_ = false;
};

Workload::Workload(const std::string& conninfo, std::uint64_t seed, int writers) {
  for (int i = 0; i < writers; ++i) {
    threads_.emplace_back([this, conninfo, seed = seed + 1 + static_cast<std::uint64_t>(i)] {
      Writer(*this, conninfo, seed).Run();
    });
  }
}

Workload::~Workload() {
  Stop();
}

void Workload::Stop() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

std::string Workload::Summary() const {
  return absl::StrFormat("%d changes in %d small and %d large transactions; %d rolled back, %d savepoints",
                         changes_.load(), commits_.load(), large_commits_.load(), rollbacks_.load(),
                         savepoint_rollbacks_.load());
}

}  // namespace walferry
