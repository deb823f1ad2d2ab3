// Options whose values are amounts: parsed while the command line is, so that a wrong one is a usage error.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "decoder/lsn.h"

namespace walferry {

// The bound variable keeps its value (the default) unless the option is given.
CLI::Option* AddBytesOption(CLI::App& app, const std::string& flags, std::size_t& bytes,
                            std::size_t minimum_bytes, const std::string& help);
CLI::Option* AddDurationOption(CLI::App& app, const std::string& flags, absl::Duration& duration,
                               const std::string& help);
CLI::Option* AddLsnOption(CLI::App& app, const std::string& flags, std::optional<Lsn>& lsn,
                          const std::string& help);

}  // namespace walferry
