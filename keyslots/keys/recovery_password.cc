#include "keyslots/keys/recovery_password.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "keyslots/keys/secret_text.h"

namespace latchkey::keyslots {

using engine::Bytes;
using engine::SecretBytes;

namespace {

constexpr std::size_t kMostPasswords = 32;
constexpr std::size_t kDigits = kRecoveryGroups * kRecoveryGroupDigits;

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

// How long the separator of groups is that begins at `at`; 0: none does. Word and mail programs
// make other dashes of those that were typed.
std::size_t separator_at(std::string_view text, std::size_t at) {
  using namespace std::string_view_literals;
  constexpr std::array kSeparators = {"-"sv,      " "sv,      "\t"sv,     "\r"sv,
                                      "\n"sv,     "\u00a0"sv, "\u2010"sv, "\u2011"sv,
                                      "\u2012"sv, "\u2013"sv, "\u2014"sv, "\u2212"sv};
  for (const std::string_view separator : kSeparators) {
    if (text.substr(at).starts_with(separator)) return separator.size();
  }
  return 0;
}

// The end of a recovery password that begins at `at`, and its digits; 0: none does.
std::size_t match_recovery_password(std::string_view text, std::size_t at, std::byte* digits) {
  constexpr std::size_t kMostBetween = 3;
  for (std::size_t group = 0; group < kRecoveryGroups; ++group) {
    if (group > 0) {
      *digits++ = std::byte{'-'};
      std::size_t between = 0;
      while (between < kMostBetween && at < text.size()) {
        const std::size_t length = separator_at(text, at);
        if (length == 0) break;
        ++between;
        at += length;
      }
    }
    for (std::size_t i = 0; i < kRecoveryGroupDigits; ++i, ++at) {
      if (at >= text.size() || !is_digit(text[at])) return 0;
      *digits++ = static_cast<std::byte>(text[at]);
    }
  }
  return at < text.size() && is_digit(text[at]) ? 0 : at;
}

std::vector<std::string_view> groups_of(std::string_view text) {
  std::vector<std::string_view> groups;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = separator_at(text, at);
    if (length == 0) {
      ++at;
      continue;
    }
    if (at > begin) groups.push_back(text.substr(begin, at - begin));
    at += length;
    begin = at;
  }
  if (text.size() > begin) groups.push_back(text.substr(begin));
  return groups;
}

std::string slip_in_group(std::string_view group, std::size_t number) {
  if (!std::all_of(group.begin(), group.end(), is_digit)) {
    return fmt::format("group {} has something else in it than digits", number);
  }
  if (group.size() != kRecoveryGroupDigits) {
    return fmt::format("group {} has {} digits, not 6", number, group.size());
  }
  unsigned value = 0;
  for (const char c : group) value = value * 10 + static_cast<unsigned>(c - '0');
  if (value % kRecoveryGroupDivisor == 0) return {};
  return fmt::format("group {} was mistyped: it is not a multiple of 11", number);
}

// Nothing but digits, or nearly; other texts are passphrases.
bool is_nearly_digits(const std::vector<std::string_view>& groups) {
  constexpr std::size_t kLeastDigits = 36;
  constexpr std::size_t kMostOthers = 4;
  std::size_t digits = 0;
  std::size_t others = 0;
  for (const std::string_view group : groups) {
    for (const char c : group) ++(is_digit(c) ? digits : others);
  }
  return digits >= kLeastDigits && others <= kMostOthers;
}

}  // namespace

std::vector<RecoveryPassword> find_recovery_passwords(Bytes bytes) {
  const std::string_view text = as_text(bytes);
  std::vector<RecoveryPassword> found;
  std::string id;
  for (std::size_t at = 0; at < text.size() && found.size() < kMostPasswords; ++at) {
    if (std::string guid = find_guid(text.substr(at, kGuidLength)); !guid.empty()) {
      id = std::move(guid);
      at += kGuidLength - 1;
      continue;
    }
    if (!is_digit(text[at]) || (at > 0 && is_digit(text[at - 1]))) continue;
    SecretBytes digits(kDigits + kRecoveryGroups - 1);
    const std::size_t end = match_recovery_password(text, at, digits.data());
    if (end == 0) continue;
    found.push_back({std::move(digits), id});
    at = end - 1;
  }
  return found;
}

std::string slip_in_recovery_password(Bytes bytes) {
  constexpr std::size_t kMostBytes = 128;
  if (bytes.size() > kMostBytes) return {};
  std::vector<std::string_view> groups = groups_of(as_text(bytes));
  if (!is_nearly_digits(groups)) return {};
  if (groups.size() == 1 && groups[0].size() == kDigits) {  // typed without separators
    const std::string_view all = groups[0];
    groups.clear();
    for (std::size_t at = 0; at < kDigits; at += kRecoveryGroupDigits) {
      groups.push_back(all.substr(at, kRecoveryGroupDigits));
    }
  }
  if (groups.size() == 1) {
    if (!std::all_of(groups[0].begin(), groups[0].end(), is_digit)) {
      return "it has something else in it than digits";
    }
    return fmt::format("it has {} digits, not 48", groups[0].size());
  }
  if (groups.size() != kRecoveryGroups) {
    return fmt::format("it has {} groups of digits, not 8", groups.size());
  }
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (std::string slip = slip_in_group(groups[i], i + 1); !slip.empty()) return slip;
  }
  return {};
}

}  // namespace latchkey::keyslots
