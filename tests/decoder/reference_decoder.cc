#include "tests/decoder/reference_decoder.h"

#include <cstdint>
#include <map>
#include <sstream>

namespace walferry {
namespace {

enum class Where { kOutside, kInside, kAnywhere };

struct Layout {
  Where where;
  // Words: name:SIZE is an integer of so many bytes, name:1<=N one whose value has bits of N only; name:KIND
  // something that Interpreter has a function for; 'x' is that byte.
  std::string words;
};

// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
const std::map<char, Layout>& Layouts() {
  static const std::map<char, Layout> layouts = {
      {'B', {Where::kOutside, "final_lsn:8 time:8 xid:4"}},
      {'C', {Where::kOutside, "_:1<=0 commit_lsn:8 end_lsn:8 time:8"}},
      {'O', {Where::kAnywhere, "lsn:8 name:string"}},
      {'R',
       {Where::kAnywhere, "sub:xid relation:4 schema:schema name:string identity:identity columns:columns"}},
      {'Y', {Where::kAnywhere, "sub:xid type:4 schema:schema name:string"}},
      {'I', {Where::kAnywhere, "sub:xid relation:4 'N' new:tuple"}},
      {'U', {Where::kAnywhere, "sub:xid relation:4 old:tuple_if_any 'N' new:tuple"}},
      {'D', {Where::kAnywhere, "sub:xid relation:4 old:old_tuple"}},
      {'T', {Where::kAnywhere, "sub:xid relations:truncated"}},
      {'M', {Where::kAnywhere, "sub:xid transactional:1<=1 lsn:8 prefix:string content:value"}},
      {'S', {Where::kOutside, "xid:4 first:1<=1"}},
      {'E', {Where::kInside, ""}},
      {'c', {Where::kOutside, "xid:4 _:1<=0 commit_lsn:8 end_lsn:8 time:8"}},
      {'A', {Where::kOutside, "xid:4 subxid:4 abort:abort"}},
      {'b', {Where::kOutside, "prepare_lsn:8 end_lsn:8 time:8 xid:4 gid:string"}},
      {'P', {Where::kOutside, "_:1<=0 prepare_lsn:8 end_lsn:8 time:8 xid:4 gid:string"}},
      {'K', {Where::kOutside, "_:1<=0 commit_lsn:8 end_lsn:8 time:8 xid:4 gid:string"}},
      {'r',
       {Where::kOutside,
        "_:1<=0 prepare_end:8 rollback_end:8 prepare_time:8 rollback_time:8 xid:4 gid:string"}},
      {'p', {Where::kOutside, "_:1<=0 prepare_lsn:8 end_lsn:8 time:8 xid:4 gid:string"}},
  };
  return layouts;
}

class Interpreter {
 public:
  Interpreter(std::string_view payload, Streaming streaming, bool in_stream)
      : left_(payload), streaming_(streaming), in_stream_(in_stream) {}

  std::optional<FieldList> Run() {
    const char type = static_cast<char>(Take());
    const auto layout = Layouts().find(type);
    if (bad_ || layout == Layouts().end()) return std::nullopt;
    if (layout->second.where == Where::kOutside && in_stream_) return std::nullopt;
    if (layout->second.where == Where::kInside && !in_stream_) return std::nullopt;
    fields_.emplace_back(1, type);
    std::istringstream words(layout->second.words);
    for (std::string word; words >> word;) Field(word);
    if (bad_ || !left_.empty()) return std::nullopt;
    return fields_;
  }

 private:
  void Field(const std::string& word) {
    if (word[0] == '\'') {
      if (Take() != word[1]) bad_ = true;
      return;
    }
    const std::string name = word.substr(0, word.find(':'));
    const std::string kind = word.substr(word.find(':') + 1);
    if (kind == "xid") return in_stream_ ? Add(name, std::to_string(Number(4))) : Add(name, "none");
    if (kind == "string") return Add(name, String());
    if (kind == "schema") return Schema(name);
    if (kind == "identity") return Identity(name);
    if (kind == "columns") return Columns(name);
    if (kind == "tuple") return Tuple(name);
    if (kind == "old_tuple") return OldTuple(name);
    if (kind == "tuple_if_any") return OldTupleIfAny(name);
    if (kind == "truncated") return Truncated(name);
    if (kind == "value") return Add(name, Take(Number(4)));
    if (kind == "abort") return Abort(name);
    Integer(name, kind);
  }

  void Integer(const std::string& name, const std::string& kind) {
    const std::uint64_t value = Number(kind[0] - '0');
    if (kind.size() > 1 && (value & ~std::stoull(kind.substr(3))) != 0) bad_ = true;
    if (name != "_") Add(name, std::to_string(value));
  }

  void Schema(const std::string& name) {
    const std::string schema = String();
    Add(name, schema.empty() ? "pg_catalog" : schema);
  }

  void Identity(const std::string& name) {
    const std::string identity(1, static_cast<char>(Take()));
    if (std::string("dnfi").find(identity) == std::string::npos) bad_ = true;
    Add(name, identity);
  }

  void Columns(const std::string& name) {
    const std::uint64_t count = Count();
    Add(name, std::to_string(count));
    for (std::uint64_t i = 0; i < count && !bad_; ++i) {
      Integer("key", "1<=1");
      Add("name", String());
      Integer("type", "4");
      Integer("typmod", "4");
    }
  }

  void Tuple(const std::string& name) {
    const std::uint64_t count = Count();
    Add(name, std::to_string(count));
    for (std::uint64_t i = 0; i < count && !bad_; ++i) {
      const std::string tag(1, static_cast<char>(Take()));
      if (tag == "t" || tag == "b") {
        Add(tag, Take(Number(4)));
      } else if (tag == "n" || tag == "u") {
        Add(tag, "");
      } else {
        bad_ = true;
      }
    }
  }

  void OldTuple(const std::string& name) {
    const std::string kind(1, static_cast<char>(Take()));
    if (kind != "K" && kind != "O") bad_ = true;
    Add("old_kind", kind);
    Tuple(name);
  }

  void OldTupleIfAny(const std::string& name) {
    if (!left_.empty() && left_[0] != 'N') return OldTuple(name);
    Add("old_kind", "none");
    Add(name, "0");
  }

  void Truncated(const std::string& name) {
    const std::uint64_t count = Number(4);
    Add(name, std::to_string(count));
    Integer("flags", "1<=3");
    for (std::uint64_t i = 0; i < count && !bad_; ++i) Integer("relation", "4");
  }

  void Abort(const std::string&) {
    Add("lsn", streaming_ == Streaming::kParallel ? std::to_string(Number(8)) : "0");
    Add("time", streaming_ == Streaming::kParallel ? std::to_string(Number(8)) : "0");
  }

  // Int16 in the manual: signed.
  std::uint64_t Count() {
    const std::uint64_t count = Number(2);
    if (count >= 0x8000) bad_ = true;
    return count;
  }

  std::uint64_t Number(int size_bytes) {
    std::uint64_t number = 0;
    for (int i = 0; i < size_bytes; ++i) number = number * 256 + static_cast<std::uint64_t>(Take());
    return number;
  }

  std::string String() {
    std::string text;
    while (!bad_) {
      const int byte = Take();
      if (byte == 0) break;
      text += static_cast<char>(byte);
    }
    return text;
  }

  std::string Take(std::uint64_t length) {
    std::string bytes;
    for (std::uint64_t i = 0; i < length && !bad_; ++i) bytes += static_cast<char>(Take());
    return bytes;
  }

  int Take() {
    if (left_.empty()) {
      bad_ = true;
      return 0;
    }
    const int byte = static_cast<unsigned char>(left_[0]);
    left_.remove_prefix(1);
    return byte;
  }

  void Add(const std::string& name, const std::string& value) { fields_.push_back(name + "=" + value); }

  std::string_view left_;
  Streaming streaming_;
  bool in_stream_;
  bool bad_ = false;
  FieldList fields_;
};

}  // namespace

std::optional<FieldList> ReferenceDecode(std::string_view payload, Streaming streaming, bool in_stream) {
  return Interpreter(payload, streaming, in_stream).Run();
}

}  // namespace walferry
