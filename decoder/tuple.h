// TupleData: the columns of one row version, walked in place.
//
//   Int16 ncols, then per column:  'n' | 'u' | 't' Int32 len bytes | 'b' Int32 len bytes
//
// A TupleView borrows the message that it was decoded from; decoding has checked every length, so walking it
// cannot fail. Columns are in the order of the relation's columns.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html (TupleData)
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

namespace walferry {

// Four different things, never collapsed into one another. The values are the wire's
// bytes.
enum class ColumnKind : char {
  kNull = 'n',
  kUnchangedToast = 'u',
  kText = 't',
  kBinary = 'b',
};

struct ColumnView {
  ColumnKind kind = ColumnKind::kNull;
  std::string_view value;  // Empty for kNull and kUnchangedToast. Not terminated by NUL.
};

class TupleView {
 public:
  class Iterator {
   public:
    using value_type = ColumnView;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    Iterator() = default;
    Iterator(const char* position, std::uint16_t remaining) : position_(position), remaining_(remaining) {}

    ColumnView operator*() const {
      const auto kind = static_cast<ColumnKind>(*position_);
      if (!HasValue(kind)) return {kind, {}};
      return {kind, std::string_view(position_ + 5, Length())};
    }
    Iterator& operator++() {
      position_ += HasValue(static_cast<ColumnKind>(*position_)) ? 5 + Length() : 1;
      --remaining_;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.remaining_ == b.remaining_; }

   private:
    static bool HasValue(ColumnKind kind) { return kind == ColumnKind::kText || kind == ColumnKind::kBinary; }
    std::size_t Length() const {
      const auto byte = [this](int i) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>(position_[i]));
      };
      return (byte(1) << 24) | (byte(2) << 16) | (byte(3) << 8) | byte(4);
    }

    const char* position_ = nullptr;
    std::uint16_t remaining_ = 0;
  };

  TupleView() = default;
  // `columns` begins at the first column's tag. Only the decoder makes non-empty views, after checking them.
  TupleView(std::string_view columns, std::uint16_t count) : columns_(columns), count_(count) {}

  std::uint16_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  Iterator begin() const { return Iterator(columns_.data(), count_); }
  Iterator end() const { return Iterator(nullptr, 0); }
  // The columns as they stand on the wire.
  std::string_view bytes() const { return columns_; }

 private:
  std::string_view columns_;
  std::uint16_t count_ = 0;
};

}  // namespace walferry
