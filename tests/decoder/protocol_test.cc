#include "decoder/protocol.h"

#include <gtest/gtest.h>

namespace walferry {
namespace {

const ProtocolOptions kEverything = {.binary = true,
                                     .messages = true,
                                     .streaming = Streaming::kParallel,
                                     .two_phase = true,
                                     .origin_none = true};

TEST(ProtocolTest, EachServerVersionIsAskedForWhatItKnowsAndNoMore) {
  const std::string names = R"(publication_names '"p"')";
  const struct {
    int server_version_num;
    std::string options;
  } kVersions[] = {
      {100023, "proto_version '1', " + names},
      {110022, "proto_version '1', " + names},
      {120022, "proto_version '1', " + names},
      {130016, "proto_version '1', " + names},
      {140019, "proto_version '2', " + names + ", binary 'true', messages 'true', streaming 'on'"},
      {150020,
       "proto_version '3', " + names + ", binary 'true', messages 'true', streaming 'on', two_phase 'on'"},
      {160000, "proto_version '4', " + names +
                   ", binary 'true', messages 'true', streaming 'parallel', two_phase 'on', origin 'none'"},
      {170006, "proto_version '4', " + names +
                   ", binary 'true', messages 'true', streaming 'parallel', two_phase 'on', origin 'none'"},
      {180001, "proto_version '4', " + names +
                   ", binary 'true', messages 'true', streaming 'parallel', two_phase 'on', origin 'none'"},
  };
  for (const auto& version : kVersions) {
    EXPECT_EQ(StartReplicationOptions(NegotiateProtocol(version.server_version_num, kEverything), {"p"}),
              version.options)
        << version.server_version_num;
  }
}

TEST(ProtocolTest, WhatIsNotWishedIsNotAskedFor) {
  for (const int version : {100000, 140000, 150000, 160000, 180000}) {
    const ProtocolOptions options = NegotiateProtocol(version, {});
    EXPECT_FALSE(options.binary || options.messages || options.two_phase || options.origin_none);
    EXPECT_EQ(options.streaming, Streaming::kOff);
  }
}

TEST(ProtocolTest, StreamingOnIsNotRaisedToParallel) {
  EXPECT_EQ(NegotiateProtocol(160000, {.streaming = Streaming::kOn}).streaming, Streaming::kOn);
}

TEST(ProtocolTest, PublicationNamesAreQuotedAsIdentifiersInsideOfAString) {
  EXPECT_EQ(StartReplicationOptions({}, {"a", "B c", R"(d"e)", "f'g", R"(h\i)"}),
            R"(proto_version '1', publication_names '"a","B c","d""e","f''g","h\i"')");
}

}  // namespace
}  // namespace walferry
