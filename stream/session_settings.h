// Every setting of a session that changes how a value is written or read, or that may stop the session, with
// the value that each connection of ours gets and the reason. Databases and roles bring settings of their own
// (ALTER DATABASE … SET, ALTER ROLE … SET), which programs of their users may need and which we cannot know.
// They are SET after the login, not given at start-up: poolers and managed proxies refuse start-up options.
// https://www.postgresql.org/docs/current/runtime-config-client.html
#pragma once

#include <span>
#include <string>
#include <vector>

namespace walferry {

enum class SettingNeed {
  kAlways,     // Without it values would arrive changed, or the session might end: no connection then.
  kIfAllowed,  // A server that refuses it is taken as it is.
};

enum class SettingKind {
  kValue,    // How values are written or read.
  kSession,  // What ends, delays or weakens a session.
};

struct SessionSetting {
  const char* name;
  const char* value;
  SettingNeed need;
  SettingKind kind;
  int since;  // server_version, as libpq gives it: 140000.
  int until;  // The first version that does not know it any more.
  // Who pins it, too: 'd' pg_dump's session, 'h' the header of pg_dump's script, 's' the built-in
  // subscription's connection to its publisher (libpqrcv_connect), 'w' the built-in apply worker.
  const char* pinned_by;
  const char* reason;
};

std::span<const SessionSetting> SessionSettings();

// "SET a = 'b'; SET …" for a server of that version.
std::string SessionSettingsSql(int server_version, SettingNeed need);

// The statements of need kIfAllowed one by one.
std::vector<std::string> OptionalSettingStatements(int server_version);

// "SET LOCAL a TO DEFAULT; …" for what pins how values are written or read: for expressions of the user's
// own (a materialized view's query) that give what they give in the database's own sessions.
std::string DatabaseDefaultsSql(int server_version);

// How long a session on the source waits for a lock. A request that waits stands in line before later ones,
// those of the application, so it is given up and made again (LockRetry).
inline constexpr char kSourceLockTimeout[] = "5s";

}  // namespace walferry
