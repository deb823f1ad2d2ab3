// The options that the commands which move data share.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "tools/command.h"
#include "tools/follow.h"
#include "tools/migration.h"

namespace walferry {

struct CopyFlags {
  std::string schema = "copy";
  std::string large_objects = "block";
  int copy_jobs = 4;
  int index_jobs = 4;
};

struct StreamFlags {
  std::string until;  // "", "caught-up" or an LSN
  std::string lanes = "auto";
  std::string streaming = "auto";
  std::size_t batch_bytes = FollowOptions{}.batch_bytes;
  std::string on_missing_row = "count";
  std::string on_conflict = "stop";
  std::string metrics_listen;
};

struct CatalogFlags {
  std::string new_partitions = "create";
  std::string no_identity = "block";
  std::size_t max_slot_wal_bytes = 0;
};

struct MigrationFlags {
  std::string binary = "auto";
  CatalogFlags catalog;
  CopyFlags copy;
  StreamFlags stream;
};

void AddBinaryFlag(CLI::App& command, MigrationFlags& flags);
void AddCatalogFlags(CLI::App& command, CatalogFlags& flags);
void AddCopyFlags(CLI::App& command, CopyFlags& flags);
// Everything but --until, which cutover has no use for.
void AddStreamFlags(CLI::App& command, StreamFlags& flags);
void AddUntilFlag(CLI::App& command, StreamFlags& flags);

absl::StatusOr<MigrationOptions> MakeMigrationOptions(const Globals& globals, const MigrationFlags& flags);
absl::StatusOr<FollowUntil> MakeUntil(const Globals& globals, const StreamFlags& flags);

}  // namespace walferry
