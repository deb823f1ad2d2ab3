// The report as text and as JSON.
#include <nlohmann/json.hpp>

#include "tools/check.h"

namespace walferry {
namespace {

constexpr std::size_t kWrapColumns = 100;
constexpr std::size_t kIndent = 8;

// Breaks text between words so that it stays within kWrapColumns after an indentation.
std::string Wrap(std::string_view text, std::string_view lead) {
  std::string wrapped(kIndent, ' ');
  wrapped += lead;
  const std::size_t indent = kIndent + lead.size();
  std::size_t column = indent;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    if (column > indent && column + 1 + word.size() > kWrapColumns) {
      wrapped += '\n';
      wrapped.append(indent, ' ');
      column = indent;
    } else if (column > indent) {
      wrapped += ' ';
      ++column;
    }
    wrapped += word;
    column += word.size();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  wrapped += '\n';
  return wrapped;
}

std::string Plural(int count, std::string_view noun) {
  return absl::StrFormat("%d %s%s", count, noun, count == 1 ? "" : "s");
}

void AddSide(const CheckReport& report, CheckSide side, bool passes, std::string& text) {
  bool titled = false;
  for (const Check& check : report.checks) {
    if (check.side != side || (check.level == CheckLevel::kPass && !passes)) continue;
    if (!titled) text += absl::StrFormat("%s%s\n", text.empty() ? "" : "\n", CheckSideName(side));
    titled = true;
    text += absl::StrFormat("  %-5s %-27s ", CheckLevelName(check.level), check.subject);
    if (check.level == CheckLevel::kPass) {
      text += check.evidence + "\n";
      continue;
    }
    text += "[" + check.id + "]\n" + Wrap(check.evidence, "");
    if (!check.fix.empty()) text += Wrap(check.fix, "fix: ");
  }
}

}  // namespace

std::string CheckReportText(const CheckReport& report, bool passes) {
  std::string text;
  for (const CheckSide side : {CheckSide::kSource, CheckSide::kTarget, CheckSide::kBoth}) {
    AddSide(report, side, passes, text);
  }
  if (!text.empty()) text += "\n";
  text += absl::StrFormat("%s, %s, %d passed: %s\n", Plural(report.count(CheckLevel::kBlock), "blocker"),
                          Plural(report.count(CheckLevel::kWarn), "warning"), report.count(CheckLevel::kPass),
                          report.ok() ? "ready to migrate" : "not ready");
  return text;
}

std::string CheckReportJson(const CheckReport& report) {
  nlohmann::ordered_json checks = nlohmann::ordered_json::array();
  for (const Check& check : report.checks) {
    checks.push_back({{"id", check.id},
                      {"side", std::string(CheckSideName(check.side))},
                      {"level", std::string(CheckLevelName(check.level))},
                      {"subject", check.subject},
                      {"evidence", check.evidence},
                      {"fix", check.fix}});
  }
  const nlohmann::ordered_json json = {{"ok", report.ok()}, {"checks", checks}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace walferry
