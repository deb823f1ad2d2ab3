// Who runs a server, and what its operator has to do there: the same setting is reached in ten different
// ways. Facts: the providers' manuals; a fix names the place, it does not promise that the plan at hand
// allows it.
#pragma once

#include <string>
#include <string_view>

#include "stream/connection.h"

namespace walferry {

enum class Provider {
  kSelfHosted,
  kRds,
  kAurora,
  kCloudSql,
  kAlloyDb,
  kAzure,
  kSupabase,
  kNeon,
  kHeroku,
  kCrunchyBridge,
  kPlanetScale,
};

std::string_view ProviderName(Provider provider);

// By the host's domain alone; kSelfHosted where it tells nothing.
Provider ProviderOfHost(std::string_view host);
// By host, settings, roles and schemas. Read-only.
absl::StatusOr<Provider> DetectProvider(Connection& connection);

// How to get wal_level = logical.
std::string WalLevelFix(Provider provider);
// How to let `user` open replication connections.
std::string ReplicationPrivilegeFix(Provider provider, std::string_view user);
// How to set a parameter that takes effect at server start.
std::string RestartParameterFix(Provider provider, std::string_view name, std::string_view value);
// How to reach the server itself instead of its connection pooler.
std::string DirectEndpointFix(Provider provider);
// How `user` gets the right to SET session_replication_role; says so where the provider does not give it.
std::string ReplicaRoleFix(Provider provider, std::string_view user, int server_version);
// How to connect with verified TLS.
std::string VerifiedTlsFix(Provider provider);
// How to see all rows of tables with row-level security.
std::string BypassRlsFix(Provider provider, std::string_view user);

}  // namespace walferry
