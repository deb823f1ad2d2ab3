// How much a session that throws everything away costs itself and the walsender: each transport, with and
// without pacing, in turns. Reads the same backlog again and again through copies of a slot of pgoutput that
// was made before the backlog. Source and bench must be on one machine for the walsender's figures.
//
//   receive_bench CONNINFO SLOT PUBLICATION UNTIL_LSN [RUNS]
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/time/clock.h"
#include "bench/dropping_sink.h"
#include "stream/session.h"

namespace walferry {
namespace {

struct Costs {
  double seconds = 0;
  double own_cpu = 0;
  double walsender_cpu = 0;
};

double OwnCpu() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// proc(5): utime and stime are the 12th and 13th field behind the name in parentheses.
double CpuOf(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

[[noreturn]] void Fail(const absl::Status& status) {
  std::fprintf(stderr, "receive_bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) Fail(value.status());
  return *std::move(value);
}

ConnectOptions Options(const std::string& conninfo) {
  ConnectOptions options;
  options.conninfo = conninfo;
  return options;
}

class Bench {
 public:
  Bench(SessionOptions options, Lsn until)
      : slot_(options.slot),
        options_(std::move(options)),
        until_(until),
        admin_(Must(Connection::Open(Options(options_.source)))) {
    options_.slot = "receive_bench_" + std::to_string(getpid());
  }

  void Run(const char* name, TransportKind transport, absl::Duration longest_nap) {
    Must(admin_.Execute("SELECT pg_copy_logical_replication_slot($1, $2)", {slot_, options_.slot}));
    options_.transport = transport;
    options_.longest_nap = longest_nap;
    MemoryBudget budget(std::size_t{512} << 20);
    StopSignal stop;
    int walsender = 0;
    Costs before;
    Costs costs;
    DroppingSink sink(until_, [&] {
      costs = Now(walsender);
      stop.Request();
    });
    Session session(options_, budget, sink, stop, [&](const SessionEvent& event) {
      if (event.kind != SessionEvent::Kind::kConnected) return;
      walsender = static_cast<int>(
          Must(admin_.Execute("SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1",
                              {options_.slot}))
              .GetInt(0, 0));
      before = Now(walsender);
    });
    const absl::Status status = session.Run([] { return std::nullopt; });
    if (!status.ok()) Fail(status);
    const SessionCounters& counters = session.counters();
    const auto messages = static_cast<double>(counters.messages.load());
    const double own = costs.own_cpu - before.own_cpu;
    std::printf("%-16s %7.2f %9.2f %12.2f %9.0f %9llu %10.3f\n", name, costs.seconds - before.seconds, own,
                costs.walsender_cpu - before.walsender_cpu, messages,
                static_cast<unsigned long long>(counters.reads.load()), own / messages * 1e6);
    std::fflush(stdout);
    Must(admin_.Execute("SELECT pg_drop_replication_slot($1)", {options_.slot}));
  }

 private:
  static Costs Now(int walsender) {
    return {.seconds = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()),
            .own_cpu = OwnCpu(),
            .walsender_cpu = CpuOf(walsender)};
  }

  const std::string slot_;
  SessionOptions options_;
  const Lsn until_;
  Connection admin_;
};

int Main(int argc, char** argv) {
  const absl::StatusOr<Lsn> until = Lsn::Parse(argc < 5 ? "" : argv[4]);
  if (!until.ok()) {
    std::fprintf(stderr, "receive_bench CONNINFO SLOT PUBLICATION UNTIL_LSN [RUNS]\n");
    return 2;
  }
  const int runs = argc > 5 ? std::atoi(argv[5]) : 3;
  SessionOptions options;
  options.source = argv[1];
  options.slot = argv[2];
  options.publications = {argv[3]};
  options.wishes = {.proto_version = 1};
  const absl::Duration nap = options.longest_nap;
  Bench bench(options, *until);
  std::printf("%-16s %7s %9s %12s %9s %9s %10s\n", "", "seconds", "own cpu s", "walsender s", "messages",
              "reads", "us/message");
  for (int run = 0; run < runs; ++run) {
    bench.Run("socket paced", TransportKind::kAuto, nap);
    bench.Run("socket unpaced", TransportKind::kAuto, absl::ZeroDuration());
    bench.Run("libpq paced", TransportKind::kLibpq, nap);
    bench.Run("libpq unpaced", TransportKind::kLibpq, absl::ZeroDuration());
  }
  return 0;
}

}  // namespace
}  // namespace walferry

int main(int argc, char** argv) {
  return walferry::Main(argc, argv);
}
