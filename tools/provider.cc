#include "tools/provider.h"

#include <array>

namespace walferry {
namespace {

constexpr const char* kFingerprintSql = R"(
SELECT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = 'aurora_version'),
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name LIKE 'rds.%')
         OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'rds_superuser'),
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name LIKE 'alloydb.%')
         OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'alloydbsuperuser'),
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name LIKE 'cloudsql.%')
         OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'cloudsqlsuperuser'),
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name LIKE 'azure.%')
         OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'azure_pg_admin'),
       EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'supabase_admin'),
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name LIKE 'neon.%')
         OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'neon_superuser'),
       EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'heroku_ext'),
       EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'pscale_admin')
         OR EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'pscale_extensions'))";

// In the order of the columns above.
constexpr std::array kFingerprints = {Provider::kAurora,   Provider::kRds,    Provider::kAlloyDb,
                                      Provider::kCloudSql, Provider::kAzure,  Provider::kSupabase,
                                      Provider::kNeon,     Provider::kHeroku, Provider::kPlanetScale};

}  // namespace

std::string_view ProviderName(Provider provider) {
  switch (provider) {
    case Provider::kSelfHosted:
      return "self-hosted PostgreSQL";
    case Provider::kRds:
      return "Amazon RDS";
    case Provider::kAurora:
      return "Amazon Aurora";
    case Provider::kCloudSql:
      return "Google Cloud SQL";
    case Provider::kAlloyDb:
      return "Google AlloyDB";
    case Provider::kAzure:
      return "Azure Database for PostgreSQL";
    case Provider::kSupabase:
      return "Supabase";
    case Provider::kNeon:
      return "Neon";
    case Provider::kHeroku:
      return "Heroku Postgres";
    case Provider::kCrunchyBridge:
      return "Crunchy Bridge";
    case Provider::kPlanetScale:
      return "PlanetScale";
  }
  return "";
}

Provider ProviderOfHost(std::string_view host) {
  struct Domain {
    std::string_view suffix;
    Provider provider;
  };
  constexpr std::array kDomains = {
      Domain{".psdb.cloud", Provider::kPlanetScale},
      Domain{".neon.tech", Provider::kNeon},
      Domain{".supabase.co", Provider::kSupabase},
      Domain{".supabase.com", Provider::kSupabase},
      Domain{".postgres.database.azure.com", Provider::kAzure},
      Domain{".postgresbridge.com", Provider::kCrunchyBridge},
  };
  for (const Domain& domain : kDomains) {
    if (host.ends_with(domain.suffix)) return domain.provider;
  }
  if (host.ends_with(".rds.amazonaws.com") || host.ends_with(".rds.amazonaws.com.cn")) {
    return host.find(".cluster-") == std::string_view::npos ? Provider::kRds : Provider::kAurora;
  }
  return Provider::kSelfHosted;
}

absl::StatusOr<Provider> DetectProvider(Connection& connection) {
  WF_ASSIGN_OR_RETURN(const Result marks, connection.Execute(kFingerprintSql));
  for (std::size_t i = 0; i < kFingerprints.size(); ++i) {
    if (marks.GetBool(0, static_cast<int>(i))) return kFingerprints[i];
  }
  return ProviderOfHost(connection.host());
}

std::string WalLevelFix(Provider provider) {
  switch (provider) {
    case Provider::kRds:
      return "set rds.logical_replication = 1 in the instance's parameter group and reboot the instance";
    case Provider::kAurora:
      return "set rds.logical_replication = 1 in the cluster's parameter group and reboot the writer";
    case Provider::kCloudSql:
      return "set the flag cloudsql.logical_decoding = on (gcloud sql instances patch INSTANCE "
             "--database-flags=…, "
             "naming all other flags again) and let the instance restart";
    case Provider::kAlloyDb:
      return "set the flag alloydb.logical_decoding = on for the primary instance and let it restart";
    case Provider::kAzure:
      return "set the server parameter wal_level to LOGICAL and restart the server";
    case Provider::kSupabase:
      return "Supabase has wal_level = logical by default: connect to the database's direct host, not to a "
             "replica";
    case Provider::kNeon:
      return "enable logical replication in the project's settings (it restarts the computes and cannot be "
             "undone)";
    case Provider::kHeroku:
      return "Heroku Postgres offers no logical replication: restore a backup elsewhere and migrate from "
             "there";
    case Provider::kPlanetScale:
      return "set wal_level = logical in the branch's cluster parameters and apply them (it restarts the "
             "branch)";
    case Provider::kCrunchyBridge:
    case Provider::kSelfHosted:
      return "ALTER SYSTEM SET wal_level = logical; then restart the server";
  }
  return "";
}

std::string ReplicationPrivilegeFix(Provider provider, std::string_view user) {
  const std::string role = QuoteIdentifier(user);
  switch (provider) {
    case Provider::kRds:
    case Provider::kAurora:
      return "GRANT rds_replication TO " + role;
    case Provider::kHeroku:
      return "Heroku Postgres gives the REPLICATION attribute to nobody";
    case Provider::kNeon:
      return "use a role that was created in Neon's console, by its CLI or API: those have REPLICATION";
    default:
      return "ALTER ROLE " + role + " REPLICATION";
  }
}

std::string RestartParameterFix(Provider provider, std::string_view name, std::string_view value) {
  const std::string setting = absl::StrFormat("%s = %s", name, value);
  switch (provider) {
    case Provider::kRds:
    case Provider::kAurora:
      return "set " + setting + " in the parameter group and reboot";
    case Provider::kCloudSql:
    case Provider::kAlloyDb:
      return "set the flag " + setting + " and let the instance restart";
    case Provider::kAzure:
      return "set the server parameter " + setting + " and restart the server";
    case Provider::kSupabase:
      return "supabase postgres-config update --config " + absl::StrFormat("%s=%s", name, value);
    case Provider::kPlanetScale:
      return "set " + setting + " in the branch's cluster parameters";
    case Provider::kNeon:
    case Provider::kHeroku:
      return "ask the provider's support for " + setting;
    case Provider::kCrunchyBridge:
    case Provider::kSelfHosted:
      return "ALTER SYSTEM SET " + setting + "; then restart the server";
  }
  return "";
}

std::string DirectEndpointFix(Provider provider) {
  switch (provider) {
    case Provider::kPlanetScale:
      return "connect to port 5432 (direct) instead of 6432 (PgBouncer)";
    case Provider::kNeon:
      return "take \"-pooler\" out of the host name";
    case Provider::kSupabase:
      return "connect to db.PROJECT.supabase.co:5432 (IPv6, or with the IPv4 add-on) instead of the pooler";
    case Provider::kRds:
    case Provider::kAurora:
      return "connect to the instance's or cluster's own endpoint instead of RDS Proxy";
    case Provider::kAzure:
      return "connect to port 5432 instead of 6432 (PgBouncer)";
    default:
      return "connect to the server itself instead of its connection pooler";
  }
}

std::string ReplicaRoleFix(Provider provider, std::string_view user, int server_version) {
  const std::string role = QuoteIdentifier(user);
  switch (provider) {
    case Provider::kRds:
    case Provider::kAurora:
      return "GRANT rds_superuser TO " + role;
    case Provider::kCloudSql:
    case Provider::kNeon:
    case Provider::kAzure:
    case Provider::kHeroku:
      return std::string(ProviderName(provider)) +
             " does not give this right: drop or disable triggers and foreign keys there until cutover (with "
             "--schema copy walferry creates them last by itself)";
    default:
      break;
  }
  if (server_version >= 150000) return "GRANT SET ON PARAMETER session_replication_role TO " + role;
  return "connect as a superuser (before version 15 nobody else may set it)";
}

std::string VerifiedTlsFix(Provider provider) {
  switch (provider) {
    case Provider::kRds:
    case Provider::kAurora:
      return "add sslmode=verify-full sslrootcert=global-bundle.pem (Amazon's CA bundle), or accept the risk "
             "with "
             "--allow-insecure-target";
    case Provider::kSupabase:
    case Provider::kCloudSql:
    case Provider::kAlloyDb:
      return "download the server's CA certificate from the console and add sslmode=verify-full "
             "sslrootcert=FILE "
             "(verify-ca where its name does not match), or accept the risk with --allow-insecure-target";
    default:
      return "add sslmode=verify-full sslrootcert=/etc/ssl/certs/ca-certificates.crt (or the server's own "
             "CA), or "
             "accept the risk with --allow-insecure-target";
  }
}

std::string BypassRlsFix(Provider provider, std::string_view user) {
  const std::string role = QuoteIdentifier(user);
  switch (provider) {
    case Provider::kRds:
    case Provider::kAurora:
    case Provider::kCloudSql:
    case Provider::kAlloyDb:
    case Provider::kAzure:
      return "connect as the owner of these tables (without FORCE ROW LEVEL SECURITY), or: ALTER ROLE " +
             role + " BYPASSRLS where the provider allows it";
    default:
      return "ALTER ROLE " + role + " BYPASSRLS";
  }
}

}  // namespace walferry
