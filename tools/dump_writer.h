// From placed messages to lines: what --xid and --tables let through, in the format asked for, or counted.
#pragma once

#include <map>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "tools/dump.h"
#include "tools/dump_context.h"
#include "tools/dump_stats.h"

namespace walferry {

class DumpWriter {
 public:
  // known_tables: of the source, so that a partition is chosen by its ancestors' names, too. All must outlive
  // this.
  DumpWriter(const DumpOptions& options, const std::vector<SourceTable>& known_tables, std::ostream& out);

  void Write(const DumpedMessage& message, std::size_t payload_bytes);
  // What is left to say at the end.
  void Finish();

 private:
  enum class Verdict { kShow, kHide, kFrame };
  // kFrame: begins or ends something; shown only around what is shown.
  Verdict Judge(const DumpedMessage& message) const;
  bool Chosen(const Relation* relation) const;
  void WriteFrame(const DumpedMessage& message, std::size_t payload_bytes);
  void Emit(const DumpedMessage& message, std::size_t payload_bytes);
  std::string Line(const DumpedMessage& message) const;

  const DumpOptions& options_;
  std::ostream& out_;
  std::map<TableName, const SourceTable*> known_;
  // With --tables: opening lines that wait for a change to be shown, and the transactions of which one was.
  std::string waiting_;
  std::set<Xid> shown_;
  DumpStats stats_;
};

}  // namespace walferry
