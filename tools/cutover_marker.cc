#include "tools/cutover_marker.h"

#include "tools/log.h"

namespace walferry {
namespace {

// Its commit is flushed whatever the source's default is, and with it all that was inserted before. No
// standby is waited for.
constexpr char kWriteMarker[] = R"sql(
BEGIN; SET LOCAL synchronous_commit = 'local';
SELECT pg_catalog.pg_logical_emit_message(true, 'walferry', 'cutover');
COMMIT)sql";

constexpr char kFlushed[] = "SELECT pg_catalog.pg_current_wal_flush_lsn()";

// It has another parameter since 17; the variant with a text is the one that is called.
constexpr char kForbidden[] = R"sql(
SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
WHERE p.proname = 'pg_logical_emit_message' AND p.pronamespace = 'pg_catalog'::regnamespace
  AND p.proargtypes[2] = 'pg_catalog.text'::regtype
  AND NOT pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))sql";

}  // namespace

absl::StatusOr<Lsn> WriteMarker(Connection& source) {
  const absl::Status written = source.Execute(kWriteMarker).status();
  if (!written.ok()) {
    if (source.alive()) (void)source.Execute("ROLLBACK");
    return Annotate(written, "cannot write the marker into the source's WAL");
  }
  WF_ASSIGN_OR_RETURN(const Result end, source.Execute(kFlushed));
  WF_ASSIGN_OR_RETURN(const Lsn marker, Lsn::Parse(end.Get(0, 0)));
  LogDebug("marker at %s", marker.ToString());
  return marker;
}

absl::StatusOr<std::string> MarkerFunctionWithoutExecute(Connection& source) {
  WF_ASSIGN_OR_RETURN(const Result forbidden, source.Execute(kForbidden));
  return forbidden.rows() == 0 ? std::string() : "pg_catalog." + std::string(forbidden.Get(0, 0));
}

}  // namespace walferry
