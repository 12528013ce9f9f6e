#include "engine/containers/container.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "engine/containers/foreign_formats.h"
#include "engine/containers/vhd.h"
#include "engine/read_bytes.h"

namespace latchkey::engine {
namespace {

using FilePtr = std::shared_ptr<GrowableDevice>;
using Probed = Result<std::optional<Container>>;

Probed probe_foreign(const FilePtr& file, Notices&) {
  auto head = read_bytes(*file, 0, std::min<std::uint64_t>(file->size_bytes(), kForeignProbeBytes),
                         "start of the file");
  if (!head) return std::move(head).error();
  if (auto refused = refuse_foreign_format(*head)) return std::move(*refused);
  return std::optional<Container>();
}

Probed probe_raw(const FilePtr& file, Notices&) {
  return std::optional(Container{"raw", {}, file, {}});
}

struct Probe {
  Probed (*open)(const FilePtr&, Notices&);
};

// In this order; raw takes everything, so it is last.
constexpr std::array kProbes = {Probe{open_vhd}, Probe{probe_foreign}, Probe{probe_raw}};

bool ends_with_no_case(std::string_view name, std::string_view suffix) {
  return name.size() >= suffix.size() &&
         std::equal(suffix.begin(), suffix.end(),
                    name.end() - static_cast<std::ptrdiff_t>(suffix.size()),
                    [](char wanted, char held) {
                      return wanted == std::tolower(static_cast<unsigned char>(held));
                    });
}

// A fixed VHD that lost its footer looks like any raw disk; only its name still tells.
void warn_of_promised_format(std::string_view file_name, Notices& notices) {
  if (ends_with_no_case(file_name, ".vhd")) {
    notices.warn("vhd footer",
                 "missing at the end of the file: opened as a raw disk. a download that stopped "
                 "early looks like this, and lacks the end of the disk too");
  } else if (ends_with_no_case(file_name, ".vhdx")) {
    notices.warn("vhdx", "the file does not begin with a VHDX signature: opened as a raw disk");
  }
}

}  // namespace

Result<Container> open_container(const std::shared_ptr<GrowableDevice>& file, Notices& notices,
                                 std::string_view file_name) {
  for (const Probe& probe : kProbes) {
    auto container = probe.open(file, notices);
    if (!container) return std::move(container).error();
    if (!container->has_value()) continue;
    if ((*container)->format == "raw") warn_of_promised_format(file_name, notices);
    return std::move(**container);
  }
  return Error(ErrorCode::kNotSupported, "no image format fits");
}

}  // namespace latchkey::engine
