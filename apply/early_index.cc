// Tested by tests/apply/early_index_test.cc.
#include "apply/early_index.h"

#include <poll.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "apply/object_creator.h"
#include "apply/schema_script.h"
#include "apply/workers.h"

namespace walferry {
namespace {

// ALTER TABLE ADD CONSTRAINT locks everybody out, while several CREATE INDEX of one table go side by side.
bool IsExclusive(const SchemaObject& object) {
  return object.kind == "CONSTRAINT";
}

}  // namespace

EarlyIndexes::EarlyIndexes(std::string target, std::string migration,
                           const std::vector<SchemaObject>& objects, int jobs,
                           std::function<void(const SchemaObject&)> done)
    : target_(std::move(target)), migration_(std::move(migration)), done_(std::move(done)) {
  for (auto object = objects.rbegin(); object != objects.rend(); ++object) {
    if (object->done || object->stage != ObjectStage::kIndex) continue;
    const std::optional<TableName> table = TableOfIndex(*object);
    if (table.has_value()) tables_[*table].waiting.push_back(*object);
  }
  thread_ = std::thread([this, jobs] {
    // What failed is tried again, and reported, by CreateObjects().
    RunWorkers(std::max(1, jobs), halt_, [this](const StopSignal& halt) { return Work(halt); }).IgnoreError();
    finished_.Request();
  });
}

EarlyIndexes::~EarlyIndexes() {
  if (thread_.joinable()) Join(true);
}

void EarlyIndexes::Add(const TableRecord& table) {
  const absl::MutexLock lock(&mutex_);
  const auto found = tables_.find(table.table);
  if (found != tables_.end()) found->second.bytes = std::max<std::int64_t>(0, table.bytes);
}

absl::Status EarlyIndexes::Finish(const StopSignal& stop) {
  {
    const absl::MutexLock lock(&mutex_);
    all_added_ = true;
  }
  pollfd events[] = {{stop.fd(), POLLIN, 0}, {finished_.fd(), POLLIN, 0}};
  while (poll(events, 2, -1) < 0) {
  }
  Join(stop.requested());
  return stop.requested() ? absl::CancelledError("stopped") : absl::OkStatus();
}

void EarlyIndexes::Join(bool cancel) {
  {
    const absl::MutexLock lock(&mutex_);
    all_added_ = true;
    cancelled_ = cancelled_ || cancel;
  }
  if (cancel) halt_.Request();
  thread_.join();
}

absl::Status EarlyIndexes::Work(const StopSignal& halt) {
  ObjectCreator creator(target_, migration_, halt);
  while (const std::optional<Build> build = Take()) {
    Leave(*build, creator.Create(build->object).ok());
  }
  return absl::OkStatus();
}

EarlyIndexes::Table* EarlyIndexes::Next() {
  Table* best = nullptr;
  for (auto& [name, table] : tables_) {
    if (table.bytes < 0 || table.waiting.empty() || table.exclusively) continue;
    if (table.building > 0 && IsExclusive(table.waiting.back())) continue;
    if (best == nullptr || table.bytes > best->bytes) best = &table;
  }
  return best;
}

bool EarlyIndexes::MayGoOn() const {
  if (cancelled_) return true;
  bool waits = false;
  for (const auto& [name, table] : tables_) {
    if (table.bytes < 0 || table.waiting.empty()) continue;
    if (!table.exclusively && (table.building == 0 || !IsExclusive(table.waiting.back()))) return true;
    waits = true;
  }
  return all_added_ && !waits;
}

std::optional<EarlyIndexes::Build> EarlyIndexes::Take() {
  const absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &EarlyIndexes::MayGoOn));
  Table* const table = cancelled_ ? nullptr : Next();
  if (table == nullptr) return std::nullopt;
  Build build{table, std::move(table->waiting.back())};
  table->waiting.pop_back();
  table->exclusively = IsExclusive(build.object);
  ++table->building;
  return build;
}

void EarlyIndexes::Leave(const Build& build, bool made) {
  const absl::MutexLock lock(&mutex_);
  build.table->exclusively = false;
  --build.table->building;
  if (made && done_) done_(build.object);
}

}  // namespace walferry
