// What a migration records of a relation of its source, and what a choice of tables looks at.
#pragma once

#include <string>

#include "apply/state.h"
#include "tools/source_catalog.h"
#include "tools/table_filter.h"

namespace walferry {

// "schema"."name", for statements.
std::string Quoted(const TableName& name);
// What puts the relation into the stream: its own or its ancestor's rows of the publications, as text.
std::string MembershipOf(const SourceCatalog& source, const SourceRelation& relation);
// The table as it is recorded when the migration meets it.
TableRecord RecordOf(const SourceCatalog& source, const SourceRelation& relation);
// The record of a table that is gone, under a name that makes room for another one. It stays, because what
// the stream still has of the table is left out by it.
TableRecord SetAside(TableRecord gone);
// Of a choice from the migration's tables: with the names of its ancestors.
SourceTable TableOf(const SourceCatalog& source, const SourceRelation& relation);

}  // namespace walferry
