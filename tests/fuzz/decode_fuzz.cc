#include <cstdlib>
#include <string_view>

#include "decoder/decode.h"
#include "decoder/describe.h"
#include "decoder/relation.h"
#include "tests/decoder/message_views.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace walferry;
  if (size == 0) return 0;
  const FuzzOptions options = FuzzOptions::FromByte(data[0]);
  const std::string_view payload(reinterpret_cast<const char*>(data) + 1, size - 1);

  Decoder decoder({.proto_version = 4, .streaming = options.streaming});
  decoder.set_in_stream(options.in_stream);
  const absl::StatusOr<Message> message = decoder.Decode(payload, Lsn{1});
  if (!message.ok()) return 0;

  MessageViews([payload](std::string_view view) {
    const bool inside = view.data() >= payload.data() && view.end() <= payload.end();
    if (!inside) std::abort();
  }).Of(*message);
  RelationCache relations;
  const Relation* relation = nullptr;
  if (const auto* description = std::get_if<RelationMessage>(&*message))
    relation = relations.Put(*description, 1);
  if (Describe(*message, relation).find('\n') != std::string::npos) std::abort();
  return 0;
}
