// write_fuzz_seeds DIRECTORY: the golden messages as inputs for decode_fuzz (DIRECTORY/decode) and frame_fuzz
// (DIRECTORY/frame).
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "decoder/decode.h"
#include "tests/decoder/golden_file.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/pgoutput_writer.h"

namespace walferry {
namespace {

void WriteSeed(const std::filesystem::path& directory, const std::string& name, const std::string& bytes) {
  std::filesystem::create_directories(directory);
  std::ofstream(directory / name, std::ios::binary) << bytes;
}

absl::Status WriteSeeds(const std::filesystem::path& directory) {
  WF_ASSIGN_OR_RETURN(const std::vector<GoldenFile> files, ReadGoldenFiles());
  for (const GoldenFile& file : files) {
    const std::string stem = std::filesystem::path(file.path).stem().string();
    Decoder decoder(file.options);
    for (std::size_t i = 0; i < file.messages.size(); ++i) {
      const GoldenMessage& message = file.messages[i];
      const FuzzOptions options = {file.options.streaming, decoder.in_stream()};
      const std::string name = absl::StrFormat("%s_%03d", stem, i);
      WriteSeed(directory / "decode", name,
                std::string(1, static_cast<char>(options.ToByte())) + message.payload);
      WriteSeed(directory / "frame", name, WriteXLogData(message.lsn, message.lsn, 0, message.payload));
      WF_RETURN_IF_ERROR(decoder.Decode(message.payload, message.lsn).status());
    }
  }
  WriteSeed(directory / "frame", "keepalive", WriteKeepalive(Lsn{1}, 2, true));
  return absl::OkStatus();
}

}  // namespace
}  // namespace walferry

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
    return 2;
  }
  const absl::Status status = walferry::WriteSeeds(argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
