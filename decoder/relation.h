// Relations as the stream described them, kept for as long as the cache lives.
//
// A `const Relation*` stays valid and unchanged until the cache is destroyed: a repeated, equal description
// gives the same pointer (the server repeats descriptions after every invalidation), a different one gives a
// new Relation. So pointer equality is "same shape", and other threads may read a Relation while this thread
// adds to the cache.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "decoder/message.h"

namespace walferry {

struct RelationColumn {
  std::string name;
  Oid type_oid = 0;
  std::int32_t typmod = -1;
  bool is_key = false;  // Part of the replica identity; all columns under REPLICA IDENTITY FULL.
  friend bool operator==(const RelationColumn&, const RelationColumn&) = default;
};

struct Relation {
  Oid id = 0;
  std::string schema;  // "pg_catalog" in full.
  std::string name;
  ReplicaIdentity replica_identity = ReplicaIdentity::kDefault;
  std::vector<RelationColumn> columns;
  friend bool operator==(const Relation&, const Relation&) = default;

  // schema.name, for people.
  std::string FullName() const { return schema + "." + name; }
};

// The newest description of each relation, and, for each transaction that is streamed in progress, the
// descriptions sent inside it. Those hold for that transaction alone until it commits; then they hold for
// all, unless a newer one arrived outside meanwhile (PostgreSQL: cleanup_rel_sync_cache in pgoutput.c). Not
// thread-safe.
class RelationCache {
 public:
  // Numbers descriptions by arrival. Call once per relation message as it arrives.
  std::uint64_t NextArrival() { return ++arrivals_; }

  // A description outside of streamed blocks.
  const Relation* Put(const RelationMessage& message, std::uint64_t arrival);
  // A description inside the streamed transaction `top_xid`.
  const Relation* PutStreamed(Xid top_xid, const RelationMessage& message, std::uint64_t arrival);

  // nullptr where the relation was never described.
  const Relation* Find(Oid relation_id) const;
  const Relation* FindStreamed(Xid top_xid, Oid relation_id) const;

  void CommitStreamed(Xid top_xid);
  void AbortStreamed(Xid top_xid);

  // A new connection: the server describes everything again. Pointers given out stay valid.
  void ForgetBindings();

 private:
  struct Binding {
    const Relation* relation = nullptr;
    std::uint64_t arrival = 0;
  };
  using Bindings = absl::flat_hash_map<Oid, Binding>;
  const Relation* Intern(const RelationMessage& message);
  // Keeps the newer one of `binding` and what is there. Returns binding's relation.
  static const Relation* Bind(Bindings& bindings, Oid relation_id, const Binding& binding);

  std::uint64_t arrivals_ = 0;
  Bindings bindings_;
  std::map<Xid, Bindings> streamed_;
  absl::flat_hash_map<Oid, std::vector<std::unique_ptr<const Relation>>> shapes_;
};

}  // namespace walferry
