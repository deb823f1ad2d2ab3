// Checks of the target as a server, and of what must be equal on both.
#include <array>

#include "tools/check_context.h"

namespace walferry {
namespace {

int Major(int version) {
  return version / 10000;
}

absl::Status CheckVersion(CheckContext& context, CheckRun& check) {
  const int source = Major(context.source.server_version());
  const int target = Major(context.target->server_version());
  const std::string found =
      absl::StrFormat("PostgreSQL %d, %s", target, ProviderName(context.target_provider));
  if (target < 10) {
    check.Block(found + ": walferry needs version 10 or newer", "upgrade the target first");
  } else if (target < source) {
    check.Warn(absl::StrFormat(
                   "%s: older than the source's %d; what the schema uses of the newer version is missing",
                   found, source),
               absl::StrFormat("take a target of version %d or newer", source));
  } else {
    check.Pass(found);
  }
  return absl::OkStatus();
}

absl::Status CheckWritable(CheckContext& context, CheckRun& check) {
  // This session is read-only itself, so the value that new sessions get is what counts.
  WF_ASSIGN_OR_RETURN(const Result row, context.target->Execute(R"(
SELECT pg_catalog.pg_is_in_recovery(),
       (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'))"));
  if (row.GetBool(0, 0)) {
    check.Block("the target is a standby", "connect to the primary (target_session_attrs=read-write)");
  } else if (row.Get(0, 1) == "on") {
    check.Block(
        "the target is read-only (default_transaction_read_only is on)",
        "ALTER DATABASE … or ALTER ROLE … RESET default_transaction_read_only; a full disk may be the cause");
  } else {
    check.Pass("a primary that takes writes");
  }
  return absl::OkStatus();
}

bool LooksLikePooler(const Connection& target) {
  return target.port() == "6432" || target.host().find("pooler") != std::string::npos;
}

absl::Status CheckPooler(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const std::string pooler,
                      FindTransactionPooler(*context.target, context.options.target, context.stop));
  const std::string fix = DirectEndpointFix(context.target_provider);
  if (!pooler.empty()) {
    check.Block(pooler, fix);
  } else if (LooksLikePooler(*context.target)) {
    check.Warn(absl::StrFormat("%s port %s looks like a connection pooler", context.target->host(),
                               context.target->port()),
               fix);
  } else {
    check.Pass("sessions are sessions of the server");
  }
  return absl::OkStatus();
}

absl::Status CheckTls(CheckContext& context, CheckRun& check) {
  if (context.target->is_loopback()) {
    check.Pass("the target is on this machine");
  } else if (context.target->has_verified_tls()) {
    check.Pass("TLS with a verified certificate");
  } else if (context.options.allow_insecure_target) {
    check.Warn("no verified TLS to the target, accepted by --allow-insecure-target",
               VerifiedTlsFix(context.target_provider));
  } else {
    check.Block("no verified TLS to the target: anybody on the way could read or change the data",
                VerifiedTlsFix(context.target_provider));
  }
  return absl::OkStatus();
}

absl::Status CheckCreatePrivilege(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result row, context.target->Execute(R"(
SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'))"));
  if (row.GetBool(0, 0) || context.migration) {
    check.Pass("the user may create schemas");
  } else {
    check.Block("the user may not create schema walferry, where the migration keeps its state",
                "GRANT CREATE ON DATABASE " + QuoteIdentifier(context.target->database()) + " TO " +
                    QuoteIdentifier(context.target->user()));
  }
  return absl::OkStatus();
}

// Triggers and foreign keys of the chosen tables, as far as they are on the target already, that would fire.
absl::StatusOr<std::int64_t> CountFiring(CheckContext& context) {
  const std::string names = ChosenNames(context);
  WF_ASSIGN_OR_RETURN(const Result row, context.target->Execute(R"(
SELECT pg_catalog.count(*)
FROM pg_catalog.json_array_elements($1::json) chosen
JOIN pg_catalog.pg_namespace n ON n.nspname = chosen ->> 0
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = chosen ->> 1
JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND t.tgenabled IN ('O', 'A'))",
                                                                {names}));
  return row.GetInt(0, 0);
}

absl::Status CheckReplicaRole(CheckContext& context, CheckRun& check) {
  const absl::StatusOr<Result> set =
      context.target->Execute("BEGIN; SET LOCAL session_replication_role = replica; ROLLBACK");
  if (set.ok()) {
    check.Pass("session_replication_role may be set: triggers and foreign keys stay quiet");
    return absl::OkStatus();
  }
  WF_RETURN_IF_ERROR(context.target->Execute("ROLLBACK").status());
  WF_ASSIGN_OR_RETURN(const std::int64_t firing, CountFiring(context));
  const std::string fix =
      ReplicaRoleFix(context.target_provider, context.target->user(), context.target->server_version());
  if (firing == 0) {
    check.Warn(
        "session_replication_role may not be set; no trigger or foreign key is there yet that could fire, "
        "and "
        "until cutover none may come",
        fix);
  } else {
    check.Block(absl::StrFormat(
                    "session_replication_role may not be set, and %d triggers (foreign keys are triggers, "
                    "too) of the tables would fire on every change",
                    firing),
                fix);
  }
  return absl::OkStatus();
}

absl::Status CheckExtensions(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result source, context.source.Execute(R"(
SELECT coalesce(pg_catalog.json_agg(extname), '[]') FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql')"));
  // Comparing version numbers as text would be wrong; what can be told is whether it is there and the same.
  WF_ASSIGN_OR_RETURN(const Result missing, context.target->Execute(R"(
SELECT wanted, a.name IS NOT NULL
FROM pg_catalog.json_array_elements_text($1::json) wanted
LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = wanted
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = wanted) ORDER BY 1)",
                                                                    {source.Get(0, 0)}));
  std::vector<std::string> unavailable;
  std::vector<std::string> not_created;
  for (int i = 0; i < missing.rows(); ++i) {
    (missing.GetBool(i, 1) ? not_created : unavailable).emplace_back(missing.Get(i, 0));
  }
  if (!unavailable.empty()) {
    check.Block("the source uses extensions that the target does not offer: " + ListSome(unavailable, 10),
                "install them on the target (or enable them with its provider), or drop them on the source");
  } else if (!not_created.empty() && !context.options.copy_schema) {
    check.Warn("not created on the target: " + ListSome(not_created, 10), "CREATE EXTENSION there");
  } else {
    check.Pass(not_created.empty() ? "the target has all of them" : "the target offers all of them");
  }
  return absl::OkStatus();
}

absl::Status CheckExtensionVersions(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result source, context.source.Execute(R"(
SELECT coalesce(pg_catalog.json_object_agg(extname, extversion), '{}') FROM pg_catalog.pg_extension)"));
  WF_ASSIGN_OR_RETURN(const Result different, context.target->Execute(R"(
SELECT w.key || ' ' || w.value || ' on the source, ' || e.extversion || ' here'
FROM pg_catalog.json_each_text($1::json) w JOIN pg_catalog.pg_extension e ON e.extname = w.key
WHERE e.extversion <> w.value AND w.key <> 'plpgsql' ORDER BY 1)",
                                                                      {source.Get(0, 0)}));
  std::vector<std::string> differences;
  for (int i = 0; i < different.rows(); ++i) differences.emplace_back(different.Get(i, 0));
  if (differences.empty()) {
    check.Pass("the same, as far as they are there");
  } else {
    check.Warn(ListSome(differences), "ALTER EXTENSION … UPDATE on the older side");
  }
  return absl::OkStatus();
}

absl::Status CheckEncoding(CheckContext& context, CheckRun& check) {
  const std::string source = context.source.ReportedParameter("server_encoding");
  const std::string target = context.target->ReportedParameter("server_encoding");
  if (source == target) {
    check.Pass("both " + source);
  } else if (target == "UTF8" && source != "SQL_ASCII") {
    check.Warn(absl::StrFormat("the source is %s, the target %s: text is converted", source, target),
               "nothing to do where every byte of the source is valid in its encoding");
  } else {
    check.Block(absl::StrFormat("the source is %s, the target %s: not every text can be stored there", source,
                                target),
                "CREATE DATABASE … TEMPLATE template0 ENCODING " + QuoteLiteral(source) + " on the target");
  }
  return absl::OkStatus();
}

absl::Status CheckCollation(CheckContext& context, CheckRun& check) {
  constexpr const char* kSql =
      "SELECT datcollate, datctype FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";
  WF_ASSIGN_OR_RETURN(const Result source, context.source.Execute(kSql));
  WF_ASSIGN_OR_RETURN(const Result target, context.target->Execute(kSql));
  if (source.Get(0, 0) == target.Get(0, 0) && source.Get(0, 1) == target.Get(0, 1)) {
    check.Pass("both " + std::string(source.Get(0, 0)));
  } else {
    check.Warn(absl::StrFormat(
                   "the source's default collation is %s/%s, the target's %s/%s: text sorts differently, "
                   "and what is unique stays unique",
                   source.Get(0, 0), source.Get(0, 1), target.Get(0, 0), target.Get(0, 1)),
               absl::StrFormat(
                   "CREATE DATABASE … TEMPLATE template0 LC_COLLATE %s LC_CTYPE %s on the target, if the "
                   "order matters to the application",
                   QuoteLiteral(source.Get(0, 0)), QuoteLiteral(source.Get(0, 1))));
  }
  return absl::OkStatus();
}

// Lane, flush point, state, lock, one worker of copy or index, and a reserve; by default there are more.
absl::Status CheckConnections(CheckContext& context, CheckRun& check) {
  constexpr std::int64_t kNeeded = 5;
  constexpr std::int64_t kWanted = 10;
  WF_ASSIGN_OR_RETURN(const SessionRoom room, FindSessionRoom(*context.target));
  const std::string evidence = absl::StrFormat("%d connections are free (%s)", room.free, room.limit);
  const std::string fix =
      "raise the limit or end other sessions, or take fewer --copy-jobs, --index-jobs and --lanes";
  if (room.free < kNeeded && !context.migration) {
    check.Block(evidence + absl::StrFormat("; walferry needs %d at least", kNeeded), fix);
  } else if (room.free < kWanted) {
    check.Warn(evidence + absl::StrFormat("; walferry uses up to %d by default", kWanted), fix);
  } else {
    check.Pass(evidence);
  }
  return absl::OkStatus();
}

// What one unit of money is as a stored number, by the lc_monetary of the database's own sessions: 100 where
// amounts have two digits behind the point, 1 for yen.
absl::StatusOr<std::int64_t> MoneyUnit(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result row, connection.Execute(R"sql(
SET LOCAL lc_monetary TO DEFAULT;
SELECT ('x' || pg_catalog.encode(pg_catalog.cash_send(1::numeric::money), 'hex'))::bit(64)::bigint)sql"));
  return row.GetInt(0, 0);
}

// The stored number travels: with other digits on the target it would be another amount.
absl::Status CheckMoney(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result columns, context.source.Execute(R"sql(
SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
  AND (t.oid IN (790, 791) OR t.typbasetype IN (790, 791)))sql",
                                                                   {ChosenOids(context)}));
  if (columns.GetInt(0, 0) == 0) {
    check.Pass("no column of type money");
    return absl::OkStatus();
  }
  WF_ASSIGN_OR_RETURN(const std::int64_t source, MoneyUnit(context.source));
  WF_ASSIGN_OR_RETURN(const std::int64_t target, MoneyUnit(*context.target));
  if (source == target) {
    check.Pass("amounts of money have the same digits on both sides");
  } else {
    check.Block(
        absl::StrFormat("one unit of money is %d on the source and %d on the target (lc_monetary): amounts "
                        "would be others there",
                        source, target),
        "ALTER DATABASE " + QuoteIdentifier(context.target->database()) +
            " SET lc_monetary on the target to what the source has");
  }
  return absl::OkStatus();
}

constexpr std::array kChecks = {
    CheckDefinition{"target-version", CheckSide::kTarget, "version", CheckVersion},
    CheckDefinition{"target-writable", CheckSide::kTarget, "writable", CheckWritable},
    CheckDefinition{"target-pooler", CheckSide::kTarget, "direct connection", CheckPooler},
    CheckDefinition{"target-tls", CheckSide::kTarget, "TLS", CheckTls},
    CheckDefinition{"target-connections", CheckSide::kTarget, "connections", CheckConnections},
    CheckDefinition{"create-privilege", CheckSide::kTarget, "right to create", CheckCreatePrivilege},
    CheckDefinition{"replica-role", CheckSide::kTarget, "session_replication_role", CheckReplicaRole},
    CheckDefinition{"extensions", CheckSide::kBoth, "extensions", CheckExtensions},
    CheckDefinition{"extension-versions", CheckSide::kBoth, "versions of extensions", CheckExtensionVersions},
    CheckDefinition{"encoding", CheckSide::kBoth, "encoding", CheckEncoding},
    CheckDefinition{"money", CheckSide::kBoth, "money", CheckMoney},
    CheckDefinition{"collation", CheckSide::kBoth, "collation", CheckCollation},
};

}  // namespace

std::span<const CheckDefinition> TargetServerChecks() {
  return kChecks;
}

}  // namespace walferry
