// Checks of the source as a server: version, WAL, slots, what is running on it.
#include <array>
#include <map>

#include "absl/time/clock.h"
#include "stream/slot.h"
#include "stream/synchronous_standby.h"
#include "tools/check_context.h"
#include "tools/quantity.h"

namespace walferry {
namespace {

std::string Version(int number) {
  if (number < 100000) return absl::StrFormat("%d.%d", number / 10000, number / 100 % 100);
  return absl::StrFormat("%d.%d", number / 10000, number % 10000);
}

absl::Status CheckVersion(CheckContext& context, CheckRun& check) {
  const int version = context.source.server_version();
  const std::string found =
      absl::StrFormat("PostgreSQL %s, %s", Version(version), ProviderName(context.source_provider));
  if (version < 100000) {
    check.Block(found + ": logical replication with pgoutput begins with version 10",
                "upgrade the source first");
  } else {
    check.Pass(found);
  }
  return absl::OkStatus();
}

absl::Status CheckPrimary(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result row, context.source.Execute("SELECT pg_catalog.pg_is_in_recovery()"));
  if (!row.GetBool(0, 0)) {
    check.Pass("the source is a primary");
  } else {
    check.Block(
        "the source is a standby: publications cannot be made on it",
        "connect to the primary (target_session_attrs=read-write with several hosts in the conninfo)");
  }
  return absl::OkStatus();
}

absl::Status CheckWalLevel(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result row, context.source.Execute("SHOW wal_level"));
  const std::string level(row.Get(0, 0));
  if (level == "logical") {
    check.Pass("wal_level is logical");
  } else {
    check.Block(
        "wal_level is " + level + "; decoding needs logical, and a change takes a restart of the server",
        WalLevelFix(context.source_provider));
  }
  return absl::OkStatus();
}

absl::Status CheckReplicationPrivilege(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result row, context.source.Execute(R"(
SELECT r.rolsuper, r.rolreplication,
       EXISTS (SELECT FROM pg_catalog.pg_roles g
               WHERE g.rolname = 'rds_replication' AND pg_catalog.pg_has_role(r.oid, g.oid, 'member'))
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)"));
  const std::string user = context.source.user();
  if (row.GetBool(0, 0) || row.GetBool(0, 1) || row.GetBool(0, 2)) {
    check.Pass(absl::StrFormat("%s may replicate (%s)", user,
                               row.GetBool(0, 0)   ? "superuser"
                               : row.GetBool(0, 1) ? "REPLICATION"
                                                   : "rds_replication"));
  } else {
    check.Block(user + " may not open replication connections: the role has no REPLICATION attribute",
                ReplicationPrivilegeFix(context.source_provider, user));
  }
  return absl::OkStatus();
}

absl::Status CheckReplicationConnection(CheckContext& context, CheckRun& check) {
  ConnectOptions options;
  options.conninfo = context.options.source;
  options.application_name = kCheckApplicationName;
  options.replication = true;
  options.stop = &context.stop;
  absl::StatusOr<Connection> connection = Connection::Open(options);
  absl::Status status = connection.status();
  if (status.ok()) {
    const absl::StatusOr<SystemIdentity> identity = IdentifySystem(*connection);
    if (identity.ok()) {
      check.Pass(absl::StrFormat("IDENTIFY_SYSTEM answers: system %s, timeline %d", identity->system_id,
                                 identity->timeline));
      return EndSession(*std::move(connection), context.source);
    }
    status = identity.status();
  }
  const std::string sqlstate = SqlstateOf(status);
  std::string fix =
      DirectEndpointFix(context.source_provider) + "; a pooler or proxy does not pass replication on";
  if (sqlstate == "42501") fix = ReplicationPrivilegeFix(context.source_provider, context.source.user());
  if (sqlstate == "53300") fix = RestartParameterFix(context.source_provider, "max_wal_senders", "20");
  if (sqlstate == "28000")
    fix = "allow the user and database in pg_hba.conf: logical replication needs an ordinary entry";
  check.Block(absl::StrFormat("refused: %s", MessageOf(status)), fix);
  return absl::OkStatus();
}

absl::Status CheckPooler(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const std::string pooler,
                      FindTransactionPooler(context.source, context.options.source, context.stop));
  if (pooler.empty()) {
    check.Pass("sessions are sessions of the server");
  } else {
    check.Block(pooler, DirectEndpointFix(context.source_provider));
  }
  return absl::OkStatus();
}

// A limit, and how much of it is in use: `wanted` must be free, and one more for another snapshot, when the
// copy is resumed or verify looks.
absl::Status CheckFree(CheckContext& context, CheckRun& check, const std::string& sql,
                       const std::string& parameter, std::int64_t wanted) {
  WF_ASSIGN_OR_RETURN(const Result row, context.source.Execute(sql));
  const std::int64_t limit = row.GetInt(0, 0);
  const std::int64_t used = row.GetInt(0, 1);
  const std::string evidence = absl::StrFormat("%d of %d in use (%s)", used, limit, parameter);
  // A migration that has begun holds its own already.
  const std::int64_t needed = context.migration ? 0 : wanted;
  if (limit - used > needed) {
    check.Pass(evidence);
  } else if (limit - used == needed) {
    check.Warn(evidence + ": none is left for another snapshot, when the copy has to be resumed",
               RestartParameterFix(context.source_provider, parameter, std::to_string(used + wanted + 5)));
  } else {
    check.Block(
        absl::StrFormat("%s; walferry needs %d free", evidence, needed),
        "drop what is not used any more, or " +
            RestartParameterFix(context.source_provider, parameter, std::to_string(used + wanted + 5)));
  }
  return absl::OkStatus();
}

absl::Status CheckFreeSlots(CheckContext& context, CheckRun& check) {
  return CheckFree(context, check,
                   "SELECT pg_catalog.current_setting('max_replication_slots'), pg_catalog.count(*) "
                   "FROM pg_catalog.pg_replication_slots",
                   "max_replication_slots", 1);
}

absl::Status CheckFreeSenders(CheckContext& context, CheckRun& check) {
  // One that streams, and one that exports a snapshot. Other users' senders are visible as rows, not in
  // detail.
  return CheckFree(context, check,
                   "SELECT pg_catalog.current_setting('max_wal_senders'), pg_catalog.count(*) "
                   "FROM pg_catalog.pg_stat_replication",
                   "max_wal_senders", 2);
}

absl::Status CheckSlotRetention(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size')"));
  // Megabytes; the parameter is of version 13.
  const std::int64_t megabytes = rows.rows() == 0 ? -1 : rows.GetInt(0, 0);
  if (megabytes < 0) {
    check.Pass("no limit: the slot keeps WAL as long as it must (watch the disk)");
    return absl::OkStatus();
  }
  const std::string limit = FormatBytes(static_cast<double>(megabytes) * 1048576);
  check.Warn("max_slot_wal_keep_size is " + limit +
                 ": when more WAL than that is written while the target is behind, the slot is lost and the "
                 "copy has "
                 "to begin anew",
             "raise it above the WAL that is written during the copy, or ALTER SYSTEM SET "
             "max_slot_wal_keep_size = -1 "
             "with SELECT pg_reload_conf() while migrating");
  return absl::OkStatus();
}

absl::Status CheckOtherSlots(CheckContext& context, CheckRun& check) {
  const bool has_status = context.source.server_version() >= 130000;
  // wal_proposer_slot is Neon's own.
  const std::string sql = absl::StrFormat(
      "SELECT slot_name, %s, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), "
      "restart_lsn)::bigint "
      "FROM pg_catalog.pg_replication_slots "
      "WHERE NOT active AND NOT temporary AND slot_name NOT IN (%s, 'wal_proposer_slot') ORDER BY slot_name",
      has_status ? "coalesce(wal_status, '')" : "''", QuoteLiteral(context.options.name));
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(sql));
  std::vector<std::string> slots;
  for (int i = 0; i < rows.rows(); ++i) {
    slots.push_back(absl::StrFormat("%s (%s%s of WAL retained)", rows.Get(i, 0),
                                    rows.Get(i, 1) == "lost" ? "lost, " : "",
                                    FormatBytes(static_cast<double>(rows.GetInt(i, 2)))));
  }
  if (slots.empty()) {
    check.Pass("no inactive replication slots");
  } else {
    check.Warn("nobody reads these slots, and they keep WAL: " + ListSome(slots),
               "for each that is not needed any more: SELECT pg_drop_replication_slot('NAME')");
  }
  return absl::OkStatus();
}

absl::Status CheckNames(CheckContext& context, CheckRun& check) {
  const std::string& name = context.options.name;
  WF_ASSIGN_OR_RETURN(const Result row, context.source.Execute(R"(
SELECT EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1),
       EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1),
       (SELECT coalesce('database ' || database, 'a standby') FROM pg_catalog.pg_replication_slots
        WHERE slot_name = $1 AND database IS DISTINCT FROM pg_catalog.current_database()))",
                                                               {name}));
  const bool slot = row.GetBool(0, 0);
  const bool publication = row.GetBool(0, 1);
  if (!row.IsNull(0, 2)) {
    check.Block(
        absl::StrFormat("a slot with the name \"%s\" exists for %s of the same server", name, row.Get(0, 2)),
        "give another --name");
    return absl::OkStatus();
  }
  if (!slot && !publication) {
    check.Pass(absl::StrFormat("the names of slot and publication, \"%s\", are free", name));
    return absl::OkStatus();
  }
  if (context.migration && context.migration->slot == name) {
    WF_ASSIGN_OR_RETURN(const std::optional<SlotInfo> own, InspectSlot(context.source, name));
    if (own && own->wal_status == "lost") {
      check.Block(absl::StrFormat(
                      "the source has dropped WAL that slot \"%s\" needed (wal_status is lost): changes are "
                      "missing, and this migration cannot go on",
                      name),
                  "walferry cleanup --yes, raise max_slot_wal_keep_size, and begin anew");
      return absl::OkStatus();
    }
    check.Pass(absl::StrFormat("slot and publication \"%s\" are this migration's own", name));
    return absl::OkStatus();
  }
  const std::string taken = slot && publication ? "a slot and a publication"
                            : slot              ? "a slot"
                                                : "a publication";
  check.Block(
      absl::StrFormat("%s with the name \"%s\" exists already, and no migration on the target knows of it",
                      taken, name),
      "give another --name, or, when they are left over: " +
          std::string(slot ? "SELECT pg_drop_replication_slot(" + QuoteLiteral(name) + "); " : "") +
          std::string(publication ? "DROP PUBLICATION " + QuoteIdentifier(name) : ""));
  return absl::OkStatus();
}

// Transactions whose age is not shown, by pid and xid: those of other roles, for whoever is no member of
// pg_read_all_stats.
absl::StatusOr<std::map<std::string, std::string>> ListAgelessTransactions(Connection& source) {
  WF_ASSIGN_OR_RETURN(const Result rows, source.Execute(R"sql(
SELECT pid || ' ' || backend_xid::text, pg_catalog.format('pid %s in database %s', pid, coalesce(datname, '-'))
FROM pg_catalog.pg_stat_activity
WHERE backend_xid IS NOT NULL AND xact_start IS NULL AND usesysid IS NOT NULL)sql"));
  std::map<std::string, std::string> transactions;
  for (int i = 0; i < rows.rows(); ++i) {
    transactions.emplace(std::string(rows.Get(i, 0)), std::string(rows.Get(i, 1)));
  }
  return transactions;
}

// What is open all through a moment is not one of an application's short ones.
absl::Status AppendLastingAgeless(Connection& source, std::vector<std::string>& transactions) {
  WF_ASSIGN_OR_RETURN(const auto before, ListAgelessTransactions(source));
  if (before.empty()) return absl::OkStatus();
  absl::SleepFor(absl::Seconds(1));
  WF_ASSIGN_OR_RETURN(const auto after, ListAgelessTransactions(source));
  for (const auto& [identity, text] : before) {
    if (after.contains(identity)) transactions.push_back(text + " for a time that pg_read_all_stats shows");
  }
  return absl::OkStatus();
}

absl::Status CheckOpenTransactions(CheckContext& context, CheckRun& check) {
  // The slot waits for every transaction with an xid, in whatever database (the manual of
  // CREATE_REPLICATION_SLOT).
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT pid, coalesce(datname, '-'), extract(epoch FROM pg_catalog.now() - xact_start)::bigint
FROM pg_catalog.pg_stat_activity
WHERE backend_xid IS NOT NULL AND xact_start < pg_catalog.now() - interval '1 minute' ORDER BY xact_start)"));
  std::vector<std::string> transactions;
  for (int i = 0; i < rows.rows(); ++i) {
    transactions.push_back(absl::StrFormat("pid %s in database %s for %s", rows.Get(i, 0), rows.Get(i, 1),
                                           FormatTimeSpan(absl::Seconds(rows.GetInt(i, 2)))));
  }
  WF_RETURN_IF_ERROR(AppendLastingAgeless(context.source, transactions));
  if (transactions.empty()) {
    check.Pass("no writing transaction is older than a minute");
    return absl::OkStatus();
  }
  check.Warn("making the slot waits for the end of these writing transactions: " + ListSome(transactions),
             "let them end, or SELECT pg_terminate_backend(PID)");
  return absl::OkStatus();
}

absl::Status CheckPreparedTransactions(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result rows, context.source.Execute(R"(
SELECT gid, database, extract(epoch FROM pg_catalog.now() - prepared)::bigint
FROM pg_catalog.pg_prepared_xacts ORDER BY prepared)"));
  std::vector<std::string> transactions;
  for (int i = 0; i < rows.rows(); ++i) {
    transactions.push_back(absl::StrFormat("%s in %s for %s", rows.Get(i, 0), rows.Get(i, 1),
                                           FormatTimeSpan(absl::Seconds(rows.GetInt(i, 2)))));
  }
  if (transactions.empty()) {
    check.Pass("no prepared transactions");
  } else {
    check.Warn("making the slot waits for these prepared transactions: " + ListSome(transactions),
               "COMMIT PREPARED or ROLLBACK PREPARED in their databases");
  }
  return absl::OkStatus();
}

absl::Status CheckXidAge(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result row, context.source.Execute(R"(
SELECT pg_catalog.age(datfrozenxid) FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"));
  const double used = static_cast<double>(row.GetInt(0, 0)) / 2147483648.0;
  const std::string evidence = absl::StrFormat("%.0f %% of the transaction ids are used", 100 * used);
  const std::string fix = "VACUUM (FREEZE) the oldest tables first: the copy's snapshot holds vacuum back";
  if (used > 0.95) {
    check.Block(evidence, fix);
  } else if (used > 0.75) {
    check.Warn(evidence, fix);
  } else {
    check.Pass(evidence);
  }
  return absl::OkStatus();
}

absl::Status CheckSenderTimeout(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const Result row, context.source.Execute(R"(
SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout')"));
  const std::int64_t milliseconds = row.GetInt(0, 0);
  if (milliseconds == 0 || milliseconds >= 10000) {
    check.Pass(milliseconds == 0
                   ? "no wal_sender_timeout"
                   : "wal_sender_timeout is " + FormatTimeSpan(absl::Milliseconds(milliseconds)));
  } else {
    check.Warn("wal_sender_timeout is " + FormatTimeSpan(absl::Milliseconds(milliseconds)) +
                   ": a short disturbance of the network ends the stream",
               "set it to 60s while migrating");
  }
  return absl::OkStatus();
}

// The application name that the stream will have, as conninfo and environment leave it.
absl::StatusOr<std::string> StreamName(CheckContext& context) {
  WF_ASSIGN_OR_RETURN(std::string name, ApplicationNameInForce(context.source));
  return name == kCheckApplicationName ? "walferry " + context.options.name : name;
}

absl::Status CheckSynchronousStandby(CheckContext& context, CheckRun& check) {
  WF_ASSIGN_OR_RETURN(const std::string name, StreamName(context));
  const absl::Status not_one = CheckNotSynchronousStandby(context.source, name);
  if (not_one.ok()) {
    check.Pass("the source's commits do not wait for walferry (synchronous_standby_names)");
  } else if (!SqlstateOf(not_one).empty() || !absl::IsFailedPrecondition(not_one)) {
    return not_one;
  } else {
    check.Block(
        std::string(MessageOf(not_one)),
        "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (the real standbys, one by one)'; SELECT "
        "pg_reload_conf()");
  }
  return absl::OkStatus();
}

// State, snapshot's exporter, pg_dump, one worker of the copy; by default there are more workers.
absl::Status CheckConnections(CheckContext& context, CheckRun& check) {
  constexpr std::int64_t kNeeded = 3;
  constexpr std::int64_t kWanted = 8;
  WF_ASSIGN_OR_RETURN(const SessionRoom room, FindSessionRoom(context.source));
  const std::string evidence = absl::StrFormat("%d connections are free (%s)", room.free, room.limit);
  const std::string fix = "raise the limit or end other sessions, or take fewer --copy-jobs";
  if (room.free < kNeeded && !context.migration) {
    check.Block(evidence + absl::StrFormat("; walferry needs %d at least, and the application some", kNeeded),
                fix);
  } else if (room.free < kWanted) {
    check.Warn(evidence + absl::StrFormat("; walferry uses up to %d by default", kWanted), fix);
  } else {
    check.Pass(evidence);
  }
  return absl::OkStatus();
}

constexpr std::array kChecks = {
    CheckDefinition{"source-version", CheckSide::kSource, "version", CheckVersion},
    CheckDefinition{"source-primary", CheckSide::kSource, "primary", CheckPrimary, CheckNeed::kStream},
    CheckDefinition{"wal-level", CheckSide::kSource, "WAL level", CheckWalLevel, CheckNeed::kStream},
    CheckDefinition{"replication-privilege", CheckSide::kSource, "right to replicate",
                    CheckReplicationPrivilege, CheckNeed::kStream},
    CheckDefinition{"replication-connection", CheckSide::kSource, "replication connection",
                    CheckReplicationConnection, CheckNeed::kStream},
    CheckDefinition{"source-pooler", CheckSide::kSource, "direct connection", CheckPooler},
    CheckDefinition{"synchronous-standby", CheckSide::kSource, "synchronous standbys",
                    CheckSynchronousStandby, CheckNeed::kStream},
    CheckDefinition{"source-connections", CheckSide::kSource, "connections", CheckConnections},
    CheckDefinition{"slots-free", CheckSide::kSource, "replication slots", CheckFreeSlots,
                    CheckNeed::kStream},
    CheckDefinition{"senders-free", CheckSide::kSource, "WAL senders", CheckFreeSenders, CheckNeed::kStream},
    CheckDefinition{"slot-retention", CheckSide::kSource, "WAL kept for slots", CheckSlotRetention,
                    CheckNeed::kStream},
    CheckDefinition{"slots-inactive", CheckSide::kSource, "other slots", CheckOtherSlots, CheckNeed::kStream},
    CheckDefinition{"names-taken", CheckSide::kSource, "name of the migration", CheckNames,
                    CheckNeed::kStream},
    CheckDefinition{"open-transactions", CheckSide::kSource, "open transactions", CheckOpenTransactions,
                    CheckNeed::kStream},
    CheckDefinition{"prepared-transactions", CheckSide::kSource, "prepared transactions",
                    CheckPreparedTransactions, CheckNeed::kStream},
    CheckDefinition{"xid-age", CheckSide::kSource, "transaction ids", CheckXidAge},
    CheckDefinition{"sender-timeout", CheckSide::kSource, "WAL sender timeout", CheckSenderTimeout,
                    CheckNeed::kStream},
};

}  // namespace

std::span<const CheckDefinition> SourceServerChecks() {
  return kChecks;
}

}  // namespace walferry
