// A server that a whole test program shares, and a database of its own for every test.
#pragma once

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "stream/connection.h"
#include "tools/throwaway_server.h"

namespace walferry {

// Takes the value out of a StatusOr; fails the test (by ending the program, as gtest cannot leave a
// value-returning function) where there is none.
template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    ADD_FAILURE() << value.status();
    std::abort();
  }
  return *std::move(value);
}

inline ThrowawayServer& SharedServer() {
  static const std::unique_ptr<ThrowawayServer> server =
      Must(ThrowawayServer::Start({.name = "stream", .settings = {{"max_replication_slots", "20"}}}));
  return *server;
}

inline Connection Connect(const std::string& conninfo, bool replication = false) {
  ConnectOptions options;
  options.conninfo = conninfo;
  options.replication = replication;
  return Must(Connection::Open(options));
}

class DatabaseTest : public testing::Test {
 protected:
  DatabaseTest() : database_(NextName()), conninfo_(SharedServer().Conninfo(database_)) {
    Connection admin = Connect(SharedServer().Conninfo("postgres"));
    Must(admin.Execute("CREATE DATABASE " + database_));
  }
  ~DatabaseTest() override {
    Connection admin = Connect(SharedServer().Conninfo("postgres"));
    Must(admin.Execute("DROP DATABASE " + database_ + " WITH (FORCE)"));
  }

  const std::string& conninfo() const { return conninfo_; }

 private:
  static std::string NextName() {
    static int count = 0;
    return "test_" + std::to_string(++count);
  }

  std::string database_;
  std::string conninfo_;
};

}  // namespace walferry
