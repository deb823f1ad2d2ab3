#include "tests/decoder/golden_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/escaping.h"

namespace walferry {
namespace {

absl::Status BadLine(const std::string& path, const std::string& line) {
  return Errorf(absl::StatusCode::kInvalidArgument, "%s: cannot read the line \"%s\"", path, line);
}

absl::StatusOr<ProtocolOptions> ParseOptions(const std::string& path, const std::string& line) {
  ProtocolOptions options;
  std::istringstream words(line);
  std::string word;
  words >> word;
  while (words >> word) {
    if (word.starts_with("proto_version=")) {
      options.proto_version = word.back() - '0';
    } else if (word == "binary=true") {
      options.binary = true;
    } else if (word == "messages=true") {
      options.messages = true;
    } else if (word == "streaming=on") {
      options.streaming = Streaming::kOn;
    } else if (word == "two_phase=on") {
      options.two_phase = true;
    } else {
      return BadLine(path, line);
    }
  }
  return options;
}

absl::StatusOr<GoldenMessage> ParseMessage(const std::string& line) {
  const std::size_t space = line.find(' ');
  WF_ASSIGN_OR_RETURN(const Lsn lsn, Lsn::Parse(line.substr(0, space)));
  return GoldenMessage{lsn, absl::HexStringToBytes(line.substr(space + 1)), ""};
}

absl::StatusOr<GoldenFile> ReadGoldenFile(const std::string& path) {
  GoldenFile file;
  file.path = path;
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) {
    if (line.starts_with("#")) {
      file.head += line + "\n";
    } else if (line.starts_with("options ")) {
      file.head += line + "\n";
      WF_ASSIGN_OR_RETURN(file.options, ParseOptions(path, line));
    } else if (line.starts_with("  ") && !file.messages.empty()) {
      file.messages.back().description = line.substr(2);
    } else {
      WF_ASSIGN_OR_RETURN(GoldenMessage message, ParseMessage(line));
      file.messages.push_back(std::move(message));
    }
  }
  if (file.messages.empty()) return Errorf(absl::StatusCode::kNotFound, "%s: no messages", path);
  return file;
}

}  // namespace

absl::StatusOr<std::vector<GoldenFile>> ReadGoldenFiles() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(WALFERRY_SOURCE_DIR "/tests/golden")) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<GoldenFile> files;
  for (const std::string& path : paths) {
    WF_ASSIGN_OR_RETURN(GoldenFile file, ReadGoldenFile(path));
    files.push_back(std::move(file));
  }
  return files;
}

absl::Status WriteGoldenFile(const GoldenFile& file) {
  std::ofstream out(file.path);
  out << file.head;
  for (const GoldenMessage& message : file.messages) {
    out << message.lsn.ToString() << ' ' << absl::BytesToHexString(message.payload) << "\n  "
        << message.description << "\n";
  }
  out.close();
  if (!out) return Errorf(absl::StatusCode::kInternal, "%s: cannot be written", file.path);
  return absl::OkStatus();
}

}  // namespace walferry
