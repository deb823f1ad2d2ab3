#include "decoder/protocol.h"

namespace walferry {
namespace {

// What a server must be to know an option's value; an unknown one makes START_REPLICATION fail.
struct Since {
  int proto_version;       // The lowest protocol that the option may be used with.
  int server_version_num;  // The first server that knows it.
};
constexpr Since kBinary = {1, 140000};
constexpr Since kMessages = {1, 140000};
constexpr Since kStreamingOn = {2, 140000};
constexpr Since kTwoPhase = {3, 150000};
constexpr Since kStreamingParallel = {4, 160000};
constexpr Since kOrigin = {1, 160000};

// The first server that speaks each protocol, highest first.
constexpr Since kProtocols[] = {{4, 160000}, {3, 150000}, {2, 140000}, {1, 100000}};

int HighestProtocol(int server_version_num) {
  for (const Since& protocol : kProtocols) {
    if (server_version_num >= protocol.server_version_num) return protocol.proto_version;
  }
  return 1;
}

Streaming GrantStreaming(int server_version_num, Streaming wish) {
  if (wish == Streaming::kParallel && server_version_num >= kStreamingParallel.server_version_num)
    return wish;
  if (wish != Streaming::kOff && server_version_num >= kStreamingOn.server_version_num) return Streaming::kOn;
  return Streaming::kOff;
}

// `text` between quotes, with the quotes inside of it doubled: SQL's rule for identifiers (") and for the
// strings of replication commands ('), in which a backslash means itself (repl_scanner.l).
std::string Quote(std::string_view text, char quote) {
  std::string quoted(1, quote);
  for (const char c : text) {
    if (c == quote) quoted += quote;
    quoted += c;
  }
  quoted += quote;
  return quoted;
}

}  // namespace

ProtocolOptions NegotiateProtocol(int server_version_num, const ProtocolOptions& wishes) {
  const auto granted = [&](bool wish, const Since& since) {
    return wish && server_version_num >= since.server_version_num;
  };
  ProtocolOptions options;
  options.proto_version = HighestProtocol(server_version_num);
  options.binary = granted(wishes.binary, kBinary);
  options.messages = granted(wishes.messages, kMessages);
  options.streaming = GrantStreaming(server_version_num, wishes.streaming);
  options.two_phase = granted(wishes.two_phase, kTwoPhase);
  options.origin_none = granted(wishes.origin_none, kOrigin);
  return options;
}

std::string StartReplicationOptions(const ProtocolOptions& options,
                                    const std::vector<std::string>& publications) {
  std::string names;
  for (const std::string& publication : publications) {
    if (!names.empty()) names += ',';
    names += Quote(publication, '"');
  }
  std::string list =
      absl::StrFormat("proto_version '%d', publication_names %s", options.proto_version, Quote(names, '\''));
  if (options.binary) list += ", binary 'true'";
  if (options.messages) list += ", messages 'true'";
  if (options.streaming == Streaming::kOn) list += ", streaming 'on'";
  if (options.streaming == Streaming::kParallel) list += ", streaming 'parallel'";
  if (options.two_phase) list += ", two_phase 'on'";
  if (options.origin_none) list += ", origin 'none'";
  return list;
}

}  // namespace walferry
