// Tested by tests/apply/pipeline_test.cc.
#include "apply/pipeline.h"

#include <libpq-fe.h>

#include <charconv>
#include <cstring>

namespace walferry {
namespace {

constexpr std::size_t kFlushBytes = 64 << 10;
constexpr std::size_t kStatementBytes = 48;  // What a statement costs on the wire besides values and text.

std::int64_t AffectedRows(const PGresult* result) {
  const std::string_view text = PQcmdTuples(const_cast<PGresult*>(result));
  std::int64_t rows = 0;
  std::from_chars(text.data(), text.data() + text.size(), rows);
  return rows;
}

}  // namespace

Pipeline::Pipeline(Connection& connection, std::size_t in_flight_bytes,
                   std::function<void(std::int64_t)> row_answered)
    : connection_(connection), in_flight_limit_(in_flight_bytes), row_answered_(std::move(row_answered)) {}

absl::Status Pipeline::Enter() {
  if (PQenterPipelineMode(connection_.native()) == 0) return connection_.LastError();
  entered_ = true;
  failure_ = absl::OkStatus();
  row_failed_ = false;
  return absl::OkStatus();
}

absl::Status Pipeline::Send(const std::string& sql, std::span<const Parameter> parameters) {
  if (!failure_.ok()) return failure_;
  WF_RETURN_IF_ERROR(connection_.SendStatement(sql, parameters));
  return Register(Kind::kOther, sql.size() + kStatementBytes);
}

absl::Status Pipeline::SendCounted(const std::string& sql) {
  if (!failure_.ok()) return failure_;
  WF_RETURN_IF_ERROR(connection_.SendStatement(sql, {}));
  return Register(Kind::kRow, sql.size() + kStatementBytes);
}

absl::Status Pipeline::Prepare(const std::string& name, const std::string& sql) {
  if (!failure_.ok()) return failure_;
  if (PQsendPrepare(connection_.native(), name.c_str(), sql.c_str(), 0, nullptr) == 0)
    return connection_.LastError();
  return Register(Kind::kPrepare, sql.size() + kStatementBytes);
}

absl::Status Pipeline::SendRow(const std::string& name, std::span<const ColumnView> parameters) {
  if (!failure_.ok()) return failure_;
  std::size_t bytes = kStatementBytes;
  for (const ColumnView& parameter : parameters) bytes += parameter.value.size() + 8;
  // libpq wants text to end with NUL, which it does not on the wire.
  text_.resize(bytes + parameters.size());
  values_.assign(parameters.size(), nullptr);
  lengths_.assign(parameters.size(), 0);
  formats_.assign(parameters.size(), 0);
  char* end = text_.data();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const ColumnView& parameter = parameters[i];
    if (parameter.kind == ColumnKind::kBinary) {
      values_[i] = parameter.value.data();
      lengths_[i] = static_cast<int>(parameter.value.size());
      formats_[i] = 1;
    } else if (parameter.kind == ColumnKind::kText) {
      values_[i] = end;
      if (!parameter.value.empty()) std::memcpy(end, parameter.value.data(), parameter.value.size());
      end += parameter.value.size();
      *end++ = '\0';
    }
  }
  if (PQsendQueryPrepared(connection_.native(), name.c_str(), static_cast<int>(parameters.size()),
                          values_.data(), lengths_.data(), formats_.data(), 0) == 0) {
    return connection_.LastError();
  }
  return Register(Kind::kRow, bytes);
}

absl::Status Pipeline::SendArrays(const std::string& name, std::span<const ArrayParameter> parameters) {
  if (!failure_.ok()) return failure_;
  std::size_t bytes = kStatementBytes;
  values_.resize(parameters.size());
  lengths_.resize(parameters.size());
  formats_.resize(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    values_[i] = parameters[i].bytes->c_str();
    lengths_[i] = static_cast<int>(parameters[i].bytes->size());
    formats_[i] = parameters[i].binary ? 1 : 0;
    bytes += parameters[i].bytes->size();
  }
  if (PQsendQueryPrepared(connection_.native(), name.c_str(), static_cast<int>(parameters.size()),
                          values_.data(), lengths_.data(), formats_.data(), 0) == 0) {
    return connection_.LastError();
  }
  return Register(Kind::kRow, bytes);
}

absl::Status Pipeline::Register(Kind kind, std::size_t bytes) {
  if (kind != Kind::kSync) ++statements_;
  sent_.push_back({kind, bytes});
  in_flight_ += bytes;
  unflushed_ += bytes;
  since_flush_request_ += bytes;
  // The server keeps its answers until its buffer is full, unless it is asked for them.
  if (since_flush_request_ * 4 >= in_flight_limit_) {
    since_flush_request_ = 0;
    if (PQsendFlushRequest(connection_.native()) == 0) return connection_.LastError();
  }
  if (unflushed_ < kFlushBytes && in_flight_ <= in_flight_limit_) return absl::OkStatus();
  return WaitForRoom();
}

absl::Status Pipeline::WaitForRoom() {
  if (in_flight_ > in_flight_limit_ && since_flush_request_ > 0) {
    since_flush_request_ = 0;
    if (PQsendFlushRequest(connection_.native()) == 0) return connection_.LastError();
  }
  WF_RETURN_IF_ERROR(Pump([this] { return unflushed_ == 0 && in_flight_ <= in_flight_limit_; }));
  return failure_;
}

template <typename Enough>
absl::Status Pipeline::Pump(Enough enough) {
  while (true) {
    const int left = PQflush(connection_.native());
    if (left == 0) unflushed_ = 0;
    if (enough()) return absl::OkStatus();
    if (left >= 0) WF_RETURN_IF_ERROR(connection_.Wait(left > 0));
    const bool consumed = PQconsumeInput(connection_.native()) == 1;
    // Also after a failure: the server's last words say why it closed the connection.
    WF_RETURN_IF_ERROR(ReadAnswers());
    if ((left < 0 || !consumed) && !enough()) return failure_.ok() ? connection_.LastError() : failure_;
  }
}

absl::Status Pipeline::ReadAnswers() {
  PGconn* const native = connection_.native();
  while (!sent_.empty() && PQisBusy(native) == 0) {
    PGresult* const result = PQgetResult(native);
    if (result != nullptr) {
      const bool is_sync = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
      TakeAnswer(result);
      PQclear(result);
      answered_ = true;
      if (!is_sync) continue;  // A null follows each answer but this one.
    } else if (!answered_) {
      return failure_.ok() ? connection_.LastError() : failure_;
    }
    in_flight_ -= sent_.front().bytes;
    sent_.pop_front();
    answered_ = false;
  }
  return absl::OkStatus();
}

void Pipeline::TakeAnswer(pg_result* result) {
  const Kind kind = sent_.front().kind;
  switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
      if (kind == Kind::kRow) row_answered_(AffectedRows(result));
      return;
    case PGRES_PIPELINE_SYNC:
    case PGRES_PIPELINE_ABORTED:
      return;
    default:
      if (!failure_.ok()) return;
      failure_ = connection_.ErrorOf(result);
      row_failed_ = kind == Kind::kRow || kind == Kind::kPrepare;
  }
}

absl::Status Pipeline::Await(const std::function<bool()>& enough) {
  if (!failure_.ok()) return failure_;
  since_flush_request_ = 0;
  if (PQsendFlushRequest(connection_.native()) == 0) return connection_.LastError();
  WF_RETURN_IF_ERROR(Pump([&] { return !failure_.ok() || enough(); }));
  return failure_;
}

absl::Status Pipeline::Drain() {
  if (PQpipelineSync(connection_.native()) == 0) return failure_.ok() ? connection_.LastError() : failure_;
  sent_.push_back({Kind::kSync, 0});
  since_flush_request_ = 0;
  WF_RETURN_IF_ERROR(Pump([this] { return sent_.empty(); }));
  return std::exchange(failure_, absl::OkStatus());
}

absl::Status Pipeline::Leave() {
  const absl::Status drained = Drain();
  if (!connection_.alive() || absl::IsCancelled(drained)) return drained;
  if (!sent_.empty()) return drained.ok() ? absl::InternalError("the pipeline did not empty") : drained;
  entered_ = false;
  if (PQexitPipelineMode(connection_.native()) == 0 && drained.ok()) return connection_.LastError();
  return drained;
}

}  // namespace walferry
