// Tested by tests/apply/followed_table_test.cc.
#include "apply/followed_table.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "decoder/status.h"

namespace walferry {
namespace {

constexpr char kRelationPayload[] = "walferry/unexpected-relation";

// The columns of the shape that the relation's are.
std::optional<SourceShape> Fit(const SourceShape& shape, const Relation& relation) {
  SourceShape found;
  auto at = shape.begin();
  for (const RelationColumn& column : relation.columns) {
    at = std::find_if(at, shape.end(), [&](const SourceShapeColumn& one) { return one.name == column.name; });
    if (at == shape.end() || at->type_oid != column.type_oid) return std::nullopt;
    found.push_back(*at++);
  }
  return found;
}

std::string NameOf(const SourceShape& shape, int attnum) {
  const auto found = std::find_if(shape.begin(), shape.end(),
                                  [&](const SourceShapeColumn& one) { return one.attnum == attnum; });
  return found == shape.end() ? std::string() : found->name;
}

}  // namespace

std::optional<std::vector<std::string>> TargetColumnNames(const FollowedTable& table, const Relation& relation) {
  for (const SourceShape& shape : table.shapes) {
    const std::optional<SourceShape> columns = Fit(shape, relation);
    if (!columns) continue;
    std::vector<std::string> names;
    for (const SourceShapeColumn& column : *columns) {
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
  const absl::optional<absl::Cord> payload = status.GetPayload(kRelationPayload);
  Oid oid = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &oid)) return std::nullopt;
  return oid;
}

}  // namespace walferry
