// Tested by tests/apply/array_encoder_test.cc.
#include "apply/array_encoder.h"

#include <cstring>

namespace walferry {
namespace {

constexpr std::size_t kHeaderBytes = 20;

void PutInt32(char* out, std::uint32_t value) {
  const std::uint32_t wire = __builtin_bswap32(value);
  std::memcpy(out, &wire, sizeof wire);
}

}  // namespace

void ArrayEncoder::Begin(const TargetColumn& column, bool binary) {
  // An array of text is what stands for a type without arrays of its own: see set_statement.h.
  constexpr Oid kText = 25;
  const bool as_text = column.array_sql.empty();
  binary_ = binary || as_text || column.binary_is_text;
  has_null_ = false;
  count_ = 0;
  bytes_.clear();
  if (!binary_) {
    bytes_.push_back('{');
    return;
  }
  bytes_.resize(kHeaderBytes);
  PutInt32(bytes_.data(), 1);
  PutInt32(bytes_.data() + 8, as_text ? kText : column.element_oid);
  PutInt32(bytes_.data() + 16, 1);
}

void ArrayEncoder::Append(const ColumnView& value) {
  ++count_;
  const bool is_null = value.kind == ColumnKind::kNull;
  has_null_ = has_null_ || is_null;
  if (binary_) {
    char length[4];
    PutInt32(length, is_null ? ~std::uint32_t{0} : static_cast<std::uint32_t>(value.value.size()));
    bytes_.append(length, sizeof length);
    bytes_.append(value.value);
    return;
  }
  if (count_ > 1) bytes_.push_back(',');
  if (is_null) {
    bytes_.append("NULL");
  } else {
    AppendQuoted(value.value);
  }
}

void ArrayEncoder::AppendQuoted(std::string_view value) {
  bytes_.push_back('"');
  while (true) {
    const std::size_t special = value.find_first_of("\"\\");
    bytes_.append(value.substr(0, special));
    if (special == value.npos) break;
    bytes_.push_back('\\');
    bytes_.push_back(value[special]);
    value.remove_prefix(special + 1);
  }
  bytes_.push_back('"');
}

ArrayParameter ArrayEncoder::Finish() {
  if (binary_) {
    PutInt32(bytes_.data() + 4, has_null_ ? 1 : 0);
    PutInt32(bytes_.data() + 12, count_);
  } else {
    bytes_.push_back('}');
  }
  return {&bytes_, binary_};
}

}  // namespace walferry
