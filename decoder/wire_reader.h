// A bounds-checked cursor over big-endian bytes. It fails once and for all: after the first read past the end every
// further read gives zero or an empty view and ok() is false, so callers check once. The only place of the decoder
// with pointer arithmetic.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace walferry {

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool at_end() const { return offset_ == bytes_.size(); }
  // Bytes consumed; after a failure, where the read that failed began.
  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }

  std::uint8_t Int8() { return ReadInt<std::uint8_t>(); }
  std::uint16_t Int16() { return ReadInt<std::uint16_t>(); }
  std::uint32_t Int32() { return ReadInt<std::uint32_t>(); }
  std::uint64_t Int64() { return ReadInt<std::uint64_t>(); }

  // A string terminated by NUL; the NUL is consumed and not part of the view.
  std::string_view String() {
    if (!ok_) return {};
    const void* end = remaining() == 0 ? nullptr : std::memchr(bytes_.data() + offset_, 0, remaining());
    if (end == nullptr) return Fail();
    const auto length = static_cast<std::size_t>(static_cast<const char*>(end) - (bytes_.data() + offset_));
    const std::string_view value = bytes_.substr(offset_, length);
    offset_ += length + 1;
    return value;
  }

  std::string_view Bytes(std::size_t length) {
    if (!ok_ || length > remaining()) return Fail();
    const std::string_view value = bytes_.substr(offset_, length);
    offset_ += length;
    return value;
  }

 private:
  std::string_view Fail() {
    ok_ = false;
    return {};
  }

  template <typename T>
  T ReadInt() {
    if (!ok_ || sizeof(T) > remaining()) {
      ok_ = false;
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
  bool ok_ = true;
};

}  // namespace walferry
