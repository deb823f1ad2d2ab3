// Tested by tests/tools/demo_test.cc
#include "tools/demo.h"

#include <poll.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#include "absl/time/clock.h"
#include "stream/connection.h"
#include "stream/slot.h"
#include "tools/demo_clients.h"
#include "tools/demo_program.h"
#include "tools/demo_shop.h"
#include "tools/log.h"
#include "tools/progress.h"
#include "tools/quantity.h"
#include "tools/status.h"
#include "tools/throwaway_server.h"

namespace walferry {
namespace {

constexpr int kClients = 4;
constexpr double kUsualRate = 120;  // Transactions a second, of all clients together.
constexpr double kRushRate = 600;
constexpr absl::Duration kFollowing = absl::Seconds(4);
constexpr absl::Duration kOutage = absl::Seconds(6);
constexpr absl::Duration kPatience = absl::Minutes(10);

// What the demo ends with.
struct Figures {
  std::int64_t rows = 0;
  double copy_mb_per_s = 0;
  std::int64_t changes = 0;
  double catch_up_changes_per_s = 0;
  absl::Duration write_pause;
  std::size_t tables = 0;
};

class Demo {
 public:
  Demo(const DemoOptions& options, const StopSignal& stop, std::ostream& out)
      : options_(options), stop_(stop), out_(out) {
    if (options_.seed == 0) options_.seed = std::random_device()();
  }

  absl::Status Run() {
    const absl::Time started = absl::Now();
    Say("A shop moves to another database server, and stays open while it does.");
    WF_RETURN_IF_ERROR(StartServers());
    WF_RETURN_IF_ERROR(FillShop());
    WF_RETURN_IF_ERROR(OpenShop());
    WF_RETURN_IF_ERROR(Migrate());
    WF_RETURN_IF_ERROR(PullThePlug());
    WF_RETURN_IF_ERROR(Continue());
    WF_RETURN_IF_ERROR(CutOver());
    WF_RETURN_IF_ERROR(Verify());
    WF_RETURN_IF_ERROR(OpenOnNewServer());
    PrintFigures(absl::Now() - started);
    return options_.keep ? KeepServers() : absl::OkStatus();
  }

 private:
  void Say(std::string_view text) { out_ << text << std::endl; }
  template <typename... Args>
  void Step(const absl::FormatSpec<Args...>& format, const Args&... args) {
    out_ << "\n" << ++step_ << ". " << absl::StrFormat(format, args...) << std::endl;
  }
  template <typename... Args>
  void Tell(const absl::FormatSpec<Args...>& format, const Args&... args) {
    out_ << "   " << absl::StrFormat(format, args...) << std::endl;
  }

  absl::Status StartServers();
  absl::Status FillShop();
  absl::Status OpenShop();
  absl::Status Migrate();
  absl::Status PullThePlug();
  absl::Status Continue();
  absl::Status CutOver();
  absl::Status Verify();
  absl::Status OpenOnNewServer();
  void PrintFigures(absl::Duration took);
  absl::Status KeepServers();

  absl::StatusOr<Connection> Connect(const std::string& conninfo) const;
  absl::StatusOr<std::string> Ask(Connection& connection, const std::string& sql) const;
  // Lets the shop live on for a while; ends early when a stop is requested.
  absl::Status Pass(absl::Duration duration);
  // The same, and shows on a terminal how far the new server is behind.
  absl::Status PassWatching(std::string_view title, absl::Duration duration);
  // Looks at the migration's state until `reached` says that it got there, while the program in the
  // background runs.
  absl::StatusOr<StatusReport> WatchUntil(const std::function<bool(const StatusReport&)>& reached);

  DemoOptions options_;
  const StopSignal& stop_;
  std::ostream& out_;
  int step_ = 0;
  std::unique_ptr<ThrowawayServer> old_server_;
  std::unique_ptr<ThrowawayServer> new_server_;
  std::string source_;
  std::string target_;
  ShopSize size_;
  double shop_bytes_ = 0;
  std::unique_ptr<DemoClients> clients_;
  std::unique_ptr<DemoProgram> program_;
  std::int64_t transactions_at_kill_ = 0;
  std::int64_t changes_at_kill_ = 0;
  Figures figures_;
};

std::int64_t ChangesOf(const StatusReport& report) {
  std::int64_t changes = 0;
  for (const TableRecord& table : report.tables) {
    const TableCounters& counters = table.counters;
    changes += counters.inserts + counters.updates + counters.deletes + counters.truncates;
  }
  return changes;
}

TableRecord SumOf(const std::vector<TableRecord>& tables) {
  TableRecord sum;
  for (const TableRecord& table : tables) {
    sum.rows += table.rows;
    sum.bytes += table.bytes;
  }
  return sum;
}

absl::StatusOr<Connection> Demo::Connect(const std::string& conninfo) const {
  ConnectOptions options;
  options.conninfo = conninfo;
  options.stop = &stop_;
  options.settings = {{"demo.scale", absl::StrFormat("%g", options_.scale)}};
  return Connection::Open(options);
}

absl::StatusOr<std::string> Demo::Ask(Connection& connection, const std::string& sql) const {
  WF_ASSIGN_OR_RETURN(const Result result, connection.Execute(sql));
  return std::string(result.rows() > 0 ? result.Get(0, 0) : "");
}

absl::Status Demo::Pass(absl::Duration duration) {
  pollfd stop_requested{stop_.fd(), POLLIN, 0};
  const int timeout_ms =
      duration == absl::InfiniteDuration() ? -1 : static_cast<int>(absl::ToInt64Milliseconds(duration));
  while (poll(&stop_requested, 1, timeout_ms) < 0 && errno == EINTR) {
  }
  return stop_.requested() ? absl::CancelledError("stopped") : absl::OkStatus();
}

std::string Behind(const StatusReport& report) {
  const Lsn source = std::max(report.source_wal_end, report.migration.confirmed);
  return absl::StrFormat("%s changes applied, %s behind", FormatCount(ChangesOf(report)),
                         FormatBytes(static_cast<double>(source.value - report.migration.confirmed.value)));
}

absl::Status Demo::PassWatching(std::string_view title, absl::Duration duration) {
  ProgressLine line(std::string(title), absl::InfiniteDuration());
  const absl::Time end = absl::Now() + duration;
  for (absl::Time now; (now = absl::Now()) < end;) {
    const absl::StatusOr<StatusReport> report = ReadStatus(source_, target_, "demo");
    if (report.ok()) line.Update(Behind(*report));
    WF_RETURN_IF_ERROR(Pass(std::min(end - now, absl::Milliseconds(300))));
  }
  return absl::OkStatus();
}

absl::StatusOr<StatusReport> Demo::WatchUntil(const std::function<bool(const StatusReport&)>& reached) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (absl::Now() < deadline) {
    WF_RETURN_IF_ERROR(program_->CheckRunning());
    absl::StatusOr<StatusReport> report = ReadStatus(source_, target_, "demo");
    // At first there is no state to be read.
    if (report.ok() && reached(*report)) return report;
    WF_RETURN_IF_ERROR(Pass(absl::Milliseconds(100)));
  }
  return absl::DeadlineExceededError("the migration did not get on");
}

absl::Status Demo::StartServers() {
  Step("Two PostgreSQL servers for this demo alone: the old one and the new one.");
  ThrowawayServerOptions server;
  server.settings = {{"max_wal_size", "4GB"}};
  server.name = "old";
  WF_ASSIGN_OR_RETURN(old_server_, ThrowawayServer::Start(server));
  server.name = "new";
  WF_ASSIGN_OR_RETURN(new_server_, ThrowawayServer::Start(server));
  for (const ThrowawayServer* started : {old_server_.get(), new_server_.get()}) {
    WF_ASSIGN_OR_RETURN(Connection connection, Connect(started->Conninfo("postgres")));
    WF_RETURN_IF_ERROR(connection.Execute("create database shop").status());
  }
  source_ = old_server_->Conninfo("shop");
  target_ = new_server_->Conninfo("shop");
  WF_ASSIGN_OR_RETURN(program_, DemoProgram::Make(source_, target_));
  Tell("old: %s", source_);
  Tell("new: %s", target_);
  return absl::OkStatus();
}

absl::Status Demo::FillShop() {
  Step("The shop's shelves are filled on the old server.");
  const absl::Time started = absl::Now();
  WF_ASSIGN_OR_RETURN(Connection connection, Connect(source_));
  {
    ProgressLine line("fill", absl::InfiniteDuration());
    line.Update("partitions, jsonb, large texts, arrays, generated columns, triggers, foreign keys");
    WF_RETURN_IF_ERROR(connection.Execute(std::string(kDemoShopSql)).status());
  }
  WF_ASSIGN_OR_RETURN(
      const Result size,
      connection.Execute("select (select count(*) from shop.customer), (select count(*) from shop.product), "
                         "(select count(*) from shop.\"Order\"), pg_database_size(current_database())"));
  size_ = {.customers = size.GetInt(0, 0), .products = size.GetInt(0, 1), .orders = size.GetInt(0, 2)};
  shop_bytes_ = static_cast<double>(size.GetInt(0, 3));
  Tell("%s customers, %s products, %s orders in yearly partitions: %s in %s.", FormatCount(size_.customers),
       FormatCount(size_.products), FormatCount(size_.orders), FormatBytes(shop_bytes_),
       FormatTimeSpan(absl::Now() - started));
  return absl::OkStatus();
}

absl::Status Demo::OpenShop() {
  Step("The shop opens: %d clients write, about %.0f transactions a second (seed %d).", kClients, kUsualRate,
       options_.seed);
  clients_ = std::make_unique<DemoClients>(source_, kClients, options_.seed, size_, kUsualRate);
  return Pass(absl::Seconds(1));
}

absl::Status Demo::Migrate() {
  Step("walferry migrate --source OLD --target NEW");
  const absl::Time started = absl::Now();
  const std::int64_t transactions_before = clients_->transactions();
  WF_RETURN_IF_ERROR(program_->Start({"migrate"}));
  absl::Time copy_began = started;
  StatusReport copied;
  {
    ProgressLine line("copy", absl::InfiniteDuration());
    WF_ASSIGN_OR_RETURN(copied, WatchUntil([&](const StatusReport& report) {
                          if (report.migration.phase < Phase::kCopy) copy_began = absl::Now();
                          const auto bytes = static_cast<double>(SumOf(report.tables).bytes);
                          line.Update(bytes / shop_bytes_, FormatBytes(bytes));
                          return report.migration.phase > Phase::kCopy;
                        }));
  }
  const absl::Duration copy_took = absl::Now() - copy_began;
  const TableRecord sum = SumOf(copied.tables);
  figures_.rows = sum.rows;
  figures_.copy_mb_per_s = static_cast<double>(sum.bytes) / 1e6 / absl::ToDoubleSeconds(copy_took);
  Tell("Schema brought over; %s rows of %d tables copied with the shop open: %s in %s, %.0f MB/s.",
       FormatCount(sum.rows), copied.tables.size(), FormatBytes(static_cast<double>(sum.bytes)),
       FormatTimeSpan(copy_took), figures_.copy_mb_per_s);
  WF_RETURN_IF_ERROR(WatchUntil([](const StatusReport& report) {
                       return report.migration.phase >= Phase::kFollow;
                     }).status());
  Tell(
      "Indexes built. It follows the old server, %s after the command. Meanwhile the shop took %s "
      "transactions.",
      FormatTimeSpan(absl::Now() - started), FormatCount(clients_->transactions() - transactions_before));
  return PassWatching("follow", kFollowing);
}

absl::Status Demo::PullThePlug() {
  Step("And now we pull the plug: kill -9, in the middle of its work, at rush hour.");
  clients_->SetRate(kRushRate);
  WF_RETURN_IF_ERROR(Pass(absl::Seconds(1)));
  WF_RETURN_IF_ERROR(program_->CheckRunning());
  program_->Kill();
  transactions_at_kill_ = clients_->transactions();
  WF_ASSIGN_OR_RETURN(const StatusReport killed, ReadStatus(source_, target_, "demo"));
  changes_at_kill_ = ChangesOf(killed);
  WF_RETURN_IF_ERROR(PassWatching("nobody", kOutage));
  clients_->SetRate(kUsualRate);
  Tell("For %s nobody follows. The shop goes on: %s transactions wait in the old server's log.",
       FormatTimeSpan(kOutage), FormatCount(clients_->transactions() - transactions_at_kill_));
  return absl::OkStatus();
}

absl::Status Demo::Continue() {
  Step("The same command again.");
  WF_ASSIGN_OR_RETURN(Connection connection, Connect(source_));
  WF_ASSIGN_OR_RETURN(const Lsn goal, CurrentWalLsn(connection));
  const absl::Time started = absl::Now();
  WF_RETURN_IF_ERROR(program_->Start({"migrate"}));
  StatusReport report;
  {
    ProgressLine line("catch up", absl::InfiniteDuration());
    WF_ASSIGN_OR_RETURN(report, WatchUntil([&](const StatusReport& now) {
                          line.Update(Behind(now));
                          return now.migration.confirmed >= goal;
                        }));
  }
  const absl::Duration took = absl::Now() - started;
  const std::int64_t changes = ChangesOf(report) - changes_at_kill_;
  figures_.catch_up_changes_per_s = static_cast<double>(changes) / absl::ToDoubleSeconds(took);
  Tell("It asked the new server how far it had come, went on from there and caught up: %s changes in %s.",
       FormatCount(changes), FormatTimeSpan(took));
  return Pass(absl::Seconds(2));
}

absl::Status Demo::CutOver() {
  Step("The shop closes for a moment, and: walferry cutover --source OLD --target NEW --fence none");
  WF_RETURN_IF_ERROR(clients_->Stop());
  const absl::Time closed = absl::Now();
  WF_ASSIGN_OR_RETURN(const std::string text, program_->Run({"cutover", "--fence", "none", "--json"}, stop_));
  figures_.write_pause = absl::Now() - closed;
  const nlohmann::json report = nlohmann::json::parse(text, nullptr, false);
  if (report.is_discarded() || !report.contains("position"))
    return absl::InternalError("cutover printed no JSON: " + text);
  // It took over from the one in the background, which ends by that.
  WF_RETURN_IF_ERROR(program_->WaitForEnd(absl::Now() + absl::Minutes(1)));
  WF_ASSIGN_OR_RETURN(const StatusReport end, ReadStatus(source_, target_, "demo"));
  figures_.changes = ChangesOf(end);
  Tell("Everything up to %s is on the new server, with foreign keys, triggers and %d sequences.",
       report["position"].get<std::string>(), report.value("sequences_set", 0));
  Tell("Write pause: %s, from the last write on the old server until the new one takes writes.",
       FormatTimeSpan(figures_.write_pause));
  return absl::OkStatus();
}

absl::Status Demo::Verify() {
  Step("walferry verify --source OLD --target NEW");
  WF_ASSIGN_OR_RETURN(const std::string text, program_->Run({"verify", "--json"}, stop_));
  const nlohmann::json report = nlohmann::json::parse(text, nullptr, false);
  if (report.is_discarded() || !report.contains("tables"))
    return absl::InternalError("verify printed no JSON: " + text);
  for (const nlohmann::json& table : report["tables"]) {
    if (!table.value("equal", false))
      return absl::InternalError("verify found a difference: " + table.dump());
    Tell("equal  %-24s %10s rows", table.value("name", ""),
         FormatCount(table.value("rows_target", std::int64_t{0})));
  }
  figures_.tables = report["tables"].size();
  return absl::OkStatus();
}

absl::Status Demo::OpenOnNewServer() {
  Step("The shop opens again, on the new server.");
  WF_ASSIGN_OR_RETURN(Connection connection, Connect(target_));
  WF_ASSIGN_OR_RETURN(const std::string newest, Ask(connection, "select max(id) from shop.\"Order\""));
  WF_ASSIGN_OR_RETURN(
      const std::string order,
      Ask(connection, "insert into shop.\"Order\" (customer_id, status) values (1, 'paid') returning id"));
  WF_ASSIGN_OR_RETURN(const std::string touched, Ask(connection,
                                                     "update shop.customer set name = name where id = 1 "
                                                     "returning updated_at > now() - interval '1 minute'"));
  if (touched != "t")
    return absl::InternalError("the trigger on shop.customer does not fire on the new server");
  clients_ = std::make_unique<DemoClients>(target_, kClients, options_.seed + kClients, size_, kUsualRate);
  WF_RETURN_IF_ERROR(Pass(absl::Seconds(1)));
  WF_RETURN_IF_ERROR(clients_->Stop());
  Tell("Its newest order was no. %s; the next one got no. %s. Sequences and triggers work.", newest, order);
  Tell("The same clients wrote %s transactions to it in a second.", FormatCount(clients_->transactions()));
  return absl::OkStatus();
}

void Demo::PrintFigures(absl::Duration took) {
  out_ << absl::StrFormat("\nThe shop has moved. It was closed for %s; the whole demo took %s.\n",
                          FormatTimeSpan(figures_.write_pause), FormatTimeSpan(took));
  Tell("%-12s %s rows, %.0f MB/s", "first copy", FormatCount(figures_.rows), figures_.copy_mb_per_s);
  Tell("%-12s %s changes; %s a second while catching up, program start included", "stream",
       FormatCount(figures_.changes), FormatCount(std::llround(figures_.catch_up_changes_per_s)));
  Tell("%-12s %s", "write pause", FormatTimeSpan(figures_.write_pause));
  Tell("%-12s %d of %d tables equal", "proof", figures_.tables, figures_.tables);
}

absl::Status Demo::KeepServers() {
  out_ << "\nBoth servers stay until you press Ctrl-C:\n  psql '" << source_ << "'\n  psql '" << target_
       << "'" << std::endl;
  Pass(absl::InfiniteDuration()).IgnoreError();
  return absl::OkStatus();
}

}  // namespace

absl::Status RunDemo(const DemoOptions& options, const StopSignal& stop, std::ostream& out) {
  const absl::Status status = Demo(options, stop, out).Run();
  if (absl::IsCancelled(status) && stop.requested()) out << "\nStopped. Both servers are gone." << std::endl;
  return status;
}

}  // namespace walferry
