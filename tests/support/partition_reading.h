// Reading the partition table of a disk that a test made in memory.
#pragma once

#include <string>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/memory_device.h"
#include "engine/notices.h"
#include "engine/partitions/partition_table.h"
#include "tests/support/test_bytes.h"

namespace latchkey::test {

struct ReadTable {
  engine::PartitionTable table;
  std::string said;  // notices, one a line: "warning: where: text"
  // The partitions in sectors: "1:40+8 2:100+50".
  std::string places() const {
    std::string text;
    for (const engine::Partition& partition : table.partitions) {
      text +=
          fmt::format("{}{}:{}+{}", text.empty() ? "" : " ", partition.number,
                      partition.offset / table.sector_bytes, partition.length / table.sector_bytes);
    }
    return text;
  }
};

inline ReadTable read_table(ByteVector bytes) {
  engine::MemoryDevice disk(std::move(bytes));
  engine::Notices notices;
  auto table = engine::read_partition_table(disk, notices);
  EXPECT_TRUE(table.ok()) << table.error().message();
  ReadTable read;
  if (table.ok()) read.table = std::move(*table);
  for (const engine::Notice& notice : notices.items()) {
    const char* severity = notice.severity == engine::Notice::Severity::kNote      ? "note"
                           : notice.severity == engine::Notice::Severity::kWarning ? "warning"
                                                                                   : "damage";
    read.said += fmt::format("{}: {}: {}\n", severity, notice.where, notice.text);
  }
  return read;
}

}  // namespace latchkey::test
