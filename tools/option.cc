#include "tools/option.h"

#include <utility>

#include "tools/quantity.h"

namespace walferry {
namespace {

// A parser of text as an option. CLI11 takes errors as exceptions of its own.
template <typename Parse, typename Store>
CLI::Option* AddParsed(CLI::App& app, const std::string& flags, const std::string& help, Parse parse,
                       Store store) {
  const std::string name = flags.substr(0, flags.find(','));
  return app.add_option_function<std::string>(
      flags,
      [name, parse, store](const std::string& text) {
        auto value = parse(text);
        if (!value.ok()) throw CLI::ValidationError(name, std::string(MessageOf(value.status())));
        store(*std::move(value));
      },
      help);
}

}  // namespace

CLI::Option* AddBytesOption(CLI::App& app, const std::string& flags, std::size_t& bytes,
                            std::size_t minimum_bytes, const std::string& help) {
  const auto parse = [minimum_bytes](const std::string& text) -> absl::StatusOr<std::size_t> {
    WF_ASSIGN_OR_RETURN(const std::size_t parsed, ParseBytes(text));
    if (parsed < minimum_bytes) {
      return Errorf(absl::StatusCode::kInvalidArgument, "%s is less than the least possible, %s", text,
                    FormatBytes(static_cast<double>(minimum_bytes)));
    }
    return parsed;
  };
  return AddParsed(app, flags, help, parse, [&bytes](std::size_t value) { bytes = value; })
      ->type_name("SIZE");
}

CLI::Option* AddDurationOption(CLI::App& app, const std::string& flags, absl::Duration& duration,
                               const std::string& help) {
  return AddParsed(app, flags, help, ParseTimeSpan, [&duration](absl::Duration value) { duration = value; })
      ->type_name("TIME");
}

CLI::Option* AddLsnOption(CLI::App& app, const std::string& flags, std::optional<Lsn>& lsn,
                          const std::string& help) {
  return AddParsed(
             app, flags, help, [](const std::string& text) { return Lsn::Parse(text); },
             [&lsn](Lsn value) { lsn = value; })
      ->type_name("LSN");
}

}  // namespace walferry
