// A bounds-checked cursor over big-endian bytes. It fails once and for all: after the first failure every
// further read gives zero or an empty view, so callers check once, at the end. The only place of the decoder
// with pointer arithmetic, besides walking a tuple whose lengths were checked here.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace walferry {

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return failure_ == nullptr; }
  // Why it failed, in words that fit after "message: "; nullptr while ok().
  const char* failure() const { return failure_; }
  bool at_end() const { return offset_ == bytes_.size(); }
  // Bytes consumed; after a failure, where the offending read began.
  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }

  std::uint8_t Int8() { return ReadInt<std::uint8_t>(); }
  std::uint16_t Int16() { return ReadInt<std::uint16_t>(); }
  std::uint32_t Int32() { return ReadInt<std::uint32_t>(); }
  std::uint64_t Int64() { return ReadInt<std::uint64_t>(); }

  // A string terminated by NUL; the NUL is consumed and not part of the view.
  std::string_view String() {
    if (!ok()) return {};
    const std::size_t length = bytes_.substr(offset_).find('\0');
    if (length == std::string_view::npos) return FailedBytes("string without its terminating NUL");
    const std::string_view value = bytes_.substr(offset_, length);
    offset_ += length + 1;
    return value;
  }

  std::string_view Bytes(std::size_t length) {
    if (!ok()) return {};
    if (length > remaining()) return FailedBytes("length goes beyond the end of the message");
    const std::string_view value = bytes_.substr(offset_, length);
    offset_ += length;
    return value;
  }

  // What was consumed since the cursor stood at `begin`.
  std::string_view Since(std::size_t begin) const { return bytes_.substr(begin, offset_ - begin); }

  // Rejects what was read at `offset`. `reason` must be a literal. The first failure stays.
  void Fail(const char* reason, std::size_t offset) {
    if (!ok()) return;
    failure_ = reason;
    offset_ = offset;
  }

 private:
  std::string_view FailedBytes(const char* reason) {
    failure_ = reason;
    return {};
  }

  template <typename T>
  T ReadInt() {
    if (!ok()) return 0;
    if (sizeof(T) > remaining()) {
      failure_ = "message ends too early";
      return 0;
    }
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof value);
    offset_ += sizeof value;
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
    return value;
  }

  static_assert(std::endian::native == std::endian::little);

  std::string_view bytes_;
  std::size_t offset_ = 0;
  const char* failure_ = nullptr;
};

}  // namespace walferry
