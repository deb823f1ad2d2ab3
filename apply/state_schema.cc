// The tables and the guard of schema walferry. Tested by tests/apply/state_test.cc.
#include "apply/state.h"
#include "stream/event_triggers.h"

namespace walferry {
namespace {

// Stands in the comment of walferry.migration, so that another version of walferry can tell whose state it
// found.
constexpr std::string_view kStateFormat = "walferry state, format 4";

// Serializes creation and removal of the schema between processes, for the length of a transaction.
#define WF_LOCK_STATE_SCHEMA "pg_catalog.pg_advisory_xact_lock(2002871924, 1)"

// One message of the simple protocol: an implicit transaction, undone as a whole by an error. CREATE SCHEMA
// IF NOT EXISTS would demand CREATE on the database also where an administrator made the schema beforehand.
// lane and migration are updated several times a second: room in the page keeps those updates out of the
// indexes.
constexpr char kCreateState[] = R"sql(
SELECT )sql" WF_LOCK_STATE_SCHEMA R"sql(;
DO $do$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'walferry') THEN
    CREATE SCHEMA walferry;
  END IF;
END $do$;
CREATE TABLE IF NOT EXISTS walferry.migration (
  name text PRIMARY KEY,
  phase text NOT NULL,
  system_id text NOT NULL,
  timeline bigint NOT NULL,
  source_database text NOT NULL,
  slot text NOT NULL,
  publication text NOT NULL,
  owns_slot boolean NOT NULL,
  owns_publication boolean NOT NULL,
  copies_schema boolean NOT NULL,
  choice text NOT NULL,
  publication_catalog text NOT NULL,
  insert_publication text NOT NULL,
  lanes integer NOT NULL CHECK (lanes > 0),
  slot_lsn pg_lsn NOT NULL,
  confirmed pg_lsn NOT NULL,
  copy_lsn pg_lsn NOT NULL,
  stop_requested boolean NOT NULL DEFAULT false,
  heartbeat timestamptz,
  runtime text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS walferry.lane (
  migration text NOT NULL,
  lane integer NOT NULL,
  position pg_lsn NOT NULL,
  joined pg_lsn NOT NULL,
  epoch bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (migration, lane)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS walferry.dealing (
  migration text NOT NULL,
  source_oid oid NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  key text[] NOT NULL,
  wire text NOT NULL,
  PRIMARY KEY (migration, source_oid)
);
CREATE TABLE IF NOT EXISTS walferry.table_state (
  migration text NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  phase text NOT NULL DEFAULT 'waiting',
  position pg_lsn NOT NULL DEFAULT '0/0',
  source_oid oid NOT NULL DEFAULT 0,
  catalog text NOT NULL DEFAULT '',
  needs_copy text NOT NULL DEFAULT '',
  rows bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  ranges integer[] NOT NULL DEFAULT '{}',
  inserts bigint NOT NULL DEFAULT 0,
  updates bigint NOT NULL DEFAULT 0,
  deletes bigint NOT NULL DEFAULT 0,
  truncates bigint NOT NULL DEFAULT 0,
  missing_rows bigint NOT NULL DEFAULT 0,
  conflicts bigint NOT NULL DEFAULT 0,
  one_by_one bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (migration, schema_name, table_name)
) WITH (fillfactor = 70);
CREATE TABLE IF NOT EXISTS walferry.schema_object (
  migration text NOT NULL,
  id bigint NOT NULL,
  stage text NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  sql text NOT NULL,
  done boolean NOT NULL DEFAULT false,
  PRIMARY KEY (migration, id)
);
CREATE TABLE IF NOT EXISTS walferry.event (
  migration text NOT NULL,
  id bigserial,
  at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  kind text NOT NULL,
  detail text NOT NULL,
  PRIMARY KEY (migration, id)
);
CREATE OR REPLACE FUNCTION walferry.advance(
  p_migration text, p_lane integer, p_expected pg_lsn, p_new pg_lsn, p_epoch bigint)
RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
  v_actual pg_lsn;
BEGIN
  UPDATE walferry.lane SET position = p_new
  WHERE migration = p_migration AND lane = p_lane AND position = p_expected AND epoch = coalesce(p_epoch, epoch);
  IF NOT FOUND THEN
    SELECT l.position INTO v_actual FROM walferry.lane l WHERE l.migration = p_migration AND l.lane = p_lane;
    IF v_actual = p_expected THEN
      RAISE EXCEPTION 'lane % of migration "%" has been taken over by another connection', p_lane, p_migration
        USING ERRCODE = 'WF001', HINT = 'Another walferry applies this migration, too.';
    END IF;
    RAISE EXCEPTION 'lane % of migration "%" is at %, not at % as expected',
      p_lane, p_migration, coalesce(v_actual::text, 'no position'), p_expected
      USING ERRCODE = 'WF001', HINT = 'Another walferry applies this migration, too.';
  END IF;
END $function$;
CREATE OR REPLACE FUNCTION walferry.expect_table(p_schema text, p_name text, p_oid oid)
RETURNS void LANGUAGE plpgsql AS $function$
BEGIN
  IF pg_catalog.to_regclass(pg_catalog.format('%I.%I', p_schema, p_name)) IS DISTINCT FROM p_oid THEN
    RAISE EXCEPTION 'table %.% of the target is another one than before', p_schema, p_name
      USING ERRCODE = 'undefined_table';
  END IF;
END $function$;
COMMENT ON TABLE walferry.migration IS 'walferry state, format 4';
)sql";

// Objects one by one instead of DROP SCHEMA … CASCADE: what somebody else put there is not ours to drop.
constexpr char kDropStateIfUnused[] = R"sql(
DO $do$ BEGIN
  PERFORM )sql" WF_LOCK_STATE_SCHEMA R"sql(;
  LOCK TABLE walferry.migration IN ACCESS EXCLUSIVE MODE;
  IF EXISTS (SELECT FROM walferry.migration) THEN
    RETURN;
  END IF;
  DROP FUNCTION walferry.advance(text, integer, pg_lsn, pg_lsn, bigint);
  DROP FUNCTION walferry.expect_table(text, text, oid);
  DROP TABLE walferry.migration, walferry.lane, walferry.dealing, walferry.table_state,
    walferry.schema_object, walferry.event;
  BEGIN
    DROP SCHEMA walferry;
  EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
    NULL;
  END;
END $do$)sql";

absl::StatusOr<std::optional<std::string>> FoundFormat(Connection& target) {
  WF_ASSIGN_OR_RETURN(
      Result found,
      target.Execute("SELECT pg_catalog.obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c "
                     "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                     "WHERE n.nspname = 'walferry' AND c.relname = 'migration' AND c.relkind = 'r'"));
  if (found.rows() == 0) return std::nullopt;
  return std::string(found.Get(0, 0));
}

absl::Status CheckFormat(const std::string& found) {
  if (found == kStateFormat) return absl::OkStatus();
  return Errorf(
      absl::StatusCode::kFailedPrecondition,
      "schema walferry of the target holds \"%s\", this walferry writes \"%s\": continue with the version "
      "that began the migration, or run `walferry cleanup` with it first",
      found, kStateFormat);
}

// Event triggers of the target that refuse it are kept out, where that is allowed; ENABLE ALWAYS ones are
// named.
absl::Status CreateState(Connection& target) {
  const absl::Status created = target.Execute(kCreateState).status();
  if (created.ok() || !target.alive() || SqlstateOf(created) == "42501") return created;
  absl::Status again = created;
  if (target.Execute("SET session_replication_role = replica").ok()) {
    again = target.Execute(kCreateState).status();
    if (target.alive()) WF_RETURN_IF_ERROR(target.Execute("RESET session_replication_role").status());
  }
  return NameEventTriggers(target, again, "CREATE SCHEMA", "the target");
}

}  // namespace

absl::Status EnsureStateSchema(Connection& target) {
  WF_ASSIGN_OR_RETURN(std::optional<std::string> format, FoundFormat(target));
  if (format.has_value()) return CheckFormat(*format);
  absl::Status created = CreateState(target);
  if (SqlstateOf(created) == "42501") {
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "role %s may not keep walferry's state in database %s of the target (%s): run there, as the "
        "database's owner: GRANT CREATE ON DATABASE %s TO %s;",
        target.user(), target.database(), MessageOf(created), QuoteIdentifier(target.database()),
        QuoteIdentifier(target.user()));
  }
  return created;
}

absl::StatusOr<bool> StateSchemaExists(Connection& target) {
  WF_ASSIGN_OR_RETURN(std::optional<std::string> format, FoundFormat(target));
  if (!format.has_value()) return false;
  WF_RETURN_IF_ERROR(CheckFormat(*format));
  WF_ASSIGN_OR_RETURN(const Result readable,
                      target.Execute("SELECT pg_catalog.has_schema_privilege('walferry', 'USAGE') AND "
                                     "pg_catalog.has_table_privilege(c.oid, 'SELECT'), "
                                     "pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c "
                                     "WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace "
                                     "WHERE nspname = 'walferry') AND c.relname = 'migration'"));
  if (readable.rows() > 0 && !readable.GetBool(0, 0)) {
    return Errorf(
        absl::StatusCode::kFailedPrecondition,
        "schema walferry of the target belongs to role %s, and role %s may not read it: connect to the "
        "target as %s, or as a member of it",
        readable.Get(0, 1), target.user(), readable.Get(0, 1));
  }
  return true;
}

absl::Status DeleteMigration(Connection& target, const std::string& name) {
  WF_RETURN_IF_ERROR(target
                         .Execute("WITH a AS (DELETE FROM walferry.lane WHERE migration = $1), "
                                  "b AS (DELETE FROM walferry.dealing WHERE migration = $1), "
                                  "c AS (DELETE FROM walferry.table_state WHERE migration = $1), "
                                  "d AS (DELETE FROM walferry.schema_object WHERE migration = $1), "
                                  "e AS (DELETE FROM walferry.event WHERE migration = $1) "
                                  "DELETE FROM walferry.migration WHERE name = $1",
                                  {name})
                         .status());
  return target.Execute(kDropStateIfUnused).status();
}

}  // namespace walferry
