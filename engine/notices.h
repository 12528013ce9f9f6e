// What a person should hear about an image besides the answer: a second header copy that is bad, a
// missing footer, a partition entry that was skipped. Parsers add to it; the command prints it.
// Not thread-safe: opening an image is done by one thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace latchkey::engine {

struct Notice {
  enum class Severity {
    kNote,     // worth knowing
    kWarning,  // something is wrong and was got around
    kDamage,   // something is wrong and could not be used
  };
  Severity severity;
  std::string where;  // "vhd footer", "partition 3", "luks2 header"
  std::string text;   // lower case, no full stop
};

class Notices {
 public:
  void note(std::string where, std::string text) {
    add(Notice::Severity::kNote, std::move(where), std::move(text));
  }
  void warn(std::string where, std::string text) {
    add(Notice::Severity::kWarning, std::move(where), std::move(text));
  }
  void damage(std::string where, std::string text) {
    add(Notice::Severity::kDamage, std::move(where), std::move(text));
  }
  // For who listens to a parser with a list of its own: to keep one of two readings, or to say in
  // which part of the image ("p2 ") all of it was.
  void append(const Notices& others, const std::string& where_prefix = "") {
    for (const Notice& notice : others.items_) {
      items_.push_back({notice.severity, where_prefix + notice.where, notice.text});
    }
  }
  const std::vector<Notice>& items() const noexcept { return items_; }
  bool has_damage() const noexcept {
    for (const Notice& notice : items_) {
      if (notice.severity == Notice::Severity::kDamage) return true;
    }
    return false;
  }

 private:
  void add(Notice::Severity severity, std::string where, std::string text) {
    items_.push_back({severity, std::move(where), std::move(text)});
  }
  std::vector<Notice> items_;
};

}  // namespace latchkey::engine
