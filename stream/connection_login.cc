// How a connection comes about: the login, its time limit, and the settings that every session of ours has.
// Tested by tests/stream/connection_test.cc
#include <libpq-fe.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "absl/time/clock.h"
#include "stream/connection.h"
#include "stream/session_settings.h"

namespace walferry {
namespace {

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

std::string_view OrEmpty(const char* text) {
  return text == nullptr ? std::string_view() : std::string_view(text);
}

// An option as it is in force: of the conninfo, the service, the environment or libpq's default.
std::string OptionInForce(PGconn* connection, std::string_view keyword) {
  const std::unique_ptr<PQconninfoOption, FreeOptions> options(PQconninfo(connection));
  for (const PQconninfoOption* option = options.get(); option != nullptr && option->keyword != nullptr;
       ++option) {
    if (option->keyword == keyword) return option->val == nullptr ? std::string() : option->val;
  }
  return {};
}

// Where neither the conninfo nor the service say otherwise: a peer that vanished is noticed within a minute
// while we wait for it, and within five while it owes us an acknowledgement. Not sooner: Linux counts a peer
// that does not read (a target that waits for a lock) as one that does not acknowledge. See tcp(7).
void SetKeepalives(PGconn* connection) {
  if (OptionInForce(connection, "keepalives") == "0") return;
  struct Default {
    const char* keyword;
    int option;
    int value;
  };
  static constexpr std::array<Default, 4> kDefaults = {{{"keepalives_idle", TCP_KEEPIDLE, 30},
                                                        {"keepalives_interval", TCP_KEEPINTVL, 10},
                                                        {"keepalives_count", TCP_KEEPCNT, 3},
                                                        {"tcp_user_timeout", TCP_USER_TIMEOUT, 300'000}}};
  for (const Default& one : kDefaults) {
    if (!OptionInForce(connection, one.keyword).empty()) continue;
    // Fails on a unix socket, where there is nothing to keep alive.
    setsockopt(PQsocket(connection), IPPROTO_TCP, one.option, &one.value, sizeof(one.value));
  }
}

// What libpq finds out by itself and no later try will change; for all else of its own it may.
bool IsPermanent(std::string_view message) {
  static constexpr std::array<std::string_view, 8> kPermanent = {
      "certificate",  "does not support SSL",  "private key", "no password supplied",
      "service file", "definition of service", "invalid ",    "authentication method"};
  return std::any_of(kPermanent.begin(), kPermanent.end(),
                     [&](std::string_view text) { return message.find(text) != std::string_view::npos; });
}

// libpq keeps no SQLSTATE of a failed login, but prints it ("FATAL:  28P01: password …"): takes it out there.
std::string TakeSqlstate(std::string& line) {
  static constexpr std::string_view kMark = ":  ";
  const std::size_t mark = line.find(kMark);
  if (mark == std::string::npos || line.size() < mark + 10) return {};
  std::string code = line.substr(mark + kMark.size(), 5);
  const bool is_code = line.compare(mark + 8, 2, ": ") == 0 &&
                       std::all_of(code.begin(), code.end(),
                                   [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); });
  if (!is_code) return {};
  line.erase(mark + 1, 8);
  return code;
}

}  // namespace

absl::StatusOr<Connection> Connection::Open(const ConnectOptions& options) {
  Connection connection;
  connection.stop_ = options.stop;
  WF_RETURN_IF_ERROR(connection.Connect(options));
  WF_RETURN_IF_ERROR(connection.Configure(options));
  return connection;
}

absl::Status Connection::Connect(const ConnectOptions& options) {
  WF_ASSIGN_OR_RETURN(ConninfoOptions wanted, ParseConninfo(options.conninfo));
  std::erase_if(wanted, [](const auto& option) { return option.first == "replication"; });
  if (options.replication) wanted.emplace_back("replication", "database");
  wanted.emplace_back("fallback_application_name", options.application_name);
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : wanted) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  connection_.reset(PQconnectStartParams(keywords.data(), values.data(), 0));
  if (connection_ == nullptr) return absl::ResourceExhaustedError("out of memory");
  PQsetErrorVerbosity(native(), PQERRORS_VERBOSE);  // For the SQLSTATE of a refused login.
  PQsetNoticeReceiver(
      native(), [](void*, const PGresult*) {}, nullptr);
  const long wanted_timeout_s = std::atol(OptionInForce(native(), "connect_timeout").c_str());
  WF_RETURN_IF_ERROR(
      PollUntilConnected(wanted_timeout_s > 0 ? absl::Seconds(wanted_timeout_s) : options.connect_timeout));
  PQsetErrorVerbosity(native(), PQERRORS_DEFAULT);
  PQsetnonblocking(native(), 1);
  SetKeepalives(native());
  const std::string tls = OptionInForce(native(), "sslmode");
  verified_tls_ = PQsslInUse(native()) == 1 && (tls == "verify-full" || tls == "verify-ca");
  return absl::OkStatus();
}

absl::Status Connection::PollUntilConnected(absl::Duration timeout) {
  bool timed_out = false;
  absl::Time deadline = absl::Now() + timeout;
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  while (PQstatus(native()) != CONNECTION_BAD && state != PGRES_POLLING_OK) {
    const absl::Status waited = Wait(state == PGRES_POLLING_WRITING, deadline);
    if (absl::IsDeadlineExceeded(waited)) {
      // To libpq this is a lost connection: it goes on to the next address, unless the login had begun.
      shutdown(PQsocket(native()), SHUT_RDWR);
      timed_out = true;
      deadline = absl::InfiniteFuture();
    } else if (!waited.ok()) {
      return waited;
    }
    state = PQconnectPoll(native());
    if (state == PGRES_POLLING_FAILED) break;
    if (PQstatus(native()) == CONNECTION_STARTED) deadline = absl::Now() + timeout;  // Another address.
  }
  if (PQstatus(native()) == CONNECTION_OK) return absl::OkStatus();
  return ConnectError(timed_out);
}

absl::Status Connection::ConnectError(bool timed_out) const {
  std::string_view rest = OrEmpty(PQerrorMessage(native()));
  std::string text;
  std::string sqlstate;
  while (!rest.empty()) {
    std::string line(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    // Further lines tell where in the server's code it was, or wonder whether there is a server.
    if (line.empty() || line.starts_with("LOCATION:") || line.starts_with('\t')) continue;
    if (std::string code = TakeSqlstate(line); !code.empty()) sqlstate = std::move(code);
    text.append(text.empty() ? "" : "; ").append(line);
  }
  if (timed_out) text.append(text.empty() ? "" : "; ").append("a server did not answer in time");
  text = BlotOut(text, OrEmpty(PQpass(native())));
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  if (!sqlstate.empty()) {
    code = CodeOfSqlstate(sqlstate);
  } else if (IsPermanent(text)) {
    code = absl::StatusCode::kFailedPrecondition;
  }
  return WithSqlstate(absl::Status(code, text), sqlstate);
}

// One query with all of them is one round trip and one implicit transaction. Where it is refused, those that
// we can do without are tried one by one.
absl::Status Connection::Configure(const ConnectOptions& options) {
  const std::string always = SessionSettingsSql(server_version(), SettingNeed::kAlways);
  std::string own;
  for (const auto& [name, value] : options.settings) own += "; SET " + name + " = " + QuoteLiteral(value);
  const std::string optional = SessionSettingsSql(server_version(), SettingNeed::kIfAllowed);
  absl::Status set = Execute(always + "; " + optional + own).status();
  if (set.ok() || !alive() || absl::IsCancelled(set)) return Annotate(set, "preparing the session");
  for (const std::string& statement : OptionalSettingStatements(server_version())) {
    set = Execute(statement).status();
    if (!alive() || absl::IsCancelled(set)) return Annotate(set, "preparing the session");
  }
  return Annotate(Execute(always + own).status(), "preparing the session");
}

}  // namespace walferry
