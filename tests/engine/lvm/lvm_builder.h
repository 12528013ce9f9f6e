// Makes LVM2 physical volumes in memory, without the code under test.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/bytes.h"
#include "tests/support/test_bytes.h"
#include "tests/support/vhd_builder.h"

namespace latchkey::test {

// Bit by bit, where the engine has a table.
inline std::uint32_t slow_lvm_crc(const ByteVector& bytes, std::size_t at, std::size_t length) {
  std::uint32_t crc = 0xf597a6cf;
  for (std::size_t i = at; i < at + length; ++i) {
    crc ^= std::to_integer<std::uint32_t>(bytes[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xedb88320 : crc >> 1;
  }
  return crc;
}

struct LvmVolume {
  std::string raw_uuid = std::string(32, 'a');
  std::size_t bytes = std::size_t{4} * 1024 * 1024;
  std::size_t label_sector = 1;
  std::vector<std::size_t> areas = {4096};  // where metadata areas begin
  std::size_t area_bytes = std::size_t{64} * 1024;
  std::size_t text_at = 512;  // in the area; near its end it wraps
  std::string text;
};

inline std::string dashed(const std::string& raw) {
  return raw.substr(0, 6) + "-" + raw.substr(6, 4) + "-" + raw.substr(10, 4) + "-" +
         raw.substr(14, 4) + "-" + raw.substr(18, 4) + "-" + raw.substr(22, 4) + "-" +
         raw.substr(26);
}

inline void seal_label(ByteVector& disk, std::size_t sector) {
  put_le(disk, sector * 512 + 16, slow_lvm_crc(disk, sector * 512 + 20, 492));
}

inline void seal_area(ByteVector& disk, std::size_t at) {
  put_le(disk, at, slow_lvm_crc(disk, at + 4, 508));
}

inline void put_area(ByteVector& disk, const LvmVolume& volume, std::size_t at) {
  put_text(disk, at + 4, " LVM2 x[5A%r0N*>");
  put_le<std::uint32_t>(disk, at + 20, 1);
  put_le<std::uint64_t>(disk, at + 24, at);
  put_le<std::uint64_t>(disk, at + 32, volume.area_bytes);
  if (!volume.text.empty()) {
    put_le<std::uint64_t>(disk, at + 40, volume.text_at);
    put_le<std::uint64_t>(disk, at + 48, volume.text.size());
    ByteVector text(volume.text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
      text[i] = static_cast<std::byte>(volume.text[i]);
      std::size_t to = volume.text_at + i;
      if (to >= volume.area_bytes) to = to - volume.area_bytes + 512;
      disk[at + to] = text[i];
    }
    put_le(disk, at + 56, slow_lvm_crc(text, 0, text.size()));
  }
  seal_area(disk, at);
}

inline ByteVector make_physical_volume(const LvmVolume& volume) {
  ByteVector disk(volume.bytes);
  const std::size_t label = volume.label_sector * 512;
  put_text(disk, label, "LABELONE");
  put_le<std::uint64_t>(disk, label + 8, volume.label_sector);
  put_le<std::uint32_t>(disk, label + 20, 32);
  put_text(disk, label + 24, "LVM2 001");
  put_text(disk, label + 32, volume.raw_uuid);
  put_le<std::uint64_t>(disk, label + 64, volume.bytes);
  put_le<std::uint64_t>(disk, label + 72, std::uint64_t{1024} * 1024);  // one data area
  std::size_t at = label + 72 + 32;
  for (const std::size_t area : volume.areas) {
    put_le<std::uint64_t>(disk, at, area);
    put_le<std::uint64_t>(disk, at + 8, volume.area_bytes);
    put_area(disk, volume, area);
    at += 16;
  }
  seal_label(disk, volume.label_sector);
  return disk;
}

// Extents of 64 KiB, from 1 MiB on, 48 of them.
struct GroupText {
  std::string name = "vg";
  std::string uuid = "GROUP1";
  std::string seqno = "7";
  std::string extent_size = "128";
  std::string status = R"(["RESIZEABLE", "READ", "WRITE"])";
  std::vector<std::string> physical;  // sections
  std::vector<std::string> logical;   // sections

  std::string text() const {
    std::string out = name + " {\nid = \"" + uuid + "\"\nseqno = " + seqno +
                      "\nformat = \"lvm2\"\nstatus = " + status +
                      "\nflags = []\nextent_size = " + extent_size +
                      "\nmax_lv = 0\nphysical_volumes {\n";
    for (const std::string& one : physical) out += one;
    out += "}\nlogical_volumes {\n";
    for (const std::string& one : logical) out += one;
    return out +
           "}\n}\n# made by a test\ncontents = \"Text Format Volume Group\"\nversion = 1\n"
           "description = \"\"\ncreation_time = 1700000000\n";
  }
};

inline std::string physical_section(const std::string& name, const std::string& raw_uuid,
                                    const std::string& start = "2048",
                                    const std::string& count = "48",
                                    const std::string& flags = "[]") {
  return name + " {\nid = \"" + dashed(raw_uuid) +
         "\"\ndevice = \"/dev/sda4\"\nstatus = [\"ALLOCATABLE\"]\nflags = " + flags +
         "\ndev_size = 8192\npe_start = " + start + "\npe_count = " + count + "\n}\n";
}

struct SegmentText {
  std::string start = "0";
  std::string count = "1";
  std::string type = "striped";
  std::string more = "stripe_count = 1\nstripes = [\"pv0\", 0]";
};

inline std::string on(const std::string& physical, int first) {
  return "stripe_count = 1\nstripes = [\"" + physical + "\", " + std::to_string(first) + "]";
}

inline std::string logical_section(const std::string& name,
                                   const std::vector<SegmentText>& segments,
                                   const std::string& status = R"(["READ", "WRITE", "VISIBLE"])") {
  std::string out = name + " {\nid = \"LV-" + name + "\"\nstatus = " + status +
                    "\nflags = []\nsegment_count = " + std::to_string(segments.size()) + "\n";
  int number = 0;
  for (const SegmentText& one : segments) {
    out += "segment" + std::to_string(++number) + " {\nstart_extent = " + one.start +
           "\nextent_count = " + one.count + "\ntype = \"" + one.type + "\"\n" + one.more + "\n}\n";
  }
  return out + "}\n";
}

}  // namespace latchkey::test
