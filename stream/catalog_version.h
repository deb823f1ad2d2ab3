// Names in the system catalogs that differ between the versions of the servers.
#pragma once

namespace walferry {

// Of pg_index: how many of its columns are key columns. Before 11 there was no INCLUDE.
constexpr const char* KeyColumnCount(int server_version) {
  return server_version >= 110000 ? "indnkeyatts" : "indnatts";
}

}  // namespace walferry
