// The configuration file: TOML, a key per option. Options of walferry itself stand at the top, those of a
// command in a table named after it:
//
//   source = "service=shop"
//   tables = ["public.*", "billing.invoice"]
//   [migrate]
//   copy-jobs = 8
//
// What the command line gives wins over the environment, which wins over the file.
#pragma once

#include <CLI/CLI.hpp>
#include <istream>
#include <string>
#include <vector>

namespace walferry {

class TomlConfig : public CLI::Config {
 public:
  // app must outlive it. CLI11 sets what the file says before it looks at the environment, so options that
  // the environment names are left out of the file's items here.
  explicit TomlConfig(const CLI::App& app) : app_(app) {}

  // An unknown key, a value that is neither a scalar nor a list of scalars, and malformed TOML are
  // CLI::ConfigErrors, as the interface demands.
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;

  std::string to_config(const CLI::App* app, bool default_also, bool write_description,
                        std::string prefix) const override;

 private:
  const CLI::App& app_;
};

}  // namespace walferry
