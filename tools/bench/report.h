// What a benchmark has found out, and the three ways to show it: a table for a person, JSON for a
// program, a picture. Values; whatever is text is printable.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/result.h"
#include "tools/bench/machine.h"
#include "tools/bench/statistics.h"

namespace latchkey::tools::bench {

// For programs, in reading order: {"cipher", "aes-xts-plain64"}, {"sector_bytes", 4096U}.
using Fact = std::variant<std::string, std::uint64_t>;
using Facts = std::vector<std::pair<std::string, Fact>>;

// A figure beside the rate: "x OpenSSL".
struct Column {
  std::string key;    // in JSON: "x_openssl"
  std::string title;  // in the table: "x OpenSSL"
  std::string after;  // in the picture, behind the number: " x OpenSSL", "% of limit"
  int decimals = 0;
};

struct Row {
  std::string label;       // "decrypt, avx512": for people
  Facts facts;             // the same for programs: {"what", "decrypt"}, {"variant", "avx512"}
  Summary summary;         // in the table's unit
  bool reference = false;  // a limit or somebody else's: drawn in another colour
  std::vector<std::optional<double>> others;  // one a column
};

struct Table {
  std::string heading;  // "aes-xts-plain64, 512-bit key, 4096-byte sectors"
  Facts facts;
  std::string unit;      // "GB/s"
  std::string unit_key;  // "gb_per_s"
  int decimals = 2;
  std::vector<Column> columns;
  std::vector<Row> rows;
  std::string conclusion;  // one line below it; may be empty
};

struct Report {
  std::string benchmark;  // "cipher", "image"
  std::string title;
  Machine machine;
  Facts settings;                  // for programs
  std::vector<std::string> how;    // the same for people
  std::vector<std::string> notes;  // what has to be known to read it; one line each
  std::vector<Table> tables;

  bool noisy() const;
};

std::string report_text(const Report& report);
std::string report_json(const Report& report);
std::string report_svg(const Report& report);

// "a result is called noisy where ...", for text and picture.
std::string noise_criterion();

// May --svg write there? kUsage where the file exists and `force` does not allow that; found out
// before anything is measured.
engine::Result<void> check_picture_place(const std::string& path, bool force);
// What could not be written whole is removed again.
engine::Result<void> write_picture(const std::string& path, bool force, const std::string& svg);

}  // namespace latchkey::tools::bench
