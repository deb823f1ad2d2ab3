// Tested by tests/apply/followed_table_test.cc.
#include "apply/followed_table.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "decoder/status.h"

namespace walferry {
namespace {

constexpr char kRelationPayload[] = "walferry/unexpected-relation";
constexpr char kXidPayload[] = "walferry/unexpected-relation-xid";

std::uint32_t NumberOf(const absl::Status& status, const char* payload_name) {
  const absl::optional<absl::Cord> payload = status.GetPayload(payload_name);
  std::uint32_t number = 0;
  return payload.has_value() && absl::SimpleAtoi(std::string(*payload), &number) ? number : 0;
}

// With all of its columns: one that lacks some may have given their names to others.
bool Fits(const SourceShape& shape, const Relation& relation) {
  return std::equal(shape.begin(), shape.end(), relation.columns.begin(), relation.columns.end(),
                    [](const SourceShapeColumn& one, const RelationColumn& column) {
                      return one.name == column.name && one.type_oid == column.type_oid;
                    });
}

std::string NameOf(const SourceShape& shape, int attnum) {
  const auto found = std::find_if(shape.begin(), shape.end(),
                                  [&](const SourceShapeColumn& one) { return one.attnum == attnum; });
  return found == shape.end() ? std::string() : found->name;
}

}  // namespace

std::optional<std::vector<std::string>> TargetColumnNames(const FollowedTable& table,
                                                          const Relation& relation) {
  for (const SourceShape& shape : table.shapes) {
    if (!Fits(shape, relation)) continue;
    std::vector<std::string> names;
    for (const SourceShapeColumn& column : shape) {
      names.push_back(NameOf(table.shapes.front(), column.attnum));
    }
    return names;
  }
  return std::nullopt;
}

absl::Status UnexpectedRelationError(const Relation& relation, const std::string& text) {
  absl::Status status = absl::FailedPreconditionError(text);
  status.SetPayload(kRelationPayload, absl::Cord(std::to_string(relation.id)));
  return status;
}

std::optional<Oid> UnexpectedRelation(const absl::Status& status) {
  const Oid oid = NumberOf(status, kRelationPayload);
  return oid == 0 ? std::nullopt : std::optional(oid);
}

absl::Status WithXid(absl::Status status, Xid xid) {
  if (UnexpectedRelation(status)) status.SetPayload(kXidPayload, absl::Cord(std::to_string(xid)));
  return status;
}

Xid UnexpectedRelationXid(const absl::Status& status) {
  return NumberOf(status, kXidPayload);
}

}  // namespace walferry
