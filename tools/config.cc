#include "tools/config.h"

#include <cstdlib>
#include <optional>
#include <utility>

#include "decoder/status.h"
#include "tools/command.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace walferry {
namespace {

[[noreturn]] void Fail(std::string text) {
  throw CLI::ConfigError("configuration file: " + text, CLI::ExitCodes::ConfigError);
}

std::optional<std::string> ScalarText(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) return absl::StrFormat("%.17g", number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return std::nullopt;
}

std::vector<std::string> Inputs(const std::string& key, const toml::node& node) {
  std::vector<std::string> inputs;
  if (const toml::array* list = node.as_array()) {
    for (const toml::node& element : *list) {
      std::optional<std::string> text = ScalarText(element);
      if (!text) Fail(key + " may hold strings, numbers and booleans only");
      inputs.push_back(*std::move(text));
    }
    return inputs;
  }
  std::optional<std::string> text = ScalarText(node);
  if (!text) Fail(key + " has a value of a kind that no option takes");
  inputs.push_back(*std::move(text));
  return inputs;
}

bool SetByEnvironment(const CLI::Option& option) {
  if (option.get_envname().empty()) return false;
  const char* value = std::getenv(option.get_envname().c_str());
  return value != nullptr && *value != '\0';
}

// The items of one table, of the parser that it stands for.
void AddItems(const toml::table& table, const CLI::App& parser, const std::vector<std::string>& parents,
              std::vector<CLI::ConfigItem>& items) {
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    if (parents.empty() && node.is_table()) {
      const CLI::App* command = FindCommand(parser, name);
      if (command == nullptr) Fail("unknown table [" + name + "]: there is no such command");
      AddItems(*node.as_table(), *command, {name}, items);
      continue;
    }
    const CLI::Option* option = parser.get_option_no_throw("--" + name);
    if (option == nullptr || !option->get_configurable()) {
      Fail("unknown key " + (parents.empty() ? name : parents.front() + "." + name));
    }
    if (SetByEnvironment(*option)) continue;
    CLI::ConfigItem item;
    item.parents = parents;
    item.name = name;
    item.inputs = Inputs(name, node);
    items.push_back(std::move(item));
  }
}

}  // namespace

std::vector<CLI::ConfigItem> TomlConfig::from_config(std::istream& input) const {
  const toml::parse_result parsed = toml::parse(input);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    Fail(absl::StrFormat("line %d: %s", error.source().begin.line, std::string(error.description())));
  }
  std::vector<CLI::ConfigItem> read;
  AddItems(parsed.table(), app_, {}, read);
  return read;
}

std::string TomlConfig::to_config(const CLI::App* app, bool default_also, bool write_description,
                                  std::string prefix) const {
  return CLI::ConfigTOML().to_config(app, default_also, write_description, std::move(prefix));
}

}  // namespace walferry
