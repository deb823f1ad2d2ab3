// Which statement a change of the stream becomes: what is set, how the row is found, with which values.
// Values are views into the receive buffer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apply/table_map.h"
#include "stream/segment.h"

namespace walferry {

enum class Form : char {
  kInsert = 'i',
  kUpdate = 'u',
  // DELETE and INSERT in one statement: an identity column GENERATED ALWAYS cannot be updated, not even to
  // the value that it has. Columns without a new value are carried over.
  kReplace = 'r',
  kProbe = 'p',  // Nothing to set: only looks whether the row is there.
  kDelete = 'd',
};

// A statement about one row. What decides its SQL text is all but the parameters.
struct RowStatement {
  enum Condition : char { kIgnored = '-', kIsNull = 'n', kEquals = 'e' };
  enum Match : char {
    kByKey = 'k',      // A key of the target is among the conditions.
    kOnlyAlike = 'o',  // The source says that one row fits; where several do, the target refuses.
    kAnyAlike = 'a',   // All rows that fit are the same in every published column: any one of them.
  };

  const MappedTable* table = nullptr;
  Form form = Form::kInsert;
  Match match = kByKey;
  std::string set;    // By published column: 's' where it gets a value.
  std::string where;  // By published column: a Condition.
  // The values of `set`, then those of kEquals, each in the order of the published columns.
  std::vector<ColumnView> parameters;

  // Equal for statements with the same SQL text. Replaces the content of `key`.
  void MakeKey(std::string& key) const;
};

// Plans one change after the other. Not thread-safe; keeps no state but memory for reuse.
class RowPlanner {
 public:
  // event: kInsert, kUpdate or kDelete of `table`, which is in scope. `statement` is overwritten.
  // False: the stream does not say which row is meant (no replica identity).
  // kFailedPrecondition: an INSERT without the value of a TOAST column; a row that is known by a part of its
  // identity only.
  // kUnimplemented: a binary value of another type, which can be taken as text.
  // kDataLoss: a tuple that does not fit the relation.
  absl::StatusOr<bool> Plan(const MappedTable& table, const Event& event, RowStatement& statement);

 private:
  absl::Status Load(const MappedTable& table, const TupleView& tuple, std::vector<ColumnView>& columns) const;
  absl::StatusOr<bool> PlanInsert(const Event& event, RowStatement& statement);
  absl::StatusOr<bool> PlanUpdate(const Event& event, RowStatement& statement);
  absl::StatusOr<bool> PlanDelete(const Event& event, RowStatement& statement);
  // Sets `where`; nullptr, or the tuple that it takes its values from.
  absl::StatusOr<const std::vector<ColumnView>*> Identify(const Event& event, RowStatement& statement);
  const std::vector<ColumnView>* IdentifyFull(const Event& event, RowStatement& statement);
  bool MayChange(std::size_t column, const Event& event) const;
  void AddParameters(const std::vector<ColumnView>* where_values, RowStatement& statement) const;

  std::vector<ColumnView> old_;
  std::vector<ColumnView> new_;
};

}  // namespace walferry
