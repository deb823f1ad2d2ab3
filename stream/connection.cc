// Tested by tests/stream/connection_test.cc
#include "stream/connection.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "absl/time/clock.h"

namespace walferry {
namespace {

// How long a server may take to acknowledge a cancellation (proxies forward it slowly) before the connection
// is cut.
constexpr absl::Duration kCancelPatience = absl::Seconds(10);

// CopyData of this size costs one system call; the server's own rows are far smaller.
constexpr std::size_t kCopyPieceBytes = std::size_t{64} << 10;

struct FreeCancel {
  void operator()(PGcancel* cancel) const { PQfreeCancel(cancel); }
};

std::string_view OrEmpty(const char* text) {
  return text == nullptr ? std::string_view() : std::string_view(text);
}

std::string_view Field(const PGresult* result, int code) {
  return OrEmpty(PQresultErrorField(result, code));
}

std::int64_t ToInt(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

}  // namespace

void Result::Clear::operator()(pg_result* result) const {
  PQclear(result);
}
int Result::rows() const {
  return PQntuples(result_.get());
}
int Result::columns() const {
  return PQnfields(result_.get());
}
bool Result::IsNull(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) == 1;
}
std::string_view Result::Get(int row, int column) const {
  const char* value = PQgetvalue(result_.get(), row, column);
  if (value == nullptr) return {};
  return {value, static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}
std::optional<std::string_view> Result::GetOptional(int row, int column) const {
  if (IsNull(row, column)) return std::nullopt;
  return Get(row, column);
}
std::int64_t Result::GetInt(int row, int column) const {
  return ToInt(Get(row, column));
}
bool Result::GetBool(int row, int column) const {
  return Get(row, column) == "t";
}
std::int64_t Result::affected() const {
  return ToInt(PQcmdTuples(result_.get()));
}

void Connection::Finish::operator()(pg_conn* connection) const {
  PQfinish(connection);
}
void Connection::FreeCopyData::operator()(char* data) const {
  PQfreemem(data);
}

absl::Status Connection::Wait(bool for_writing, absl::Time deadline) {
  std::array<pollfd, 2> descriptors = {{{PQsocket(native()), POLLIN, 0}, {-1, POLLIN, 0}}};
  if (for_writing) descriptors[0].events = POLLIN | POLLOUT;
  if (stop_ != nullptr) descriptors[1].fd = stop_->fd();
  if (descriptors[0].fd < 0) return LastError();
  while (true) {
    int timeout_ms = -1;
    if (deadline != absl::InfiniteFuture()) {
      const auto left_ms =
          absl::ToInt64Milliseconds(absl::Ceil(deadline - absl::Now(), absl::Milliseconds(1)));
      timeout_ms = static_cast<int>(std::clamp<std::int64_t>(left_ms, 0, 3'600'000));
    }
    const int ready = poll(descriptors.data(), descriptors.size(), timeout_ms);
    if (ready < 0 && errno != EINTR) {
      return Errorf(absl::StatusCode::kInternal, "poll: %s", std::strerror(errno));
    }
    if (descriptors[1].revents != 0) return absl::CancelledError("stopped");
    if (ready > 0) return absl::OkStatus();
    if (absl::Now() >= deadline) return absl::DeadlineExceededError("the server did not answer in time");
  }
}

absl::Status Connection::LastError() const {
  std::string text = BlotOut(OrEmpty(PQerrorMessage(native())), OrEmpty(PQpass(native())));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return absl::Status(alive() ? absl::StatusCode::kInternal : absl::StatusCode::kUnavailable, text);
}

absl::Status Connection::ErrorOf(const pg_result* result) const {
  const std::string_view sqlstate = Field(result, PG_DIAG_SQLSTATE);
  if (sqlstate.empty()) return LastError();
  const absl::Status error =
      ServerError(sqlstate, Field(result, PG_DIAG_MESSAGE_PRIMARY), Field(result, PG_DIAG_MESSAGE_DETAIL),
                  Field(result, PG_DIAG_MESSAGE_HINT));
  // A server process that says where in its code it failed (poolers and proxies do not), and lives on, tells
  // of somebody else's connection: a foreign server that its statement could not reach.
  const bool of_statement = Field(result, PG_DIAG_SEVERITY_NONLOCALIZED) == "ERROR" &&
                            !Field(result, PG_DIAG_SOURCE_FUNCTION).empty();
  return of_statement ? OfStatement(error) : error;
}

absl::Status Connection::ServerError(std::string_view sqlstate, std::string_view primary,
                                     std::string_view detail, std::string_view hint) const {
  const std::string text = ServerMessage(sqlstate, primary, detail, hint);
  return WithSqlstate(absl::Status(CodeOfSqlstate(sqlstate), BlotOut(text, OrEmpty(PQpass(native())))),
                      sqlstate);
}

absl::Status Connection::AfterStop(absl::Status status) {
  if (!absl::IsCancelled(status)) return status;
  const std::unique_ptr<PGcancel, FreeCancel> cancel(PQgetCancel(native()));
  std::array<char, 256> error{};
  if (cancel != nullptr) PQcancel(cancel.get(), error.data(), static_cast<int>(error.size()));
  // The end is waited for, because the statement's locks would outlive us otherwise.
  const StopSignal* const stop = std::exchange(stop_, nullptr);
  if (!Drain(absl::Now() + kCancelPatience).ok()) shutdown(PQsocket(native()), SHUT_RDWR);
  stop_ = stop;
  return status;
}

absl::Status Connection::Drain(absl::Time deadline) {
  while (true) {
    if (PQflush(native()) < 0) return LastError();
    if (PQisBusy(native()) == 1) {
      WF_RETURN_IF_ERROR(Wait(false, deadline));
      if (PQconsumeInput(native()) == 0) return LastError();
      continue;
    }
    PGresult* const result = PQgetResult(native());
    if (result == nullptr) return absl::OkStatus();
    const ExecStatusType state = PQresultStatus(result);
    PQclear(result);
    if (state == PGRES_COPY_IN) PQputCopyEnd(native(), "stopped");
    if (state == PGRES_COPY_OUT || state == PGRES_COPY_BOTH) WF_RETURN_IF_ERROR(SkipCopyOut(deadline));
  }
}

absl::Status Connection::SkipCopyOut(absl::Time deadline) {
  while (true) {
    char* data = nullptr;
    const int bytes = PQgetCopyData(native(), &data, 1);
    PQfreemem(data);
    if (bytes < 0) return absl::OkStatus();
    if (bytes > 0) continue;
    WF_RETURN_IF_ERROR(Wait(false, deadline));
    if (PQconsumeInput(native()) == 0) return LastError();
  }
}

absl::Status Connection::Flush() {
  while (true) {
    const int left = PQflush(native());
    if (left == 0) return absl::OkStatus();
    if (left < 0) return LastError();
    WF_RETURN_IF_ERROR(Wait(true));
    // The server may be sending, too, and would not read before that is taken.
    if (PQconsumeInput(native()) == 0) return LastError();
  }
}

absl::StatusOr<pg_result*> Connection::NextResult() {
  while (PQisBusy(native()) == 1) {
    WF_RETURN_IF_ERROR(Wait(false));
    // Even where it fails, the server's last words may have come before: they are the result.
    if (PQconsumeInput(native()) == 0) break;
  }
  return PQgetResult(native());
}

absl::StatusOr<Result> Connection::Collect() {
  std::optional<Result> last;
  absl::Status first_error;
  while (true) {
    absl::StatusOr<pg_result*> next = NextResult();
    if (!next.ok()) return AfterStop(next.status());
    if (*next == nullptr) break;
    Result result(*next);
    switch (PQresultStatus(*next)) {
      case PGRES_COPY_IN:
      case PGRES_COPY_OUT:
      case PGRES_COPY_BOTH:
        return result;
      case PGRES_COMMAND_OK:
      case PGRES_TUPLES_OK:
      case PGRES_EMPTY_QUERY:
        last = std::move(result);
        break;
      default:
        if (first_error.ok()) first_error = ErrorOf(*next);
    }
  }
  if (!first_error.ok()) return first_error;
  if (!last.has_value()) return LastError();
  return *std::move(last);
}

absl::StatusOr<Result> Connection::Run(const std::string& sql) {
  if (stop_ != nullptr && stop_->requested()) return absl::CancelledError("stopped");
  if (PQsendQuery(native(), sql.c_str()) == 0) return LastError();
  if (absl::Status sent = Flush(); absl::IsCancelled(sent)) return AfterStop(sent);
  return Collect();
}

absl::StatusOr<Result> Connection::Execute(const std::string& sql) {
  WF_ASSIGN_OR_RETURN(Result result, Run(sql));
  if (PQresultStatus(result.native()) == PGRES_COPY_IN || PQresultStatus(result.native()) == PGRES_COPY_OUT) {
    return absl::InternalError("COPY needs BeginCopyIn or BeginCopyOut");
  }
  return result;
}

absl::Status Connection::SendStatement(const std::string& sql, std::span<const Parameter> parameters) {
  std::vector<std::string> texts(parameters.size());
  std::vector<const char*> values(parameters.size(), nullptr);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].has_value()) continue;
    texts[i] = *parameters[i];
    values[i] = texts[i].c_str();
  }
  const int sent = PQsendQueryParams(native(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                                     values.data(), nullptr, nullptr, 0);
  return sent == 0 ? LastError() : absl::OkStatus();
}

absl::StatusOr<Result> Connection::Execute(const std::string& sql, std::span<const Parameter> parameters) {
  if (stop_ != nullptr && stop_->requested()) return absl::CancelledError("stopped");
  WF_RETURN_IF_ERROR(SendStatement(sql, parameters));
  if (absl::Status sent = Flush(); absl::IsCancelled(sent)) return AfterStop(sent);
  return Collect();
}

absl::StatusOr<std::vector<absl::StatusOr<Result>>> Connection::ExecuteEach(
    std::span<const Statement> statements) {
  if (stop_ != nullptr && stop_->requested()) return absl::CancelledError("stopped");
  if (PQenterPipelineMode(native()) == 0) return LastError();
  auto results = RunEach(statements);
  // There is no way to tell what is still to come.
  if (!results.ok()) shutdown(PQsocket(native()), SHUT_RDWR);
  if (results.ok() && PQexitPipelineMode(native()) == 0) return LastError();
  return results;
}

absl::StatusOr<std::vector<absl::StatusOr<Result>>> Connection::RunEach(
    std::span<const Statement> statements) {
  for (const Statement& statement : statements) {
    WF_RETURN_IF_ERROR(SendStatement(statement.sql, statement.parameters));
    if (PQpipelineSync(native()) == 0) return LastError();
  }
  WF_RETURN_IF_ERROR(Flush());
  std::vector<absl::StatusOr<Result>> results;
  while (results.size() < statements.size()) {
    WF_ASSIGN_OR_RETURN(pg_result * next, NextResult());
    if (next == nullptr) return LastError();
    Result result(next);
    const ExecStatusType state = PQresultStatus(next);
    if (state == PGRES_PIPELINE_SYNC) continue;
    if (!alive()) return ErrorOf(next);
    const bool done = state == PGRES_COMMAND_OK || state == PGRES_TUPLES_OK;
    results.push_back(done ? absl::StatusOr<Result>(std::move(result)) : ErrorOf(next));
    WF_ASSIGN_OR_RETURN(pg_result * end, NextResult());
    if (end != nullptr) return absl::InternalError("one statement gave several results");
  }
  WF_ASSIGN_OR_RETURN(pg_result * last, NextResult());
  const Result sync(last);
  return results;
}

absl::Status Connection::BeginCopyOut(const std::string& sql) {
  WF_ASSIGN_OR_RETURN(const Result result, Run(sql));
  if (PQresultStatus(result.native()) == PGRES_COPY_OUT) return absl::OkStatus();
  return absl::InternalError("not a COPY TO STDOUT");
}

absl::StatusOr<std::optional<std::string_view>> Connection::ReadCopyData() {
  while (true) {
    char* data = nullptr;
    const int bytes = PQgetCopyData(native(), &data, 1);
    copy_data_.reset(data);
    if (bytes > 0) return std::string_view(data, static_cast<std::size_t>(bytes));
    if (bytes < 0) break;
    if (absl::Status ready = Wait(false); !ready.ok()) return AfterStop(ready);
    if (PQconsumeInput(native()) == 0) break;
  }
  WF_RETURN_IF_ERROR(Collect().status());
  return std::nullopt;
}

absl::Status Connection::BeginCopyIn(const std::string& sql) {
  copy_in_.clear();
  WF_ASSIGN_OR_RETURN(const Result result, Run(sql));
  if (PQresultStatus(result.native()) == PGRES_COPY_IN) return absl::OkStatus();
  return absl::InternalError("not a COPY FROM STDIN");
}

absl::Status Connection::WriteCopyData(std::string_view bytes) {
  if (copy_in_.size() + bytes.size() < kCopyPieceBytes) {
    copy_in_.append(bytes);
    return absl::OkStatus();
  }
  WF_RETURN_IF_ERROR(SendCopyData(copy_in_));
  copy_in_.clear();
  while (bytes.size() >= kCopyPieceBytes) {
    WF_RETURN_IF_ERROR(SendCopyData(bytes.substr(0, kCopyPieceBytes)));
    bytes.remove_prefix(kCopyPieceBytes);
  }
  copy_in_.append(bytes);
  return absl::OkStatus();
}

absl::Status Connection::SendCopyData(std::string_view bytes) {
  if (bytes.empty()) return absl::OkStatus();
  while (true) {
    const int queued = PQputCopyData(native(), bytes.data(), static_cast<int>(bytes.size()));
    if (queued < 0) return LastError();
    // Nothing may pile up in libpq: it would move all of it at every call.
    WF_RETURN_IF_ERROR(AfterStop(Flush()));
    if (queued == 1) return absl::OkStatus();
  }
}

absl::StatusOr<Result> Connection::FinishCopyIn(const char* reason) {
  copy_in_.clear();
  while (true) {
    const int queued = PQputCopyEnd(native(), reason);
    if (queued < 0) return LastError();
    if (absl::Status sent = Flush(); absl::IsCancelled(sent)) return AfterStop(sent);
    if (queued == 1) return Collect();
  }
}

absl::StatusOr<std::int64_t> Connection::EndCopyIn() {
  WF_RETURN_IF_ERROR(SendCopyData(copy_in_));
  WF_ASSIGN_OR_RETURN(const Result result, FinishCopyIn(nullptr));
  return result.affected();
}

void Connection::AbortCopyIn(const std::string& reason) {
  FinishCopyIn(reason.c_str()).IgnoreError();
}

int Connection::server_version() const {
  return PQserverVersion(native());
}
std::string Connection::ReportedParameter(const std::string& name) const {
  return std::string(OrEmpty(PQparameterStatus(native(), name.c_str())));
}
std::string Connection::host() const {
  return std::string(OrEmpty(PQhost(native())));
}
std::string Connection::port() const {
  return std::string(OrEmpty(PQport(native())));
}
std::string Connection::user() const {
  return std::string(OrEmpty(PQuser(native())));
}
std::string Connection::database() const {
  return std::string(OrEmpty(PQdb(native())));
}
bool Connection::is_loopback() const {
  // The address, where there is one: the name says nothing about it (host=localhost hostaddr=192.0.2.1).
  const std::string_view address = OrEmpty(PQhostaddr(native()));
  return IsLoopback(address.empty() ? OrEmpty(PQhost(native())) : address);
}
int Connection::backend_pid() const {
  return PQbackendPID(native());
}
bool Connection::alive() const {
  return PQstatus(native()) == CONNECTION_OK;
}

}  // namespace walferry
