// What is made of measurements: medians and how far they spread, each layer's share, and the three
// ways in which a report is shown.
#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/test_bytes.h"
#include "tools/bench/report.h"
#include "tools/bench/shares.h"
#include "tools/bench/statistics.h"

namespace latchkey::tools::bench {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Statistics, MedianAndQuartiles) {
  const Summary odd = summarize({5, 1, 3, 2, 4});
  EXPECT_EQ(5U, odd.count);
  EXPECT_DOUBLE_EQ(3, odd.median);
  EXPECT_DOUBLE_EQ(1, odd.lowest);
  EXPECT_DOUBLE_EQ(5, odd.highest);
  EXPECT_DOUBLE_EQ(2, odd.lower_quartile);
  EXPECT_DOUBLE_EQ(4, odd.upper_quartile);
  const Summary even = summarize({4, 1, 3, 2});
  EXPECT_DOUBLE_EQ(2.5, even.median);
  EXPECT_DOUBLE_EQ(1.75, even.lower_quartile);
  EXPECT_DOUBLE_EQ(3.25, even.upper_quartile);
  const Summary one = summarize({7});
  EXPECT_DOUBLE_EQ(7, one.median);
  EXPECT_DOUBLE_EQ(7, one.lower_quartile);
  EXPECT_DOUBLE_EQ(7, one.highest);
  const Summary none = summarize({});
  EXPECT_EQ(0U, none.count);
  EXPECT_DOUBLE_EQ(0, none.median);
  EXPECT_FALSE(none.noisy());
}

TEST(Statistics, NoisyIsAWideMiddleHalf) {
  EXPECT_FALSE(summarize({100, 100, 100, 100, 100}).noisy());
  // One that is far off, as a machine that was busy once gives it, does not make the rest noisy.
  EXPECT_FALSE(summarize({100, 101, 99, 100, 20}).noisy());
  EXPECT_FALSE(summarize({95, 95, 100, 105, 105}).noisy());  // 10% exactly
  EXPECT_TRUE(summarize({94, 94, 100, 105, 105}).noisy());
}

TEST(Statistics, RatiosArePairwise) {
  EXPECT_THAT(ratios(std::vector<double>{2, 9, 8}, std::vector<double>{1, 3, 4}),
              ElementsAre(2, 3, 2));
  EXPECT_THAT(ratios(std::vector<double>{2, 9, 8}, std::vector<double>{0, 3}), ElementsAre(3));
  EXPECT_TRUE(ratios({}, {}).empty());
}

TEST(Shares, SumToOneAndNeverTakeAway) {
  // 1, 2 and 4 units of time.
  const auto parts = shares({1, 0.5, 0.25});
  EXPECT_THAT(parts, ElementsAre(0.25, 0.25, 0.5));
  // The third layer is faster than what is below it: it works beside that, and adds nothing.
  const auto beside = shares({2, 1, 4, 0.5});
  EXPECT_THAT(beside, ElementsAre(DoubleNear(0.25, 1e-12), DoubleNear(0.25, 1e-12), 0.0,
                                  DoubleNear(0.5, 1e-12)));
  EXPECT_TRUE(shares({1, 0}).empty());
  EXPECT_TRUE(shares({}).empty());
}

Report some_report() {
  Report report;
  report.benchmark = "cipher";
  report.title = "a <title> & \"more\"";
  report.machine = {.processor = "Processor <x>", .cores = 2, .kernel = "Linux 6"};
  report.settings = {{"threads", 1U}, {"image", "2026"}};
  report.how = {"1 thread", "GB/s = 10^9 bytes/s"};
  report.notes = {"a note"};
  Table table;
  table.heading = "aes-xts-plain64, 512-bit key, 4096-byte sectors";
  table.facts = {{"cipher", "aes-xts-plain64"}, {"sector_bytes", 4096U}};
  table.unit = "GB/s";
  table.unit_key = "gb_per_s";
  table.columns = {{"x_openssl", "x openssl", " x openssl", 1}};
  table.rows = {{.label = "encrypt, avx512",
                 .facts = {{"variant", "avx512"}},
                 .summary = summarize({26.9, 27.0, 26.8}),
                 .reference = false,
                 .others = {4.25}},
                {.label = "limit, avx512",
                 .facts = {{"variant", "avx512"}},
                 .summary = summarize({32, 20, 40}),
                 .reference = true,
                 .others = {std::nullopt}}};
  table.conclusion = "by NBD most of the time goes to <it>";
  report.tables = {table};
  return report;
}

// Every tag is closed in order, every '<' and '&' belongs to a tag or an entity.
bool is_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t at = 0; at < xml.size(); ++at) {
    if (xml[at] == '&') {
      const std::size_t end = xml.find(';', at);
      if (end == xml.npos) return false;
      static const std::set<std::string> kKnown{"amp", "lt", "gt", "quot"};
      if (!kKnown.contains(xml.substr(at + 1, end - at - 1))) return false;
      continue;
    }
    if (xml[at] != '<') continue;
    const std::size_t end = xml.find('>', at);
    if (end == xml.npos) return false;
    const std::string tag = xml.substr(at + 1, end - at - 1);
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) return false;
    if (tag.starts_with("/")) {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (!tag.ends_with("/")) {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
    at = end;
  }
  return open.empty();
}

TEST(ReportText, HasTheFiguresTheirSpreadAndSaysWhatIsNoisy) {
  const std::string text = report_text(some_report());
  EXPECT_THAT(text, HasSubstr("Processor <x>, 2 cores, Linux 6\n"));
  EXPECT_THAT(text, HasSubstr("                    GB/s  lowest  highest  x openssl\n"));
  EXPECT_THAT(text, HasSubstr("  encrypt, avx512  26.90   26.80    27.00        4.2\n"));
  EXPECT_THAT(text, HasSubstr("noisy\n"));
  EXPECT_THAT(text, HasSubstr(noise_criterion()));
  Report calm = some_report();
  calm.tables[0].rows.pop_back();
  EXPECT_FALSE(calm.noisy());
  EXPECT_THAT(report_text(calm), Not(HasSubstr("noisy")));
}

TEST(ReportJson, HasTheDocumentedFields) {
  const auto json = nlohmann::json::parse(report_json(some_report()));
  EXPECT_EQ("cipher", json["benchmark"]);
  EXPECT_EQ("Processor <x>", json["machine"]["processor"]);
  EXPECT_EQ(2, json["machine"]["cores"]);
  EXPECT_EQ("Linux 6", json["machine"]["kernel"]);
  EXPECT_EQ(1, json["settings"]["threads"]);
  EXPECT_EQ("2026", json["settings"]["image"]);
  EXPECT_EQ(kNoisySpread, json["noisy_spread"]);
  const auto& table = json["tables"][0];
  EXPECT_EQ("aes-xts-plain64", table["cipher"]);
  EXPECT_EQ(4096, table["sector_bytes"]);
  EXPECT_EQ("gb_per_s", table["unit"]);
  const auto& row = table["results"][0];
  EXPECT_EQ("avx512", row["variant"]);
  EXPECT_EQ(26.9, row["median"]);
  EXPECT_EQ(26.8, row["lowest"]);
  EXPECT_EQ(27.0, row["highest"]);
  EXPECT_TRUE(row["lower_quartile"].is_number());
  EXPECT_TRUE(row["upper_quartile"].is_number());
  EXPECT_EQ(3, row["repetitions"]);
  EXPECT_EQ(false, row["noisy"]);
  EXPECT_EQ(4.25, row["x_openssl"]);
  EXPECT_EQ(true, table["results"][1]["noisy"]);
  EXPECT_TRUE(table["results"][1]["x_openssl"].is_null());
}

TEST(ReportSvg, IsWellFormedAndEscapesText) {
  const std::string svg = report_svg(some_report());
  EXPECT_TRUE(is_well_formed(svg)) << svg;
  EXPECT_THAT(svg, HasSubstr("a &lt;title&gt; &amp; &quot;more&quot;"));
  EXPECT_THAT(svg, HasSubstr("Processor &lt;x&gt;, 2 cores"));
  EXPECT_THAT(svg, HasSubstr("26.90"));
  EXPECT_THAT(svg, HasSubstr("GB/s"));
  EXPECT_THAT(svg, HasSubstr("4.2 x openssl"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_THAT(svg, HasSubstr("noisy"));
  // Nothing that a viewer would have to fetch or run.
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, Not(HasSubstr("href")));
  // Nothing measured is no reason to divide by zero.
  Report zero = some_report();
  for (Row& row : zero.tables[0].rows) row.summary = {};
  EXPECT_THAT(report_svg(zero), Not(HasSubstr("nan")));
  EXPECT_THAT(report_svg(zero), Not(HasSubstr("inf")));
}

TEST(Picture, IsNotReplacedUnlessForced) {
  const std::string folder = ::testing::TempDir() + "latchkey-picture";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  const std::string path = folder + "/p.svg";
  ASSERT_TRUE(check_picture_place(path, false));
  ASSERT_TRUE(write_picture(path, false, "one"));
  const auto exists = check_picture_place(path, false);
  ASSERT_FALSE(exists);
  EXPECT_EQ(engine::ErrorCode::kUsage, exists.error().code());
  EXPECT_THAT(exists.error().hint(), HasSubstr("--force"));
  EXPECT_FALSE(write_picture(path, false, "two"));
  EXPECT_EQ(3U, test::read_file(path).size());
  ASSERT_TRUE(check_picture_place(path, true));
  ASSERT_TRUE(write_picture(path, true, "three"));
  EXPECT_EQ(5U, test::read_file(path).size());
  EXPECT_FALSE(check_picture_place(folder, true));
  EXPECT_FALSE(check_picture_place(folder + "/absent/p.svg", false));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace latchkey::tools::bench
