#include "keyslots/keys/times.h"

#include <charconv>
#include <chrono>

#include <fmt/format.h>

namespace latchkey::keyslots {
namespace {

constexpr std::int64_t kSecondsADay = 86400;

// Takes exactly `digits` digits off the front.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, value);
  if (error != std::errc() || end != text.data() + digits || value < 0) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, std::string_view accepted) {
  if (text.empty() || accepted.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  if (end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "", "Z", "+02:00": seconds east of Greenwich.
std::optional<std::int64_t> parse_zone(std::string_view text) {
  if (text.empty() || text == "Z" || text == "z") return 0;
  const bool west = text.front() == '-';
  if (!take(text, "+-")) return std::nullopt;
  const auto hours = take_number(text, 2);
  take(text, ":");
  const auto minutes = take_number(text, 2);
  if (!hours || !minutes || !text.empty()) return std::nullopt;
  const std::int64_t seconds = (std::int64_t{60} * *hours + *minutes) * 60;
  return west ? -seconds : seconds;
}

std::optional<std::int64_t> parse_iso(std::string_view text) {
  const auto year = take_number(text, 4);
  if (!year || !take(text, "-")) return std::nullopt;
  const auto month = take_number(text, 2);
  if (!month || !take(text, "-")) return std::nullopt;
  const auto day = take_number(text, 2);
  if (!day || !take(text, "Tt ")) return std::nullopt;
  const auto hour = take_number(text, 2);
  if (!hour || !take(text, ":")) return std::nullopt;
  const auto minute = take_number(text, 2);
  if (!minute || !take(text, ":")) return std::nullopt;
  const auto second = take_number(text, 2);
  if (!second) return std::nullopt;
  if (take(text, ".")) {
    while (take(text, "0123456789")) {
    }
  }
  const auto zone = parse_zone(text);
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!zone || !date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * kSecondsADay + (std::int64_t{60} * *hour + *minute) * 60 + *second - *zone;
}

}  // namespace

std::string time_text(std::int64_t unix_seconds) {
  constexpr std::int64_t kYear10000 = 253402300800;
  constexpr std::int64_t kYear1000 = -30610224000;
  if (unix_seconds < kYear1000 || unix_seconds >= kYear10000) return {};
  std::int64_t days = unix_seconds / kSecondsADay;
  std::int64_t rest = unix_seconds % kSecondsADay;
  if (rest < 0) {
    rest += kSecondsADay;
    --days;
  }
  const std::chrono::year_month_day date{
      std::chrono::sys_days(std::chrono::days(static_cast<int>(days)))};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     rest / 3600, rest / 60 % 60, rest % 60);
}

std::optional<std::int64_t> parse_time(std::string_view text) {
  constexpr std::string_view kBefore = "/Date(";
  constexpr std::string_view kAfter = ")/";
  if (text.starts_with(kBefore) && text.ends_with(kAfter)) {
    const auto milliseconds =
        parse_integer(text.substr(kBefore.size(), text.size() - kBefore.size() - kAfter.size()));
    if (!milliseconds) return std::nullopt;
    return *milliseconds / 1000;
  }
  if (const auto number = parse_integer(text)) return number;
  return parse_iso(text);
}

}  // namespace latchkey::keyslots
