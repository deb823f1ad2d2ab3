// A table that a stream follows, as the migration knows it: by its oid on the source, under whatever name the
// source gives it by now.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "decoder/lsn.h"
#include "decoder/relation.h"
#include "stream/publication.h"

namespace walferry {

// Columns of a table of the source in their order.
struct SourceShapeColumn {
  int attnum = 0;  // Stays as it is while the column is renamed.
  std::string name;
  Oid type_oid = 0;
  friend bool operator==(const SourceShapeColumn&, const SourceShapeColumn&) = default;
};
using SourceShape = std::vector<SourceShapeColumn>;

struct FollowedTable {
  TableName target;      // What it is called on the target.
  Oid target_oid = 0;    // Of that table there; 0: unknown.
  Lsn copied_at;         // Older transactions (by commit LSN) are in its copy.
  bool dropped = false;  // Gone from the source: what the stream still has of it is left out.
  // What its rows may look like: as the target's table is now, then as it was before. Empty: anything.
  std::vector<SourceShape> shapes;
};

// By oid on the source. Empty: tables are known by name alone.
using FollowedTables = std::map<Oid, FollowedTable>;

// What each published column is called on the target, where one of the shapes is that of the relation; "" for
// a column that was dropped since. The relation has all columns of the shape in its order, and no others.
// nullopt where no shape fits.
std::optional<std::vector<std::string>> TargetColumnNames(const FollowedTable& table,
                                                          const Relation& relation);

// The relation that a status is about because the stream cannot go on with it before somebody has looked at
// the source's catalog: it is not followed, or has another shape than the target's table.
absl::Status UnexpectedRelationError(const Relation& relation, const std::string& text);
std::optional<Oid> UnexpectedRelation(const absl::Status& status);
// The source's transaction in which it was met; 0: unknown.
absl::Status WithXid(absl::Status status, Xid xid);
Xid UnexpectedRelationXid(const absl::Status& status);

}  // namespace walferry
