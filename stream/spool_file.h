// A file that nobody else can read: chunks compressed with lz4 and sealed with AES-256-GCM under a random key
// that exists only in this process. The file has no name from the start, so it dies with the process. Not
// thread-safe.
//
//   per chunk:  ciphertext of the lz4 block | 16-byte tag
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "decoder/status.h"

struct evp_cipher_ctx_st;  // EVP_CIPHER_CTX

namespace walferry {

// Where a chunk lies; kept in memory by whoever appended it.
struct SealedChunk {
  std::uint64_t offset = 0;
  std::uint32_t sealed_bytes = 0;
  std::uint32_t raw_bytes = 0;
  std::uint64_t nonce = 0;
};

class SpoolFile {
 public:
  // directory is created where it is missing. kFailedPrecondition where it cannot be written.
  static absl::StatusOr<std::unique_ptr<SpoolFile>> Create(const std::string& directory);
  ~SpoolFile();
  SpoolFile(const SpoolFile&) = delete;
  SpoolFile& operator=(const SpoolFile&) = delete;

  // kResourceExhausted where the disk is full.
  absl::StatusOr<SealedChunk> Append(std::string_view raw);
  // Writes chunk.raw_bytes bytes to `raw`. kDataLoss where they are not what was appended.
  absl::Status Read(const SealedChunk& chunk, char* raw);
  // Gives back everything from `offset` (that of a chunk) on.
  absl::Status CutAt(std::uint64_t offset);

 private:
  SpoolFile(int fd, std::string directory);
  absl::Status WriteAll(std::string_view bytes);

  struct FreeCipher {
    void operator()(evp_cipher_ctx_st* context) const;
  };

  const int fd_;
  const std::string directory_;
  std::unique_ptr<evp_cipher_ctx_st, FreeCipher> cipher_;
  std::array<unsigned char, 32> key_;
  // Counts up also where the file was cut: the same nonce with other bytes would give the key away.
  std::uint64_t next_nonce_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace walferry
