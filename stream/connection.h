// One libpq connection, owned and never shared between threads. With its .cc, the wrapper behind which libpq
// hides: tools/tidy.py lists the few files that include libpq-fe.h.
//
// Every wait is a poll() on the socket and on the stop signal; when a stop is requested, the running
// statement is cancelled on the server and the call returns kCancelled, as does every later one: what has to
// be said even after a stop goes through a connection that was opened without a stop signal. Errors carry the
// server's SQLSTATE (see SqlstateOf), the server's own words without the values that it quotes, and never the
// password. A lost or refused connection is kUnavailable. https://www.postgresql.org/docs/current/libpq.html
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "decoder/status.h"
#include "stream/conninfo.h"
#include "stream/quote.h"
#include "stream/sqlstate.h"
#include "stream/stop_signal.h"

struct pg_conn;    // PGconn
struct pg_result;  // PGresult

namespace walferry {

struct ConnectOptions {
  // A conninfo string or URI; all that libpq understands (services, pgpass, sslmode, several hosts).
  std::string conninfo;
  // Unless the conninfo or PGAPPNAME names another.
  std::string application_name = "walferry";
  // replication=database: a logical walsender, which takes replication commands and simple-protocol SQL.
  bool replication = false;
  // Names and values: SET after login (managed proxies refuse start-up options), all in one round trip.
  // Before these every connection gets what stands in stream/session_settings.cc.
  std::vector<std::pair<std::string, std::string>> settings;
  // For each address that is tried, unless the conninfo says connect_timeout. Name resolution is not bounded
  // by it.
  absl::Duration connect_timeout = absl::Seconds(15);
  // Not owned; may be null. Must outlive the connection.
  const StopSignal* stop = nullptr;
};

// The rows of one statement. Views borrow the Result.
class Result {
 public:
  explicit Result(pg_result* result) : result_(result) {}
  Result(Result&&) noexcept = default;
  Result& operator=(Result&&) noexcept = default;
  ~Result() = default;

  int rows() const;
  int columns() const;
  bool IsNull(int row, int column) const;
  std::string_view Get(int row, int column) const;  // Empty for NULL.
  std::optional<std::string_view> GetOptional(int row, int column) const;
  std::int64_t GetInt(int row, int column) const;  // 0 where it is not a number.
  bool GetBool(int row, int column) const;         // 't'
  // Rows inserted, updated, deleted, copied or selected, as the command tag says.
  std::int64_t affected() const;

  const pg_result* native() const { return result_.get(); }

 private:
  struct Clear {
    void operator()(pg_result* result) const;
  };
  std::unique_ptr<pg_result, Clear> result_;
};

// A text parameter; nullopt is NULL.
using Parameter = std::optional<std::string_view>;

class Connection {
 public:
  // kFailedPrecondition (or kInvalidArgument for the conninfo itself) where the operator must act:
  // authentication, missing database, certificates. A host that does not exist is kUnavailable: names go and
  // come back in failovers.
  static absl::StatusOr<Connection> Open(const ConnectOptions& options);

  Connection(Connection&&) noexcept = default;
  Connection& operator=(Connection&&) noexcept = default;
  ~Connection() = default;

  // One or several statements in the simple protocol; the result is the last one's, the error the first
  // one's. Also replication commands: after START_REPLICATION the connection is in copy-both mode, and who
  // asked for it goes on through native().
  absl::StatusOr<Result> Execute(const std::string& sql);
  // One statement with text parameters $1, $2, … (extended protocol; not on a replication connection).
  absl::StatusOr<Result> Execute(const std::string& sql, std::span<const Parameter> parameters);
  absl::StatusOr<Result> Execute(const std::string& sql, std::initializer_list<Parameter> parameters) {
    return Execute(sql, std::span<const Parameter>(parameters.begin(), parameters.size()));
  }

  // Statements in one round trip, each a transaction of its own unless one is open: the result of each, or
  // its error, which does not keep the others from being executed. An error of the whole: the connection is
  // lost.
  struct Statement {
    std::string sql;
    std::vector<Parameter> parameters;
  };
  absl::StatusOr<std::vector<absl::StatusOr<Result>>> ExecuteEach(std::span<const Statement> statements);

  // COPY … TO STDOUT. Read until nullopt; the view is valid until the next call on this connection. A
  // connection whose COPY was not read to its end can only be dropped.
  absl::Status BeginCopyOut(const std::string& sql);
  absl::StatusOr<std::optional<std::string_view>> ReadCopyData();
  // COPY … FROM STDIN. Write any number of pieces, cut anywhere, then end it: rows copied, or the error that
  // the server found (seldom told earlier). Small pieces are gathered; no more than one large piece is held.
  absl::Status BeginCopyIn(const std::string& sql);
  absl::Status WriteCopyData(std::string_view bytes);
  absl::StatusOr<std::int64_t> EndCopyIn();
  void AbortCopyIn(const std::string& reason);

  // As libpq: 150020.
  int server_version() const;
  // A parameter that the server reported: server_encoding, is_superuser, …; empty where unknown.
  std::string ReportedParameter(const std::string& name) const;
  std::string host() const;
  std::string port() const;
  std::string user() const;
  std::string database() const;
  // True for unix sockets and addresses of the loopback range.
  bool is_loopback() const;
  // TLS in use, with the certificate verified against the host name (sslmode verify-full) or the CA
  // (verify-ca).
  bool has_verified_tls() const { return verified_tls_; }
  int backend_pid() const;
  // False once libpq knows that the connection is gone.
  bool alive() const;

  // For the transport and the pipeline, which continue on this connection's protocol themselves.
  pg_conn* native() const { return connection_.get(); }
  const StopSignal* stop() const { return stop_; }
  // From the next wait on. Not while another thread waits.
  void ListenTo(const StopSignal* stop) { stop_ = stop; }
  // Gives a statement with text parameters to libpq, which may hold it until it is flushed.
  absl::Status SendStatement(const std::string& sql, std::span<const Parameter> parameters);
  // Waits until the socket is readable (or writable too, if asked for): OK; a stop is requested: kCancelled;
  // or the deadline passes: kDeadlineExceeded.
  absl::Status Wait(bool for_writing, absl::Time deadline = absl::InfiniteFuture());
  // The connection's last error as a status (see above), with the password of the conninfo blotted out.
  absl::Status LastError() const;
  // The same for a result that says that its statement failed; null is LastError().
  absl::Status ErrorOf(const pg_result* result) const;
  // The same for the fields of an ErrorResponse.
  absl::Status ServerError(std::string_view sqlstate, std::string_view primary, std::string_view detail,
                           std::string_view hint) const;

 private:
  struct Finish {
    void operator()(pg_conn* connection) const;
  };
  Connection() = default;

  absl::Status Connect(const ConnectOptions& options);
  absl::Status PollUntilConnected(absl::Duration timeout);
  absl::Status ConnectError(bool timed_out) const;
  absl::Status Configure(const ConnectOptions& options);
  absl::StatusOr<Result> Run(const std::string& sql);
  absl::StatusOr<std::vector<absl::StatusOr<Result>>> RunEach(std::span<const Statement> statements);
  // Sends what libpq still holds.
  absl::Status Flush();
  // The results of what was sent: the last one, or the one that opens a COPY, or the first error.
  absl::StatusOr<Result> Collect();
  // The next result, or null after the last one.
  absl::StatusOr<pg_result*> NextResult();
  absl::Status SendCopyData(std::string_view bytes);
  absl::StatusOr<Result> FinishCopyIn(const char* reason);
  // Cancels what runs, waits for the server to say so and passes `status` on, if that is kCancelled.
  absl::Status AfterStop(absl::Status status);
  absl::Status Drain(absl::Time deadline);
  absl::Status SkipCopyOut(absl::Time deadline);

  std::unique_ptr<pg_conn, Finish> connection_;
  const StopSignal* stop_ = nullptr;
  bool verified_tls_ = false;
  struct FreeCopyData {
    void operator()(char* data) const;
  };
  std::unique_ptr<char, FreeCopyData> copy_data_;
  std::string copy_in_;  // Pieces that wait for a large one to be made of them.
};

}  // namespace walferry
