// What the inputs of decode_fuzz look like: one byte of options, then a message.
#pragma once

#include <cstdint>

#include "decoder/protocol.h"

namespace walferry {

// Bits 0 and 1: streaming; bit 2: whether a stream block is open.
struct FuzzOptions {
  Streaming streaming = Streaming::kOff;
  bool in_stream = false;

  static FuzzOptions FromByte(std::uint8_t byte) {
    return {static_cast<Streaming>((byte & 3) % 3), (byte & 4) != 0};
  }
  std::uint8_t ToByte() const {
    return static_cast<std::uint8_t>(static_cast<int>(streaming) | (in_stream ? 4 : 0));
  }
};

}  // namespace walferry
