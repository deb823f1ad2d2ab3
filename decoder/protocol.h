// Which START_REPLICATION option exists since which server version, in one table; no version test stands
// elsewhere in the decoder. Sources: src/backend/replication/pgoutput/pgoutput.c (parse_output_parameters),
// logicalproto.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "decoder/status.h"

namespace walferry {

enum class Streaming { kOff, kOn, kParallel };

// The options that a pgoutput stream was started with. They decide how some messages are laid out.
struct ProtocolOptions {
  int proto_version = 1;  // 1 to 4.
  bool binary = false;
  bool messages = false;
  Streaming streaming = Streaming::kOff;
  bool two_phase = false;
  bool origin_none = false;  // Only changes without an origin (16+).
};

// What the caller would like; what the server does not know is left out.
//   server_version_num   as PQserverVersion(): 150020, 100023
// Returns the highest protocol that the server speaks with the wishes that it can grant.
ProtocolOptions NegotiateProtocol(int server_version_num, const ProtocolOptions& wishes);

// The option list of START_REPLICATION, without the parentheses:
//   proto_version '4', publication_names '"a","b"', streaming 'on'
// Publication names are quoted twice, as identifiers and as a string.
std::string StartReplicationOptions(const ProtocolOptions& options,
                                    const std::vector<std::string>& publications);

}  // namespace walferry
