// Equal or not, table by table: what both sides hold, hashed in the servers. For a source whose writes have
// stopped (or pause long enough for the stream to catch up): a table that differs is looked at again, as long
// as the stream moves.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "apply/content_hash.h"
#include "stream/stop_signal.h"
#include "tools/catalog_watch.h"
#include "tools/table_filter.h"

namespace walferry {

struct VerifyOptions {
  std::string source;
  std::string target;
  std::string name = "walferry";  // Its tables, and its stream to wait for, where the target knows it.
  TableFilter tables;
  int jobs = 2;
  int differences_limit = 20;  // Rows named per table.
  // Kinds of catalog differences that are no reason to say that something was not compared.
  std::vector<std::string> accepted;
  // How long the stream may take to reach what the source has written when verify begins.
  absl::Duration timeout = absl::Minutes(2);
};

struct TableVerdict {
  TableName table;
  ContentHash source;
  ContentHash target;
  bool equal = false;
  std::string missing_on;  // "source" or "target", where the table is not there; nothing was compared then.
  std::vector<std::string> columns_source_only;
  std::vector<std::string> columns_target_only;
  std::vector<RowDifference> differences;
};

inline constexpr std::string_view kUnreadable = "unreadable";

struct VerifyReport {
  Lsn position;  // Of the source, when it was looked at.
  std::vector<TableVerdict> tables;
  // Of the catalog watch's: what was not compared because the migration does not have it. Of kind
  // kUnreadable: a table that one side did not let us read; its name is the object.
  std::vector<CatalogDifference> not_compared;
  bool ok() const;  // What was compared is equal.
};

// Any error means that it could not verify. `done` is called after each table, on one thread at a time.
absl::StatusOr<VerifyReport> Verify(const VerifyOptions& options, const StopSignal& stop,
                                    const std::function<void(const TableVerdict&)>& done);

}  // namespace walferry
