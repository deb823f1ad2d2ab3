// A pair of databases with a migration's state on the target, and copies of tables under a snapshot of the
// source.
#pragma once

#include <string>
#include <vector>

#include "apply/state.h"
#include "apply/table_copy.h"
#include "gtest/gtest.h"
#include "tests/support/server_pair.h"

namespace walferry {

class CopyFixture : public ::testing::Test {
 protected:
  CopyFixture() : exporter_(MustConnect(pair_.source_conninfo())) {}

  void SetUp() override {
    ASSERT_TRUE(EnsureStateSchema(pair_.target()).ok());
    MigrationRecord record;
    record.name = "m";
    ASSERT_TRUE(InsertMigration(pair_.target(), record).ok());
  }

  // The snapshot that Copy() reads.
  void TakeSnapshot() {
    if (!options_.snapshot.empty()) RunSql(exporter_, "commit");
    RunSql(exporter_, "begin isolation level repeatable read");
    options_.snapshot = QueryText(exporter_, "select pg_export_snapshot()");
    options_.position = Lsn{options_.position.value + 100};
  }

  void AddTablesToState(const std::vector<TableName>& tables) {
    std::vector<TableRecord> records;
    for (const TableName& table : tables) records.emplace_back().table = table;
    ASSERT_TRUE(AddTables(pair_.target(), "m", records).ok());
  }

  // Copies what the state says is not done yet.
  absl::Status Copy() {
    options_.source = pair_.source_conninfo();
    options_.target = pair_.target_conninfo();
    options_.migration = "m";
    const std::vector<TableRecord> tables = LoadTables(pair_.target(), "m").value();
    return CopyTables(options_, tables, progress_, stop_,
                      [this](const TableRecord& record) { done_.push_back(record); });
  }

  TableRecord Record(const std::string& name) {
    const auto found = LoadTables(pair_.target(), "m").value();
    for (const TableRecord& record : found) {
      if (record.table.name == name) return record;
    }
    ADD_FAILURE() << "no record of table " << name;
    return {};
  }

  DatabasePair pair_;
  Connection exporter_;
  TableCopyOptions options_;
  TableCopyProgress progress_;
  StopSignal stop_;
  std::vector<TableRecord> done_;
};

}  // namespace walferry
