// What a fresh dump of the source has of the schema's second half, compared with what is recorded of it.
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apply/object_catalog.h"
#include "apply/state.h"

namespace walferry {

// A comment that came to an object that is made already.
inline constexpr std::string_view kCommentKind = "COMMENT";

struct ChangedObject {
  SchemaObject before;  // As it is recorded.
  SchemaObject after;   // As the source has it now, with the id and the mark of `before`.
};

struct ObjectDifference {
  std::vector<SchemaObject> kept;        // The same on both sides, with their ids and marks.
  std::vector<SchemaObject> gone;        // Recorded, and no more on the source.
  std::vector<SchemaObject> added;       // On the source only; without an id.
  std::vector<ChangedObject> changed;    // Not on the target yet.
  std::vector<ChangedObject> different;  // On the target, where it may have its old form.
  std::vector<ChangedObject> renamed;    // Indexes and constraints that stand there under their old names.
};

// `dumped`: with the names that the target's tables have. `there`: what stands on the target.
ObjectDifference CompareObjects(const std::vector<SchemaObject>& recorded,
                                const std::vector<SchemaObject>& dumped, const ObjectCatalog& there);

// Takes out indexes of partitions for which the target has another one, under another name, as a part of the
// same index of the partitioned table: whoever made the partition by hand has made that, too.
void EraseAttachedOtherwise(const ObjectCatalog& there, std::vector<SchemaObject>& dumped);

// The statement that takes the object away; empty for a kind that has none.
std::string DropOf(const SchemaObject& object);

// The comments of an object's statements; empty where there are none.
std::string CommentsOf(const std::string& sql);

// The statement alone, without what pg_dump puts behind it.
std::string FirstStatement(const std::string& sql);

}  // namespace walferry
