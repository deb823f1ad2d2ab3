// The golden files of tests/golden: messages of a real server, and what the decoder says about them.
#pragma once

#include <string>
#include <vector>

#include "decoder/lsn.h"
#include "decoder/protocol.h"
#include "decoder/status.h"

namespace walferry {

struct GoldenMessage {
  Lsn lsn;
  std::string payload;
  std::string description;
};

struct GoldenFile {
  std::string path;
  std::string head;  // The lines before the first message: comments and options.
  ProtocolOptions options;
  std::vector<GoldenMessage> messages;
};

// All of tests/golden/*.txt, by name.
absl::StatusOr<std::vector<GoldenFile>> ReadGoldenFiles();
// Writes the file anew, with the descriptions given.
absl::Status WriteGoldenFile(const GoldenFile& file);

}  // namespace walferry
