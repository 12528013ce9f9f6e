#include <algorithm>

#include <fmt/format.h>

#include "tools/bench/report.h"

namespace latchkey::tools::bench {
namespace {

std::string number(double value, int decimals) {
  return fmt::format("{:.{}f}", value, decimals);
}

// The rows of a table as cells, its titles first.
std::vector<std::vector<std::string>> cells_of(const Table& table) {
  std::vector<std::vector<std::string>> lines;
  std::vector<std::string> titles{"", table.unit, "lowest", "highest"};
  for (const Column& column : table.columns) titles.push_back(column.title);
  titles.emplace_back();
  lines.push_back(std::move(titles));
  for (const Row& row : table.rows) {
    std::vector<std::string> line{row.label, number(row.summary.median, table.decimals),
                                  number(row.summary.lowest, table.decimals),
                                  number(row.summary.highest, table.decimals)};
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      const auto& other = row.others.at(i);
      line.push_back(other ? number(*other, table.columns[i].decimals) : "");
    }
    line.emplace_back(row.summary.noisy() ? "noisy" : "");
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string table_text(const Table& table) {
  const auto lines = cells_of(table);
  std::vector<std::size_t> widths(lines.front().size(), 0);
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string out = table.heading + "\n";
  for (const auto& line : lines) {
    std::string text = fmt::format("  {:<{}}", line.front(), widths.front());
    for (std::size_t i = 1; i + 1 < line.size(); ++i) {
      text += fmt::format("  {:>{}}", line[i], widths[i]);
    }
    if (!line.back().empty()) text += "  " + line.back();
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  }
  if (!table.conclusion.empty()) out += "  " + table.conclusion + "\n";
  return out;
}

}  // namespace

bool Report::noisy() const {
  return std::any_of(tables.begin(), tables.end(), [](const Table& table) {
    return std::any_of(table.rows.begin(), table.rows.end(),
                       [](const Row& row) { return row.summary.noisy(); });
  });
}

std::string noise_criterion() {
  return fmt::format(
      "noisy: the middle half of the repetitions spreads over more than {:.0f}% of the median",
      kNoisySpread * 100);
}

std::string report_text(const Report& report) {
  std::string out = fmt::format("{}\n{}\n", report.title, report.machine.describe());
  for (const std::string& line : report.how) out += line + "\n";
  for (const Table& table : report.tables) out += "\n" + table_text(table);
  if (!report.notes.empty() || report.noisy()) out += "\n";
  for (const std::string& note : report.notes) out += note + "\n";
  if (report.noisy()) out += noise_criterion() + "\n";
  return out;
}

}  // namespace latchkey::tools::bench
