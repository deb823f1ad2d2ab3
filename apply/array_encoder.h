// The values of one column over many rows as one array parameter, which unnest() takes apart again.
//
// Binary: Int32 dimensions, Int32 has-null, Oid element, Int32 length, Int32 lower bound, then per element
// Int32 length (-1: NULL) and bytes: the same as a column of pgoutput's TupleData, so values are copied as
// they are. Text: {"…","…",NULL}. (array_recv and array_in in src/backend/utils/adt/arrayfuncs.c)
#pragma once

#include <cstdint>
#include <string>

#include "apply/target_table.h"
#include "decoder/tuple.h"

namespace walferry {

struct ArrayParameter {
  const std::string* bytes = nullptr;  // Of the encoder, until its next Begin().
  bool binary = false;
};

class ArrayEncoder {
 public:
  // `binary`: the values to come are kBinary or kNull. Text values become a binary array, too, where that is
  // the same.
  void Begin(const TargetColumn& column, bool binary);
  // Not kUnchangedToast.
  void Append(const ColumnView& value);
  ArrayParameter Finish();

  std::size_t bytes() const { return bytes_.size(); }

 private:
  void AppendQuoted(std::string_view value);

  std::string bytes_;
  std::uint32_t count_ = 0;
  bool binary_ = false;
  bool has_null_ = false;
};

}  // namespace walferry
