#include "tests/faults/terminator.h"

#include <random>
#include <utility>

#include "tests/support/server_pair.h"

namespace walferry {
namespace {

// One connection of walferry or its children, at random; the number ended. Those of the test have a name of
// their own.
int EndOne(Connection& connection) {
  return std::stoi(
      QueryText(connection,
                "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity "
                "where datname = current_database() and backend_type in ('client backend', 'walsender') "
                "and application_name <> 'walferry_test' order by random() limit 1) a"));
}

}  // namespace

Terminator::Terminator(std::string source, std::string target, std::uint64_t seed)
    : source_(std::move(source)), target_(std::move(target)), thread_([this, seed] { Run(seed); }) {}

Terminator::~Terminator() {
  Stop();
}

void Terminator::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void Terminator::Run(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Connection source = MustConnect(source_);
  Connection target = MustConnect(target_);
  while (!stop_) {
    const auto pause = absl::Milliseconds(std::uniform_int_distribution<int>(300, 2500)(random));
    if (WaitUntil([this] { return stop_.load(); }, pause)) return;
    const absl::MutexLock lock(&mutex_);
    if (random() % 3 == 0) {
      ended_on_source_ += EndOne(source);
    } else {
      ended_on_target_ += EndOne(target);
    }
  }
}

}  // namespace walferry
