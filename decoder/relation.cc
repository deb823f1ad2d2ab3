#include "decoder/relation.h"

#include <utility>

namespace walferry {
namespace {

// Compared in place: the server repeats descriptions often, and equal ones shall cost no allocation.
bool Describes(const RelationMessage& message, const Relation& relation) {
  if (message.schema != relation.schema || message.name != relation.name ||
      message.replica_identity != relation.replica_identity ||
      message.columns.size() != relation.columns.size()) {
    return false;
  }
  bool equal = true;
  auto known = relation.columns.begin();
  message.columns.ForEach([&](const RelationColumnView& column) {
    equal = equal && column.name == known->name && column.type_oid == known->type_oid &&
            column.typmod == known->typmod && column.is_key == known->is_key;
    ++known;
  });
  return equal;
}

std::unique_ptr<const Relation> MakeRelation(const RelationMessage& message) {
  auto relation = std::make_unique<Relation>();
  relation->id = message.relation_id;
  relation->schema = message.schema;
  relation->name = message.name;
  relation->replica_identity = message.replica_identity;
  relation->columns.reserve(message.columns.size());
  message.columns.ForEach([&](const RelationColumnView& column) {
    relation->columns.push_back({std::string(column.name), column.type_oid, column.typmod, column.is_key});
  });
  return relation;
}

}  // namespace

const Relation* RelationCache::Put(const RelationMessage& message, std::uint64_t arrival) {
  return Bind(bindings_, message.relation_id, {Intern(message), arrival});
}

const Relation* RelationCache::PutStreamed(Xid top_xid, const RelationMessage& message,
                                           std::uint64_t arrival) {
  return Bind(streamed_[top_xid], message.relation_id, {Intern(message), arrival});
}

const Relation* RelationCache::Find(Oid relation_id) const {
  const auto found = bindings_.find(relation_id);
  return found == bindings_.end() ? nullptr : found->second.relation;
}

const Relation* RelationCache::FindStreamed(Xid top_xid, Oid relation_id) const {
  if (const auto overlay = streamed_.find(top_xid); overlay != streamed_.end()) {
    const auto found = overlay->second.find(relation_id);
    if (found != overlay->second.end()) return found->second.relation;
  }
  return Find(relation_id);
}

void RelationCache::CommitStreamed(Xid top_xid) {
  const auto overlay = streamed_.extract(top_xid);
  if (overlay.empty()) return;
  for (const auto& [relation_id, binding] : overlay.mapped()) Bind(bindings_, relation_id, binding);
}

void RelationCache::AbortStreamed(Xid top_xid) {
  streamed_.erase(top_xid);
}

void RelationCache::ForgetBindings() {
  bindings_.clear();
  streamed_.clear();
}

const Relation* RelationCache::Bind(Bindings& bindings, Oid relation_id, const Binding& binding) {
  Binding& current = bindings[relation_id];
  if (current.relation == nullptr || current.arrival < binding.arrival) current = binding;
  return binding.relation;
}

const Relation* RelationCache::Intern(const RelationMessage& message) {
  std::vector<std::unique_ptr<const Relation>>& shapes = shapes_[message.relation_id];
  for (const auto& shape : shapes) {
    if (Describes(message, *shape)) return shape.get();
  }
  shapes.push_back(MakeRelation(message));
  return shapes.back().get();
}

}  // namespace walferry
