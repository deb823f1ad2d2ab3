#include "stream/conninfo.h"

#include <arpa/inet.h>
#include <libpq-fe.h>

#include <cctype>
#include <memory>

namespace walferry {
namespace {

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

bool LooksLikeConninfo(std::string_view text) {
  return text.find('=') != std::string_view::npos || text.starts_with("postgres://") ||
         text.starts_with("postgresql://");
}

bool MayHoldSecret(std::string_view conninfo) {
  return conninfo.find("pass") != std::string_view::npos || conninfo.find('@') != std::string_view::npos;
}

// Options that providers print into their connection strings and that older versions of libpq do not know.
const char* NewerOption(std::string_view message) {
  for (const char* option : {"sslnegotiation", "sslcertmode", "require_auth", "load_balance_hosts",
                             "gssdelegation", "min_protocol_version", "max_protocol_version"}) {
    if (message.find(std::string("\"") + option + "\"") != std::string_view::npos) return option;
  }
  return nullptr;
}

// libpq quotes the piece that it could not read, and that piece may be half a password.
std::string ReadableParseError(std::string_view message, std::string_view conninfo) {
  while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
  if (const char* option = NewerOption(message)) {
    return absl::StrFormat("the libpq of this machine (version %d) does not know the option %s: leave it out",
                           PQlibVersion() / 10000, option);
  }
  const std::size_t quote = message.find('"');
  if (!MayHoldSecret(conninfo) || quote == std::string_view::npos) return std::string(message);
  return std::string(message.substr(0, quote)) +
         "... (not shown, it may be part of a password; a value with blanks or special characters needs "
         "quotes, in a URI percent-encoding)";
}

// "sslrootcert=system" is known since version 16 and means the authorities that the machine trusts; before it
// would be a file of that name.
void ResolveSystemAuthorities(ConninfoOptions& options) {
  if (PQlibVersion() >= 160000 || ValueOf(options, "sslrootcert") != "system") return;
  for (auto& [keyword, value] : options) {
    if (keyword == "sslrootcert") value = "/etc/ssl/certs/ca-certificates.crt";
  }
  if (ValueOf(options, "sslmode").empty()) options.emplace_back("sslmode", "verify-full");
}

std::string JoinConninfo(const ConninfoOptions& options) {
  std::string out;
  for (const auto& [keyword, value] : options) {
    if (!out.empty()) out += ' ';
    out.append(keyword).append("='");
    for (const char c : value) {
      if (c == '\'' || c == '\\') out += '\\';
      out += c;
    }
    out += '\'';
  }
  return out;
}

bool IsWordCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

}  // namespace

absl::StatusOr<ConninfoOptions> ParseConninfo(const std::string& conninfo) {
  if (!LooksLikeConninfo(conninfo)) {
    if (conninfo.empty()) return ConninfoOptions{};
    return ConninfoOptions{{"dbname", conninfo}};
  }
  char* message = nullptr;
  const std::unique_ptr<PQconninfoOption, FreeOptions> parsed(PQconninfoParse(conninfo.c_str(), &message));
  if (parsed == nullptr) {
    const std::string text = message == nullptr ? "out of memory" : ReadableParseError(message, conninfo);
    PQfreemem(message);
    return Errorf(absl::StatusCode::kInvalidArgument, "connection string: %s", text);
  }
  ConninfoOptions options;
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr && *option->val != '\0') options.emplace_back(option->keyword, option->val);
  }
  ResolveSystemAuthorities(options);
  return options;
}

std::string_view ValueOf(const ConninfoOptions& options, std::string_view keyword) {
  for (const auto& [name, value] : options) {
    if (name == keyword) return value;
  }
  return {};
}

absl::StatusOr<ChildConninfo> ConninfoForChild(const std::string& conninfo) {
  WF_ASSIGN_OR_RETURN(const ConninfoOptions options, ParseConninfo(conninfo));
  ChildConninfo child;
  ConninfoOptions open;
  for (const auto& option : options) {
    if (option.first == "password") {
      child.password = option.second;
    } else if (option.first != "sslpassword" && option.first != "replication") {
      open.push_back(option);
    }
  }
  child.conninfo = JoinConninfo(open);
  return child;
}

std::string DescribeConninfo(const std::string& conninfo) {
  const absl::StatusOr<ConninfoOptions> options = ParseConninfo(conninfo);
  if (!options.ok()) return "(a connection string that cannot be read)";
  std::string out;
  for (const std::string_view keyword : {"service", "host", "hostaddr", "port", "dbname", "user"}) {
    const std::string_view value = ValueOf(*options, keyword);
    if (value.empty()) continue;
    if (!out.empty()) out += ' ';
    out.append(keyword).append("=").append(value);
  }
  return out.empty() ? "the default server" : out;
}

bool IsLoopback(std::string_view host_or_address) {
  if (host_or_address.starts_with('/') || host_or_address.starts_with('@')) return true;
  const std::string address(host_or_address);
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  if (inet_pton(AF_INET6, address.c_str(), &v6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

std::string BlotOut(std::string_view text, std::string_view secret) {
  std::string out;
  while (!secret.empty()) {
    const std::size_t at = text.find(secret);
    if (at == std::string_view::npos) break;
    const std::size_t end = at + secret.size();
    const bool whole =
        (at == 0 || !IsWordCharacter(text[at - 1])) && (end == text.size() || !IsWordCharacter(text[end]));
    out.append(text.substr(0, at)).append(whole ? std::string_view("***") : secret);
    text.remove_prefix(end);
  }
  return out.append(text);
}

}  // namespace walferry
