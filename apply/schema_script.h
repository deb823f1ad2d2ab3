// The text that pg_dump writes, taken apart into its entries. Pure.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apply/left_out.h"
#include "apply/state.h"
#include "decoder/status.h"

namespace walferry {

// What stands under one header of the text: "-- Name: …; Type: …; Schema: …; Owner: …".
struct ScriptEntry {
  std::string name;
  std::string type;  // TABLE, INDEX, FK CONSTRAINT, COMMENT, …
  std::string schema;
  std::string sql;  // One or several statements.
};

// Entries in their order. Headers count only between statements, so that a function body or a comment on an
// object may hold any text. What stands before the first header (settings of the session, \restrict) is left
// out, but for settings of the first entry: SET default_table_access_method and the like belong to the entry
// behind them.
std::vector<ScriptEntry> SplitScript(std::string_view text);

// Takes `objects` out, with the comments that follow them and the grants on them.
void EraseEntries(const std::set<DumpedObject>& objects, std::vector<ScriptEntry>& entries);

// kFailedPrecondition where the script's header asks for settings under which SplitScript would not read it,
// nor the target's sessions (stream/session_settings.h).
absl::Status CheckScriptSettings(std::string_view text);

// The statements of the pre-data section that make sense on another server, as one script. Schema public and
// what comes with extensions exist already; materialized views are there, empty.
std::string PreDataSql(const std::vector<ScriptEntry>& entries);

// The same as objects, each with the settings that it needs; ids below 0, in the order of the script.
std::vector<SchemaObject> PreDataObjects(const std::vector<ScriptEntry>& entries);

// The objects of the post-data section in stages, a comment on an object together with it; then a REFRESH for
// each materialized view of either section, in the order in which they depend on each other.
std::vector<SchemaObject> PostDataObjects(const std::vector<ScriptEntry>& pre_data,
                                          const std::vector<ScriptEntry>& post_data);

// The table of an index or of a constraint that is one; nothing for all other objects. By the statement that
// pg_dump writes: CREATE [UNIQUE] INDEX … ON [ONLY] table, ALTER TABLE ONLY table ADD CONSTRAINT.
std::optional<TableName> TableOfIndex(const SchemaObject& object);

// What makes an index of a partition a part of that of its partitioned table.
struct AttachedIndex {
  TableName parent;
  TableName index;
};
// Nothing for other objects.
std::optional<AttachedIndex> AttachedIndexOf(const SchemaObject& object);

// The statement with other names of tables, old to new, as pg_dump writes them (quoted where they have to
// be).
using TableRenames = std::vector<std::pair<TableName, TableName>>;
std::string WithTablesRenamed(std::string sql, const TableRenames& renames);
// The object with its name, too.
SchemaObject WithTablesRenamed(SchemaObject object, const TableRenames& renames);

// The kind of the objects that fill materialized views.
inline constexpr std::string_view kRefreshKind = "MATERIALIZED VIEW DATA";

}  // namespace walferry
