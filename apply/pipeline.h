// libpq's pipeline mode on one connection: statements are sent without waiting for the answers to those
// before.
//
// libpq keeps what the socket does not take and moves all of it on every call, so at most one statement more
// than a socket's fill waits there; and answers are read while sending, so that neither side blocks the
// other. The bytes of statements without an answer are bounded.
// https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "apply/array_encoder.h"
#include "decoder/tuple.h"
#include "stream/connection.h"

namespace walferry {

class Pipeline {
 public:
  // row_answered(affected): called in order for each SendRow(), SendArrays() and SendCounted() that
  // succeeded, from within
  // the calls below.
  Pipeline(Connection& connection, std::size_t in_flight_bytes,
           std::function<void(std::int64_t)> row_answered);

  // Enters pipeline mode. The connection is not used otherwise until Leave().
  absl::Status Enter();

  // All of these return the first failure of the pipeline once it is known, be it of an earlier statement;
  // then the server skips everything up to the next Drain() or Leave(). kUnavailable where the connection is
  // lost.
  absl::Status Send(const std::string& sql, std::span<const Parameter> parameters = {});
  absl::Status SendCounted(const std::string& sql);
  absl::Status Prepare(const std::string& name, const std::string& sql);
  absl::Status SendRow(const std::string& name, std::span<const ColumnView> parameters);
  absl::Status SendArrays(const std::string& name, std::span<const ArrayParameter> parameters);

  // Reads answers until `enough()`, which row_answered() brings about.
  absl::Status Await(const std::function<bool()>& enough);
  // Waits for the answers to everything sent. After it the pipeline takes statements again; the failure, if
  // any, is returned once and forgotten.
  absl::Status Drain();
  // Drain(), and leaves pipeline mode.
  absl::Status Leave();

  bool entered() const { return entered_; }
  // The statement that failed was sent by SendRow() or SendArrays(), or by the Prepare() for it.
  bool row_failed() const { return row_failed_; }
  std::uint64_t statements() const { return statements_; }

 private:
  enum class Kind : std::uint8_t { kOther, kPrepare, kRow, kSync };
  struct Sent {
    Kind kind;
    std::size_t bytes;
  };

  absl::Status Register(Kind kind, std::size_t bytes);
  absl::Status WaitForRoom();
  // Reads answers until `enough()`.
  template <typename Enough>
  absl::Status Pump(Enough enough);
  absl::Status ReadAnswers();
  void TakeAnswer(pg_result* result);

  Connection& connection_;
  const std::size_t in_flight_limit_;
  const std::function<void(std::int64_t)> row_answered_;
  bool entered_ = false;

  std::deque<Sent> sent_;  // Without an answer.
  bool answered_ = false;  // The result of sent_.front() was read, its end was not.
  std::size_t in_flight_ = 0;
  std::size_t unflushed_ = 0;  // Given to libpq since its buffer was empty.
  std::size_t since_flush_request_ = 0;
  absl::Status failure_;
  bool row_failed_ = false;
  std::uint64_t statements_ = 0;

  // Reused for each row.
  std::string text_;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
};

}  // namespace walferry
