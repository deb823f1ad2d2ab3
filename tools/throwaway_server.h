// A PostgreSQL server of our own for a demo or a test: initdb in a fresh directory, a free port of the
// loopback interface, an unprivileged user when we are root, gone with the object. Nothing of it survives the
// process: a watchdog ends the server when its owner dies.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "decoder/status.h"

namespace walferry {

struct ThrowawayServerOptions {
  std::string name = "server";  // For the directory and messages.
  // postgresql.conf lines besides the defaults (wal_level=logical, fsync=off, listen on 127.0.0.1, …). Later
  // wins.
  std::vector<std::pair<std::string, std::string>> settings = {};
  // Authentication: trust, or scram-sha-256 with this password for the superuser `postgres`.
  std::string password = {};
  // TLS with a certificate of our own for host name "localhost"; its CA certificate is then at ca_file().
  bool tls = false;
  int port = 0;  // 0: any free one
  // Directory of initdb, pg_ctl and postgres. Empty: $WALFERRY_PG_BINDIR, else the newest that is installed.
  std::string bindir = {};
};

class ThrowawayServer {
 public:
  static absl::StatusOr<std::unique_ptr<ThrowawayServer>> Start(const ThrowawayServerOptions& options);
  ~ThrowawayServer();  // Immediate shutdown, directory removed.

  int port() const;
  const std::string& directory() const;
  std::string ca_file() const;
  // host=127.0.0.1 port=… user=postgres dbname=… and the password, if there is one. What a caller appends
  // wins.
  std::string Conninfo(const std::string& database) const;

  // pg_ctl stop -m fast|immediate (waits), and start again on the same data and port.
  absl::Status Stop(const std::string& mode);
  absl::Status StartAgain();

 private:
  class Impl;
  explicit ThrowawayServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace walferry
