// The text format LVM2 keeps its metadata in: sections in braces, keys with numbers, strings or
// lists of them, comments after '#'. Hostile input: nesting, the number of nodes and the text are
// bounded, a name that stands twice is refused, nothing recurses. Values; any thread.
//
// Format: lvm.conf(5), "SYNTAX".
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/result.h"

namespace latchkey::engine {

// A number, a string, or (nothing) a floating-point number, which no metadata needs.
using LvmValue = std::variant<std::monostate, std::int64_t, std::string>;

class LvmSection {
 public:
  // Null, or empty, where the key is absent or holds something of another kind.
  const LvmSection* section(std::string_view name) const;
  std::optional<std::uint64_t> number(std::string_view key) const;  // negative ones are absent
  const std::string* text(std::string_view key) const;
  const std::vector<LvmValue>* list(std::string_view key) const;
  // Is `word` one of the strings in that list? ("VISIBLE" in status)
  bool lists(std::string_view key, std::string_view word) const;

  // By name, in alphabetical order.
  const std::map<std::string, std::unique_ptr<LvmSection>, std::less<>>& sections() const {
    return sections_;
  }

 private:
  friend class LvmTextParser;
  struct Entry {
    bool is_list = false;
    std::vector<LvmValue> values;
  };
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, std::unique_ptr<LvmSection>, std::less<>> sections_;
};

inline constexpr std::size_t kMaxLvmTextBytes = std::size_t{16} * 1024 * 1024;
inline constexpr std::size_t kMaxLvmNodes = 500'000;
inline constexpr std::size_t kMaxLvmNesting = 16;

// kDamaged, with the line. The text ends at its first NUL.
Result<LvmSection> parse_lvm_text(std::string_view text);

}  // namespace latchkey::engine
