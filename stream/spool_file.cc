// Tested by tests/stream/spool_test.cc
#include "stream/spool_file.h"

#include <fcntl.h>
#include <lz4.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

namespace walferry {
namespace {

constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kIvBytes = 12;

std::string ErrnoText(int error) {
  return std::generic_category().message(error);
}

absl::Status CipherError() {
  return absl::InternalError("OpenSSL cannot do AES-256-GCM");
}

std::array<unsigned char, kIvBytes> MakeIv(std::uint64_t nonce) {
  std::array<unsigned char, kIvBytes> iv{};
  std::memcpy(iv.data(), &nonce, sizeof nonce);
  return iv;
}

unsigned char* Unsigned(char* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

// O_TMPFILE where the file system has it, else a file that is unlinked at once.
int OpenNameless(const std::string& directory) {
  const int fd = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  std::string path = directory + "/spool-XXXXXX";
  const int named = mkostemp(path.data(), O_CLOEXEC);
  if (named >= 0) unlink(path.c_str());
  return named;
}

}  // namespace

void SpoolFile::FreeCipher::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

absl::StatusOr<std::unique_ptr<SpoolFile>> SpoolFile::Create(const std::string& directory) {
  std::error_code ignored;  // Opening the file tells what is wrong.
  std::filesystem::create_directories(directory, ignored);
  const int fd = OpenNameless(directory);
  if (fd < 0) {
    const auto code = errno == ENOSPC || errno == EDQUOT ? absl::StatusCode::kResourceExhausted
                                                         : absl::StatusCode::kFailedPrecondition;
    return Errorf(
        code,
        "Cannot create a file for transactions in progress in %s (%s): make it writable or choose another "
        "directory with --work-dir",
        directory, ErrnoText(errno));
  }
  std::unique_ptr<SpoolFile> file(new SpoolFile(fd, directory));
  if (file->cipher_ == nullptr || RAND_bytes(file->key_.data(), static_cast<int>(file->key_.size())) != 1) {
    return CipherError();
  }
  return file;
}

SpoolFile::SpoolFile(int fd, std::string directory)
    : fd_(fd), directory_(std::move(directory)), cipher_(EVP_CIPHER_CTX_new()) {}

SpoolFile::~SpoolFile() {
  OPENSSL_cleanse(key_.data(), key_.size());
  close(fd_);
}

absl::StatusOr<SealedChunk> SpoolFile::Append(std::string_view raw) {
  std::vector<char> packed(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(raw.size()))));
  const int packed_bytes = LZ4_compress_default(raw.data(), packed.data(), static_cast<int>(raw.size()),
                                                static_cast<int>(packed.size()));
  if (packed_bytes <= 0) return absl::InternalError("lz4 cannot compress a chunk");

  const std::uint64_t nonce = next_nonce_++;
  const auto iv = MakeIv(nonce);
  std::vector<char> sealed(static_cast<std::size_t>(packed_bytes) + kTagBytes);
  int written = 0;
  if (EVP_EncryptInit_ex(cipher_.get(), EVP_aes_256_gcm(), nullptr, key_.data(), iv.data()) != 1 ||
      EVP_EncryptUpdate(cipher_.get(), Unsigned(sealed.data()), &written, Unsigned(packed.data()),
                        packed_bytes) != 1 ||
      EVP_EncryptFinal_ex(cipher_.get(), Unsigned(sealed.data()) + written, &written) != 1 ||
      EVP_CIPHER_CTX_ctrl(cipher_.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, sealed.data() + packed_bytes) !=
          1) {
    return CipherError();
  }
  WF_RETURN_IF_ERROR(WriteAll(std::string_view(sealed.data(), sealed.size())));
  const SealedChunk chunk{.offset = end_,
                          .sealed_bytes = static_cast<std::uint32_t>(sealed.size()),
                          .raw_bytes = static_cast<std::uint32_t>(raw.size()),
                          .nonce = nonce};
  end_ += sealed.size();
  return chunk;
}

absl::Status SpoolFile::WriteAll(std::string_view bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written =
        pwrite(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(end_ + done));
    if (written >= 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno != EINTR) {
      const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
      return Errorf(
          full ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kFailedPrecondition,
          "Cannot write transactions in progress to %s (%s): free some space there or choose another "
          "directory with --work-dir",
          directory_, ErrnoText(errno));
    }
  }
  return absl::OkStatus();
}

absl::Status SpoolFile::Read(const SealedChunk& chunk, char* raw) {
  const auto damaged = [this] {
    return Errorf(absl::StatusCode::kDataLoss, "The file for transactions in progress in %s was damaged",
                  directory_);
  };
  std::vector<char> sealed(chunk.sealed_bytes);
  std::size_t done = 0;
  while (done < sealed.size()) {
    const ssize_t got =
        pread(fd_, sealed.data() + done, sealed.size() - done, static_cast<off_t>(chunk.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return damaged();
    done += static_cast<std::size_t>(got);
  }
  const auto iv = MakeIv(chunk.nonce);
  const int packed_bytes = static_cast<int>(sealed.size() - kTagBytes);
  std::vector<char> packed(static_cast<std::size_t>(packed_bytes));
  int opened = 0;
  if (EVP_DecryptInit_ex(cipher_.get(), EVP_aes_256_gcm(), nullptr, key_.data(), iv.data()) != 1 ||
      EVP_DecryptUpdate(cipher_.get(), Unsigned(packed.data()), &opened, Unsigned(sealed.data()),
                        packed_bytes) != 1 ||
      EVP_CIPHER_CTX_ctrl(cipher_.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, sealed.data() + packed_bytes) !=
          1) {
    return CipherError();
  }
  if (EVP_DecryptFinal_ex(cipher_.get(), Unsigned(packed.data()) + opened, &opened) != 1) return damaged();
  const int raw_bytes =
      LZ4_decompress_safe(packed.data(), raw, packed_bytes, static_cast<int>(chunk.raw_bytes));
  if (raw_bytes < 0 || static_cast<std::uint32_t>(raw_bytes) != chunk.raw_bytes) return damaged();
  return absl::OkStatus();
}

absl::Status SpoolFile::CutAt(std::uint64_t offset) {
  if (ftruncate(fd_, static_cast<off_t>(offset)) != 0) {
    return Errorf(absl::StatusCode::kFailedPrecondition, "Cannot shorten the spool file in %s (%s)",
                  directory_, ErrnoText(errno));
  }
  end_ = offset;
  return absl::OkStatus();
}

}  // namespace walferry
