// The inverse of WireReader: appends big-endian values to a string that it owns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace walferry {

class WireWriter {
 public:
  WireWriter& Int8(std::uint8_t value) { return Append(value); }
  WireWriter& Int16(std::uint16_t value) { return Append(value); }
  WireWriter& Int32(std::uint32_t value) { return Append(value); }
  WireWriter& Int64(std::uint64_t value) { return Append(value); }
  // Terminated by NUL; `value` must not contain one.
  WireWriter& String(std::string_view value) {
    bytes_.append(value).push_back('\0');
    return *this;
  }
  WireWriter& Bytes(std::string_view value) {
    bytes_.append(value);
    return *this;
  }

  const std::string& bytes() const { return bytes_; }
  std::string Take() && { return std::move(bytes_); }

 private:
  template <typename T>
  WireWriter& Append(T value) {
    for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
      bytes_.push_back(static_cast<char>(value >> shift & 0xff));
    }
    return *this;
  }

  std::string bytes_;
};

}  // namespace walferry
