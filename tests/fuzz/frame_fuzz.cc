#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "decoder/frame.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace walferry;
  const std::string_view copy_data(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<Frame> frame = DecodeFrame(copy_data);
  if (!frame.ok()) return 0;
  const auto* data_frame = std::get_if<XLogData>(&*frame);
  if (data_frame != nullptr && data_frame->payload.end() != copy_data.end()) std::abort();
  return 0;
}
