#include "tools/metrics_http.h"

#include <httplib.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

namespace walferry {
namespace {

constexpr absl::Duration kHealthyFor = absl::Seconds(30);
constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";
constexpr int kThreads = 2;
constexpr int kTimeoutSeconds = 5;

// Names are what dashboards and alerts are built on.
constexpr const char* kSourceWalEnd = "walferry_source_wal_end_bytes";
constexpr const char* kReceived = "walferry_received_lsn_bytes";
constexpr const char* kApplied = "walferry_applied_lsn_bytes";
constexpr const char* kConfirmed = "walferry_confirmed_lsn_bytes";
constexpr const char* kLagBytes = "walferry_lag_bytes";
constexpr const char* kLagSeconds = "walferry_lag_seconds";
constexpr const char* kEta = "walferry_caught_up_in_seconds";
constexpr const char* kChanges = "walferry_changes_total";
constexpr const char* kTransactions = "walferry_transactions_total";
constexpr const char* kReceivedBytes = "walferry_received_bytes_total";
constexpr const char* kBatches = "walferry_batches_total";
constexpr const char* kReplays = "walferry_batch_replays_total";
constexpr const char* kSpooled = "walferry_spooled_bytes_total";
constexpr const char* kMemory = "walferry_memory_used_bytes";
constexpr const char* kSourceReconnects = "walferry_source_reconnects_total";
constexpr const char* kCatalogDifferences = "walferry_catalog_differences";
constexpr const char* kTargetReconnects = "walferry_target_reconnects_total";

void Append(std::string& text, const char* name, const char* type, const char* help, double value) {
  absl::StrAppendFormat(&text, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, value);
}

template <typename Number>
void Gauge(std::string& text, const char* name, const char* help, Number value) {
  Append(text, name, "gauge", help, static_cast<double>(value));
}

template <typename Number>
void Counter(std::string& text, const char* name, const char* help, Number value) {
  Append(text, name, "counter", help, static_cast<double>(value));
}

struct Address {
  std::string host;
  int port = 0;
};

absl::StatusOr<Address> ParseListen(std::string_view listen) {
  const std::size_t colon = listen.rfind(':');
  Address address;
  if (colon != std::string_view::npos) {
    std::string_view host = listen.substr(0, colon);
    const std::string_view port = listen.substr(colon + 1);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    address.host = host.empty() ? "127.0.0.1" : std::string(host);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (error == std::errc() && end == port.data() + port.size() && !port.empty() && address.port >= 0 &&
        address.port <= 65535) {
      return address;
    }
  }
  return Errorf(absl::StatusCode::kInvalidArgument, "\"%s\" is not an address of the form HOST:PORT", listen);
}

// The library's default would let a second server take the same port (SO_REUSEPORT).
void SetListenOptions(socket_t socket) {
  const int yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
}

}  // namespace

std::string PrometheusText(const RuntimeSnapshot& now) {
  std::string text;
  Gauge(text, kSourceWalEnd, "End of the source's WAL, as last heard of.", now.wal_end.value);
  Gauge(text, kReceived, "Position up to which the stream was received.", now.received.value);
  Gauge(text, kApplied, "Position up to which the target has committed.", now.applied.value);
  Gauge(text, kConfirmed, "Position up to which the target is durable and the source may forget.",
        now.confirmed.value);
  Gauge(text, kLagBytes, "WAL between the source's end and what is applied.", now.lag_bytes);
  Gauge(text, kLagSeconds, "Age of the newest applied commit while something is behind it.", now.lag_seconds);
  if (now.eta_seconds) {
    Gauge(text, kEta, "Time until the backlog is gone; absent where it never will be at this rate.",
          *now.eta_seconds);
  }
  Counter(text, kChanges, "Row changes received.", now.changes);
  Counter(text, kTransactions, "Transactions received.", now.transactions);
  Counter(text, kReceivedBytes, "Bytes of the stream received.", now.bytes);
  Counter(text, kBatches, "Batches committed on the target.", now.batches);
  Counter(text, kReplays, "Batches that were applied again one transaction at a time.", now.replays);
  Counter(text, kSpooled, "Bytes of transactions in progress written to the spool.", now.spooled_bytes);
  Gauge(text, kMemory, "Part of the memory budget in use.", now.memory_used_bytes);
  Counter(text, kSourceReconnects, "Connections to the source that were lost.", now.source_reconnects);
  Counter(text, kTargetReconnects, "Connections to the target that were lost.", now.target_reconnects);
  Gauge(text, kCatalogDifferences, "What is different on the source and needs somebody to decide or to act.",
        now.catalog_differences.size());
  return text;
}

class MetricsServer::Impl {
 public:
  absl::Status Start(const std::string& listen) {
    WF_ASSIGN_OR_RETURN(const Address address, ParseListen(listen));
    server_.set_socket_options(SetListenOptions);
    server_.set_read_timeout(kTimeoutSeconds);
    server_.set_write_timeout(kTimeoutSeconds);
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.Get("/metrics",
                [this](const httplib::Request&, httplib::Response& response) { Metrics(response); });
    server_.Get("/healthz",
                [this](const httplib::Request&, httplib::Response& response) { Health(response); });
    errno = 0;
    if (address.port == 0) {
      port_ = server_.bind_to_any_port(address.host);
    } else if (server_.bind_to_port(address.host, address.port)) {
      port_ = address.port;
    }
    if (port_ <= 0) {
      return Errorf(absl::StatusCode::kFailedPrecondition, "cannot listen on %s: %s", listen,
                    errno != 0 ? std::strerror(errno) : "the host is not known");
    }
    thread_ = std::thread([this] {
      server_.listen_after_bind();
      ended_ = true;
    });
    // stop() of a server that does not run yet has no effect, and there is no other sign of it.
    while (!server_.is_running() && !ended_) absl::SleepFor(absl::Milliseconds(1));
    return absl::OkStatus();
  }

  ~Impl() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  int port() const { return port_; }

  void Publish(const RuntimeSnapshot& snapshot) {
    const absl::MutexLock lock(&mutex_);
    snapshot_ = snapshot;
    published_ = absl::Now();
  }

 private:
  void Metrics(httplib::Response& response) {
    RuntimeSnapshot snapshot;
    {
      const absl::MutexLock lock(&mutex_);
      snapshot = snapshot_;
    }
    response.set_content(PrometheusText(snapshot), kContentType);
  }

  void Health(httplib::Response& response) {
    absl::Time published;
    {
      const absl::MutexLock lock(&mutex_);
      published = published_;
    }
    const bool healthy = absl::Now() - published < kHealthyFor;
    response.status = healthy ? 200 : 503;
    response.set_content(healthy ? "ok\n" : "nothing was heard of the stream for a while\n", "text/plain");
  }

  httplib::Server server_;
  std::thread thread_;
  std::atomic<bool> ended_ = false;
  int port_ = -1;
  absl::Mutex mutex_;
  RuntimeSnapshot snapshot_ ABSL_GUARDED_BY(mutex_);
  absl::Time published_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& listen) {
  auto impl = std::make_unique<Impl>();
  WF_RETURN_IF_ERROR(impl->Start(listen));
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl)));
}

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetricsServer::~MetricsServer() = default;

int MetricsServer::port() const {
  return impl_->port();
}
void MetricsServer::Publish(const RuntimeSnapshot& snapshot) {
  impl_->Publish(snapshot);
}

}  // namespace walferry
