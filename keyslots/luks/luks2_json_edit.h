// The JSON area of a LUKS2 header changed in one place and left alone everywhere else: members and
// objects this project does not know, tokens and their order all stay as they were. Text in, text
// out; a header's text has been through parse_luks2_json() before. Pure; any thread.
//
// Errors: kNotSupported where the text holds something that would not come out again as it was (a
// number with a fraction), kDamaged where the object to change is not there.
#pragma once

#include <string>
#include <string_view>

#include "engine/result.h"
#include "keyslots/luks/luks2_metadata.h"

namespace latchkey::keyslots {

// A header's first text: the lists of `metadata`, no requirements.
std::string make_luks2_json(const Luks2Metadata& metadata);

// Puts a key slot of type luks2 in; of one that is there, everything but its own members and its
// priority is replaced. It becomes one of `digest`'s.
engine::Result<std::string> luks2_json_with_keyslot(std::string_view text, const Luks2Keyslot& slot,
                                                    unsigned digest);

// Takes a key slot out, and out of every digest and token that names it.
engine::Result<std::string> luks2_json_without_keyslot(std::string_view text, unsigned slot);

// 0: only when named, 1: normal, 2: first.
engine::Result<std::string> luks2_json_with_priority(std::string_view text, unsigned slot,
                                                     int priority);

// The same key slot with its material at another place.
engine::Result<std::string> luks2_json_with_area_at(std::string_view text, unsigned slot,
                                                    std::uint64_t offset);

// A token of a type that says no more than which key slot it belongs to.
engine::Result<std::string> luks2_json_with_token(std::string_view text, const std::string& type,
                                                  unsigned slot);

}  // namespace latchkey::keyslots
