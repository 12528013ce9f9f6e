#include "engine/lvm/lvm_text.h"

#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "engine/bytes.h"

namespace latchkey::engine {
namespace {

constexpr std::size_t kMaxWordBytes = 256;

bool is_word(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.' || c == '+';
}

}  // namespace

const LvmSection* LvmSection::section(std::string_view name) const {
  const auto found = sections_.find(name);
  return found == sections_.end() ? nullptr : found->second.get();
}

std::optional<std::uint64_t> LvmSection::number(std::string_view key) const {
  const auto found = entries_.find(key);
  if (found == entries_.end() || found->second.is_list) return std::nullopt;
  const auto* value = std::get_if<std::int64_t>(&found->second.values.front());
  if (value == nullptr || *value < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*value);
}

const std::string* LvmSection::text(std::string_view key) const {
  const auto found = entries_.find(key);
  if (found == entries_.end() || found->second.is_list) return nullptr;
  return std::get_if<std::string>(&found->second.values.front());
}

const std::vector<LvmValue>* LvmSection::list(std::string_view key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() || !found->second.is_list ? nullptr : &found->second.values;
}

bool LvmSection::lists(std::string_view key, std::string_view word) const {
  const auto* values = list(key);
  if (values == nullptr) return false;
  for (const LvmValue& value : *values) {
    const auto* text = std::get_if<std::string>(&value);
    if (text != nullptr && *text == word) return true;
  }
  return false;
}

class LvmTextParser {
 public:
  explicit LvmTextParser(std::string_view text) : text_(text) {}

  Result<LvmSection> parse() {
    LvmSection root;
    std::vector<LvmSection*> open{&root};
    while (true) {
      skip_blanks();
      if (at_end()) break;
      if (peek() == '}') {
        if (open.size() == 1) return wrong("a section ends that never began");
        open.pop_back();
        ++at_;
        continue;
      }
      auto began = read_entry(*open.back());
      if (!began) return std::move(began).error();
      if (*began == nullptr) continue;
      open.push_back(*began);
      if (open.size() > kMaxLvmNesting) return wrong("sections nest too deeply");
    }
    if (open.size() != 1) return wrong("a section does not end");
    return root;
  }

 private:
  bool at_end() const noexcept { return at_ >= text_.size(); }
  char peek() const noexcept { return text_[at_]; }

  void skip_blanks() noexcept {
    while (!at_end()) {
      const char c = peek();
      if (c == '#') {
        while (!at_end() && peek() != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        if (c == '\n') ++line_;
        ++at_;
      } else {
        return;
      }
    }
  }

  Error wrong(const std::string& what) const {
    return {ErrorCode::kDamaged, fmt::format("metadata text, line {}: {}", line_, what)};
  }

  // One key or the beginning of a section; the section where it is one.
  Result<LvmSection*> read_entry(LvmSection& into) {
    if (++nodes_ > kMaxLvmNodes) return wrong("it has too many entries");
    const std::size_t start = at_;
    while (!at_end() && is_word(peek())) ++at_;
    std::string name(text_.substr(start, at_ - start));
    if (name.empty() || name.size() > kMaxWordBytes) return wrong("a name is expected");
    skip_blanks();
    if (at_end()) return wrong("it ends after a name");
    if (into.sections_.contains(name) || into.entries_.contains(name)) {
      return wrong(fmt::format("'{}' stands there twice", name));
    }
    if (peek() == '{') {
      ++at_;
      auto& section = into.sections_[std::move(name)];
      section = std::make_unique<LvmSection>();
      return section.get();
    }
    if (peek() != '=') return wrong("'=' or '{' is expected");
    ++at_;
    auto entry = read_values();
    if (!entry) return std::move(entry).error();
    into.entries_.emplace(std::move(name), std::move(*entry));
    return static_cast<LvmSection*>(nullptr);
  }

  Result<LvmSection::Entry> read_values() {
    LvmSection::Entry entry;
    skip_blanks();
    if (!at_end() && peek() != '[') {
      auto value = read_value();
      if (!value) return std::move(value).error();
      entry.values.push_back(std::move(*value));
      return entry;
    }
    entry.is_list = true;
    ++at_;
    while (true) {
      skip_blanks();
      if (at_end()) return wrong("a list does not end");
      if (peek() == ']') {
        ++at_;
        return entry;
      }
      auto value = read_value();
      if (!value) return std::move(value).error();
      entry.values.push_back(std::move(*value));
      skip_blanks();
      if (!at_end() && peek() == ',') {
        ++at_;
      } else if (at_end() || peek() != ']') {
        return wrong("',' or ']' is expected");
      }
    }
  }

  Result<LvmValue> read_value() {
    if (++nodes_ > kMaxLvmNodes) return wrong("it has too many entries");
    if (at_end()) return wrong("it ends before a value");
    return peek() == '"' ? read_string() : read_number();
  }

  Result<LvmValue> read_string() {
    std::string out;
    for (++at_; !at_end() && peek() != '"'; ++at_) {
      if (peek() == '\\' && ++at_ >= text_.size()) break;
      if (peek() == '\n') ++line_;
      out += peek();
    }
    if (at_end()) return wrong("a string does not end");
    ++at_;
    return LvmValue(std::move(out));
  }

  Result<LvmValue> read_number() {
    const std::size_t start = at_;
    while (!at_end() && is_word(peek())) ++at_;
    const std::string_view word = text_.substr(start, at_ - start);
    std::int64_t value = 0;
    const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (word.empty() || failed == std::errc::invalid_argument) return wrong("a value is expected");
    if (failed != std::errc()) return wrong("a number is too large");
    if (end == word.data() + word.size()) return LvmValue(value);
    if (*end == '.' && word.find_first_not_of("-.0123456789") == std::string_view::npos) {
      return LvmValue(std::monostate{});
    }
    return wrong("a value is expected");
  }

  const std::string_view text_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::size_t nodes_ = 0;
};

Result<LvmSection> parse_lvm_text(std::string_view text) {
  if (text.size() > kMaxLvmTextBytes) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("metadata text: {} bytes are more than there can be", text.size()));
  }
  return LvmTextParser(text.substr(0, text.find('\0'))).parse();
}

}  // namespace latchkey::engine
