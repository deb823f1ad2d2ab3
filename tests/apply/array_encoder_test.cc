// Arrays as they go onto the wire, without a server.
#include "apply/array_encoder.h"

#include "gtest/gtest.h"

namespace walferry {
namespace {

TargetColumn Column(Oid oid, bool has_array, bool binary_is_text) {
  TargetColumn column;
  column.element_oid = oid;
  column.array_sql = has_array ? "\"pg_catalog\".\"something\"[]" : "";
  column.binary_is_text = binary_is_text;
  return column;
}

std::string Encode(const TargetColumn& column, bool binary, const std::vector<ColumnView>& values) {
  ArrayEncoder encoder;
  encoder.Begin(column, binary);
  for (const ColumnView& value : values) encoder.Append(value);
  const ArrayParameter array = encoder.Finish();
  return (array.binary ? "b:" : "t:") + *array.bytes;
}

std::string Hex(const std::string& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

TEST(ArrayEncoder, TextIsQuotedAndNullIsNot) {
  EXPECT_EQ(Encode(Column(1700, true, false), false,
                   {{ColumnKind::kText, "1.5"},
                    {ColumnKind::kNull, {}},
                    {ColumnKind::kText, ""},
                    {ColumnKind::kText, "NULL"},
                    {ColumnKind::kText, "a\"b\\c,{}"}}),
            "t:{\"1.5\",NULL,\"\",\"NULL\",\"a\\\"b\\\\c,{}\"}");
}

TEST(ArrayEncoder, NoValuesAreAnEmptyArray) {
  EXPECT_EQ(Encode(Column(1700, true, false), false, {}), "t:{}");
}

TEST(ArrayEncoder, BinaryValuesAreTakenAsTheyAre) {
  const std::string encoded =
      Encode(Column(23, true, false), true,
             {{ColumnKind::kBinary, std::string_view("\0\0\0\7", 4)}, {ColumnKind::kNull, {}}});
  EXPECT_EQ(encoded.substr(0, 2), "b:");
  EXPECT_EQ(Hex(encoded.substr(2)),
            "0000000100000001000000170000000200000001"
            "0000000400000007ffffffff");
}

TEST(ArrayEncoder, TextOfTextTypesBecomesBinary) {
  EXPECT_EQ(Hex(Encode(Column(25, true, true), false, {{ColumnKind::kText, "ab"}}).substr(2)),
            "0000000100000000000000190000000100000001"
            "000000026162");
}

TEST(ArrayEncoder, ATypeWithoutArraysTravelsAsText) {
  EXPECT_EQ(Hex(Encode(Column(1007, false, false), false, {{ColumnKind::kText, "{1}"}}).substr(2)),
            "0000000100000000000000190000000100000001"
            "000000037b317d");
}

}  // namespace
}  // namespace walferry
