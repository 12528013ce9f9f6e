#include "engine/partitions/partition_types.h"

#include <array>

namespace latchkey::engine {
namespace {

struct GptType {
  std::string_view guid;
  std::string_view name;
};

// UEFI specification 2.10 table 5.7, Microsoft's partition GUIDs, and the UAPI group's
// Discoverable Partitions Specification for what Linux uses.
constexpr std::array kGptTypes = {
    GptType{"c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI system partition"},
    GptType{"21686148-6449-6e6f-744e-656564454649", "BIOS boot"},
    GptType{"e3c9e316-0b5c-4db8-817d-f92df00215ae", "Microsoft reserved"},
    GptType{"ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "Microsoft basic data"},
    GptType{"de94bba4-06d1-4d40-a16a-bfd50179d6ac", "Windows recovery environment"},
    GptType{"5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "Microsoft LDM metadata"},
    GptType{"af9b60a0-1431-4f62-bc68-3311714a69ad", "Microsoft LDM data"},
    GptType{"e75caf8f-f680-4cee-afa3-b001e56efc2d", "Microsoft storage spaces"},
    GptType{"0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux filesystem"},
    GptType{"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "Linux swap"},
    GptType{"e6d6d379-f507-44c2-a23c-238f2a3df928", "Linux LVM"},
    GptType{"a19d880f-05fc-4d3b-a006-743f0f84911e", "Linux RAID"},
    GptType{"ca7d7ccb-63ed-4c53-861c-1742536059cc", "Linux LUKS"},
    GptType{"7ffec5c9-2d00-49b7-8941-3ea10a5586b7", "Linux dm-crypt"},
    GptType{"44479540-f297-41b2-9af7-d131d5f0458a", "Linux root (x86)"},
    GptType{"4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "Linux root (x86-64)"},
    GptType{"b921b045-1df0-41c3-af44-4c6f280d3fae", "Linux root (ARM-64)"},
    GptType{"8484680c-9521-48c6-9c11-b0720656f69e", "Linux /usr (x86-64)"},
    GptType{"b0e01050-ee5f-4390-949a-9101b17104e9", "Linux /usr (ARM-64)"},
    GptType{"933ac7e1-2eb4-4f13-b844-0e14e2aef915", "Linux home"},
    GptType{"773f91ef-66d4-49b5-bd83-d683bf40ad16", "Linux user's home"},
    GptType{"3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "Linux server data"},
    GptType{"4d21b016-b534-45c2-a9fb-5c16e091fd2d", "Linux variable data"},
    GptType{"7ec6f557-3bc5-4aca-b293-16ef5df639d1", "Linux temporary data"},
    GptType{"bc13c2ff-59e6-4262-a352-b275fd6f7172", "Linux extended boot"},
    GptType{"8da63339-0007-60c0-c436-083ac8230908", "Linux reserved"},
    GptType{"48465300-0000-11aa-aa11-00306543ecac", "Apple HFS+"},
    GptType{"7c3457ef-0000-11aa-aa11-00306543ecac", "Apple APFS"},
    GptType{"516e7cb6-6ecf-11d6-8ff8-00022d09712b", "FreeBSD UFS"},
    GptType{"516e7cba-6ecf-11d6-8ff8-00022d09712b", "FreeBSD ZFS"},
};

}  // namespace

std::string_view gpt_type_name(std::string_view guid) noexcept {
  for (const GptType& type : kGptTypes) {
    if (type.guid == guid) return type.name;
  }
  return {};
}

std::string_view mbr_type_name(std::uint8_t type) noexcept {
  switch (type) {
    case 0x01:
      return "FAT12";
    case 0x04:
    case 0x06:
      return "FAT16";
    case 0x0e:
      return "FAT16 (LBA)";
    case 0x0b:
      return "FAT32";
    case 0x0c:
      return "FAT32 (LBA)";
    case 0x07:
      return "NTFS or exFAT";
    case 0x27:
      return "Windows recovery environment";
    case 0x42:
      return "Windows dynamic disk";
    case 0x82:
      return "Linux swap";
    case 0x83:
      return "Linux filesystem";
    case 0x8e:
      return "Linux LVM";
    case 0xfd:
      return "Linux RAID";
    case 0xe8:
      return "Linux LUKS";
    case 0xea:
      return "Linux extended boot";
    case 0xa5:
      return "FreeBSD";
    case 0xa6:
      return "OpenBSD";
    case 0xa9:
      return "NetBSD";
    case 0xaf:
      return "Apple HFS+";
    case 0xef:
      return "EFI system partition";
    default:
      return {};
  }
}

}  // namespace latchkey::engine
