#include "engine/containers/foreign_formats.h"

#include <array>
#include <string_view>

#include <fmt/format.h>

namespace latchkey::engine {
namespace {

struct Magic {
  std::string_view bytes;
  std::size_t at;
  std::string_view name;
  std::string_view qemu_name;  // what qemu-img calls it
};

using namespace std::string_view_literals;

constexpr std::array kMagics = {
    Magic{"vhdxfile"sv, 0, "VHDX", "vhdx"},
    Magic{"QFI\xfb"sv, 0, "QCOW2", "qcow2"},
    Magic{"KDMV"sv, 0, "VMDK (sparse)", "vmdk"},
    Magic{"COWD"sv, 0, "VMDK (ESX sparse)", "vmdk"},
    Magic{"# Disk DescriptorFile"sv, 0, "VMDK (descriptor)", "vmdk"},
    Magic{"\x7f\x10\xda\xbe"sv, 64, "VDI", "vdi"},
    Magic{"QED\0"sv, 0, "QED", "qed"},
    Magic{"WithoutFreeSpace"sv, 0, "Parallels HDD", "parallels"},
    Magic{"WithouFreSpacExt"sv, 0, "Parallels HDD", "parallels"},
};

// What an image is sent or kept in.
struct Wrapping {
  std::string_view bytes;
  std::size_t at;
  std::string_view name;
  std::string_view unpack;  // the command that takes it out
};

constexpr std::array kWrappings = {
    Wrapping{"\x1f\x8b\x08"sv, 0, "gzip file", "gunzip -k IMAGE"},
    Wrapping{"\xfd"
             "7zXZ\0"sv,
             0, "xz file", "xz -dk IMAGE"},
    Wrapping{"\x28\xb5\x2f\xfd"sv, 0, "zstd file", "zstd -d IMAGE"},
    Wrapping{"1AY&SY"sv, 4, "bzip2 file", "bunzip2 -k IMAGE"},
    Wrapping{"PK\3\4"sv, 0, "zip archive", "unzip IMAGE"},
    Wrapping{"7z\xbc\xaf\x27\x1c"sv, 0, "7z archive", "7z x IMAGE"},
    Wrapping{"ustar"sv, 257, "tar archive", "tar -xf IMAGE"},
};

}  // namespace

std::optional<Error> refuse_foreign_format(Bytes head) {
  for (const Wrapping& wrapping : kWrappings) {
    if (!starts_with(head, wrapping.at, wrapping.bytes)) continue;
    return Error(ErrorCode::kNotSupported, fmt::format("this is a {}, not an image", wrapping.name))
        .with_hint(fmt::format("take the image out of it first: {}", wrapping.unpack));
  }
  for (const Magic& magic : kMagics) {
    if (!starts_with(head, magic.at, magic.bytes)) continue;
    return Error(ErrorCode::kNotSupported,
                 fmt::format("this is a {} image, which is not supported yet", magic.name))
        .with_hint(
            fmt::format("convert a copy first: qemu-img convert -f {} -O raw IMAGE IMAGE.raw",
                        magic.qemu_name));
  }
  return std::nullopt;
}

}  // namespace latchkey::engine
