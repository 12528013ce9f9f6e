// Volumes made by others: the rows of expected.tsv, in the folder that LATCHKEY_CORPUS names.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "keyslots/digest.h"
#include "tests/keyslots/volume_fixture.h"

namespace latchkey::test {

struct CorpusRow {
  std::string file, kind, secret, expect, bytes, digest;
};

// Those whose file is in `group`, "luks/" for one; none where the folder is not there.
inline std::vector<CorpusRow> corpus_rows(const std::filesystem::path& folder,
                                          std::string_view group) {
  std::vector<CorpusRow> rows;
  std::ifstream in(folder / "expected.tsv");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(group)) continue;
    std::istringstream fields(line);
    CorpusRow row;
    for (std::string* field :
         {&row.file, &row.kind, &row.secret, &row.expect, &row.bytes, &row.digest}) {
      std::getline(fields, *field, '\t');
    }
    rows.push_back(row);
  }
  return rows;
}

inline std::string sha256_of(engine::BlockDevice& device) {
  const ByteVector bytes = all_bytes(device);
  auto digest = keyslots::Digest::find("sha256");
  keyslots::Hasher hasher(*digest);
  ByteVector sum(32);
  EXPECT_TRUE(hasher.hash({bytes}, sum));
  std::string hex;
  for (const std::byte b : sum) hex += fmt::format("{:02x}", std::to_integer<unsigned>(b));
  return hex;
}

}  // namespace latchkey::test
