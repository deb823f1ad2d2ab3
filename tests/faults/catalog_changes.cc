#include "tests/faults/catalog_changes.h"

#include <deque>
#include <random>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tests/support/server_pair.h"

namespace walferry {
namespace {

// Partition n is for days 10 n to 10 n + 9.
std::string Bounds(int number) {
  return absl::StrFormat("for values from (%d) to (%d)", 10 * number, 10 * number + 10);
}

// The application at work in one connection.
class Application {
 public:
  Application(const std::string& conninfo, std::uint64_t seed)
      : source_(MustConnect(conninfo)), random_(seed) {}

  int Draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  void Do(const std::string& sql) { RunSql(source_, sql); }

  std::string Rows(const std::string& table, int number) {
    return absl::StrFormat(
        "insert into %s (id, day, v) select %d + g, %d + g %% 10, 'x' || g from generate_series(1, %d) g;",
        table, ++ids_ * 1000, 10 * number, Draw(1, 50));
  }

  // Sometimes together with its first rows in one transaction.
  void MakePartition() {
    const int number = next_++;
    const std::string make =
        absl::StrFormat("create table day_%d partition of days %s;", number, Bounds(number));
    Do(Draw(0, 1) == 0 ? "begin;" + make + Rows("days", number) + "commit" : make + Rows("days", number));
    there_.push_back(number);
  }

  void AttachTableWithRows() {
    const int number = next_++;
    const std::string name = absl::StrFormat("day_%d", number);
    Do(
        absl::StrFormat("create table %s (v text, extra int, day int not null, id bigint not null);"
                        "alter table %s drop extra; %s",
                        name, name, Rows(name, number)));
    Do(absl::StrFormat("alter table days attach partition %s %s; %s", name, Bounds(number),
                       Rows("days", number)));
    there_.push_back(number);
  }

  bool DropOldest(bool detach) {
    if (there_.size() < 4) return false;
    const int number = there_.front();
    there_.pop_front();
    if (detach) Do(absl::StrFormat("alter table days detach partition day_%d", number));
    Do(absl::StrFormat("drop table day_%d", number));
    return true;
  }

  // One that nobody has met yet, perhaps.
  void MakeAndDropAtOnce() {
    const int number = next_++;
    Do(absl::StrFormat("create table day_%d partition of days %s; %s drop table day_%d", number,
                       Bounds(number), Rows("days", number), number));
  }

  void RenameTable() {
    const std::string other = absl::StrFormat("named_%d", ++names_);
    Do(absl::StrFormat("alter table %s rename to %s; insert into %s values (%d, 'after')", named_, other,
                       other, ++ids_ * 1000));
    named_ = other;
  }

  void Write() {
    if (!there_.empty()) Do(Rows("days", there_.back()));
    Do(absl::StrFormat(
        "update days set v = v || '!' where id %% 7 = %d; delete from days where id %% 101 = %d;"
        "update %s set v = 'changed'",
        Draw(0, 6), Draw(0, 100), named_));
  }

 private:
  Connection source_;
  std::mt19937_64 random_;
  std::deque<int> there_ = {0};
  int next_ = 1;
  int ids_ = 0;
  int names_ = 0;
  std::string named_ = "named_0";
};

}  // namespace

void CatalogChanges::Create(const std::string& conninfo) {
  Connection source = MustConnect(conninfo);
  RunSql(source,
         "create table days (id bigint, day int, v text, primary key (id, day)) partition by range (day);"
         "create index on days (v); create table day_0 partition of days for values from (0) to (10);"
         "create table named_0 (id int primary key, v text)");
}

CatalogChanges::CatalogChanges(const std::string& conninfo, std::uint64_t seed)
    : thread_([this, conninfo, seed] { Run(conninfo, seed); }) {}

CatalogChanges::~CatalogChanges() {
  Stop();
}

void CatalogChanges::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void CatalogChanges::Run(const std::string& conninfo, std::uint64_t seed) {
  Application application(conninfo, seed);
  while (!stop_) {
    switch (application.Draw(0, 9)) {
      case 0:
        application.MakePartition();
        ++made_;
        break;
      case 1:
        application.AttachTableWithRows();
        ++attached_;
        break;
      case 2:
        if (application.DropOldest(application.Draw(0, 1) == 0)) ++dropped_;
        break;
      case 3:
        application.MakeAndDropAtOnce();
        ++short_lived_;
        break;
      case 4:
        application.RenameTable();
        ++renamed_;
        break;
      default:
        application.Write();
    }
    absl::SleepFor(absl::Milliseconds(application.Draw(100, 1200)));
  }
}

std::string CatalogChanges::Summary() const {
  return absl::StrFormat(
      "%d partitions made, %d attached, %d dropped, %d made and dropped at once, %d renamings", made_.load(),
      attached_.load(), dropped_.load(), short_lived_.load(), renamed_.load());
}

}  // namespace walferry
