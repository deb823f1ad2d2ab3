// The source's half of apply/schema.h. Tested by tests/apply/schema_test.cc.
#include <utility>

#include "apply/dump_program.h"
#include "apply/dump_session.h"
#include "apply/left_out.h"
#include "apply/schema.h"
#include "apply/schema_script.h"
#include "stream/snapshot.h"

namespace walferry {
namespace {

absl::StatusOr<LeftOut> FindLeftOutInSnapshot(const SchemaDumpOptions& options, const StopSignal& stop) {
  if (options.excluded_tables.empty()) return LeftOut();
  WF_ASSIGN_OR_RETURN(Connection source,
                      Connection::Open({.conninfo = options.source, .settings = {}, .stop = &stop}));
  if (!options.snapshot.empty()) WF_RETURN_IF_ERROR(BeginInSnapshot(source, options.snapshot));
  return FindLeftOut(source, options.excluded_tables);
}

// One section of the schema, as entries.
absl::StatusOr<std::vector<ScriptEntry>> DumpSection(const std::string& program,
                                                     const SchemaDumpOptions& options,
                                                     const ChildConninfo& conninfo, const LeftOut& left_out,
                                                     std::string_view section, const StopSignal& stop) {
  std::vector<std::string> argv = {program,
                                   "--schema-only",
                                   "--encoding=UTF8",  // As all our sessions; else it is the database's.
                                   absl::StrFormat("--section=%s", section),
                                   "--no-publications",
                                   "--no-subscriptions",
                                   "--no-tablespaces",
                                   "--no-security-labels",
                                   "--exclude-schema=walferry"};
  if (!options.snapshot.empty()) argv.push_back("--snapshot=" + options.snapshot);
  if (!options.only_tables.empty()) argv.emplace_back("--strict-names");
  if (!options.keep_owners) argv.insert(argv.end(), {"--no-owner", "--no-privileges"});
  // In double quotes a pattern is a plain name.
  for (const TableName& table : left_out.relations) {
    argv.push_back("--exclude-table=" + QuoteName(table.schema, table.name));
  }
  for (const TableName& table : options.only_tables) {
    argv.push_back("--table=" + QuoteName(table.schema, table.name));
  }
  argv.push_back("--dbname=" + conninfo.conninfo);
  std::vector<std::pair<std::string, std::string>> environment = {{"PGAPPNAME", "walferry"}, {"LC_ALL", "C"}};
  if (!conninfo.password.empty()) environment.emplace_back("PGPASSWORD", conninfo.password);
  WF_ASSIGN_OR_RETURN(const std::string script, RunDump(argv, environment, options, stop));
  WF_RETURN_IF_ERROR(CheckScriptSettings(script));
  return SplitScript(script);
}

// Without what is left out.
absl::StatusOr<SchemaDump> DumpWithout(LeftOut left_out, const SchemaDumpOptions& options, int source_version,
                                       const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(const std::string program, FindDumpProgram(source_version));
  WF_ASSIGN_OR_RETURN(const ChildConninfo conninfo, DumpConninfo(options.source, stop));
  WF_ASSIGN_OR_RETURN(std::vector<ScriptEntry> pre_data,
                      DumpSection(program, options, conninfo, left_out, "pre-data", stop));
  WF_ASSIGN_OR_RETURN(std::vector<ScriptEntry> post_data,
                      DumpSection(program, options, conninfo, left_out, "post-data", stop));
  EraseEntries(left_out.objects, pre_data);
  EraseEntries(left_out.objects, post_data);
  return SchemaDump{.pre_data = PreDataObjects(pre_data),
                    .post_data = PostDataObjects(pre_data, post_data),
                    .left_out = std::move(left_out.names)};
}

}  // namespace

absl::StatusOr<SchemaDump> DumpSchema(const SchemaDumpOptions& options, int source_version,
                                      const StopSignal& stop) {
  WF_RETURN_IF_ERROR(FindDumpProgram(source_version).status());
  WF_ASSIGN_OR_RETURN(LeftOut left_out, FindLeftOutInSnapshot(options, stop));
  WF_RETURN_IF_ERROR(CheckNothingNeeded(left_out));
  return DumpWithout(std::move(left_out), options, source_version, stop);
}

absl::StatusOr<SchemaDump> DumpObjects(const SchemaDumpOptions& options, int source_version,
                                       const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(LeftOut left_out, FindLeftOutInSnapshot(options, stop));
  return DumpWithout(std::move(left_out), options, source_version, stop);
}

absl::StatusOr<PartitionSchema> DumpPartitions(const SchemaDumpOptions& options, int source_version,
                                               const StopSignal& stop) {
  WF_ASSIGN_OR_RETURN(const std::string program, FindDumpProgram(source_version));
  WF_ASSIGN_OR_RETURN(const ChildConninfo conninfo, DumpConninfo(options.source, stop));
  WF_ASSIGN_OR_RETURN(std::vector<ScriptEntry> pre_data,
                      DumpSection(program, options, conninfo, {}, "pre-data", stop));
  WF_ASSIGN_OR_RETURN(const std::vector<ScriptEntry> post_data,
                      DumpSection(program, options, conninfo, {}, "post-data", stop));
  std::vector<ScriptEntry> attach;
  std::erase_if(pre_data, [&](const ScriptEntry& entry) {
    if (entry.type != "TABLE ATTACH") return false;
    attach.push_back(entry);
    return true;
  });
  PartitionSchema schema;
  std::string index_attach;
  schema.sql = PreDataSql(pre_data);
  for (SchemaObject& object : PostDataObjects({}, post_data)) {
    if (object.stage == ObjectStage::kIndex) {
      schema.sql += object.sql + "\n\n";
    } else if (object.stage == ObjectStage::kAttach) {
      index_attach += object.sql + "\n\n";
    } else {
      schema.later.push_back(std::move(object));
    }
  }
  schema.sql += PreDataSql(attach) + index_attach;
  return schema;
}

}  // namespace walferry
