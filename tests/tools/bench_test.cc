// What bench runs: how measurements take turns, the layers it reads, the ciphers. Nothing here is
// held against a time.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/ciphers/cipher_variants.h"
#include "tests/support/test_bytes.h"
#include "tools/bench/cipher_bench.h"
#include "tools/bench/layers.h"
#include "tools/bench/page_cache.h"
#include "tools/bench/report.h"
#include "tools/bench/runner.h"

namespace latchkey::tools::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Measurements that write down their turns.
class Turns : public ::testing::Test {
 protected:
  Measurement measurement(const std::string& name) {
    return {name, [this, name](const Pace&) -> engine::Result<Sample> {
              order_ += name;
              return Sample{.units = order_.size(), .seconds = 1};
            }};
  }
  std::string order_;
  StatusLine progress_;
  std::atomic<bool> interrupted_{false};
};

TEST_F(Turns, AreInterleavedAndTheFirstRoundDoesNotCount) {
  const RunPlan plan{.repetitions = 3, .seconds_each = 0.001};
  const auto samples = run_interleaved({measurement("a"), measurement("b"), measurement("c")}, plan,
                                       progress_, interrupted_);
  ASSERT_TRUE(samples);
  EXPECT_EQ("abccbaabccba", order_);
  ASSERT_EQ(3U, samples->size());
  for (const auto& of_one : *samples) EXPECT_EQ(3U, of_one.size());
  EXPECT_THAT(rates((*samples)[0], 1), ElementsAre(6, 7, 12));
}

TEST_F(Turns, StopAtAnErrorAndWhenInterrupted) {
  const RunPlan plan{.repetitions = 3, .seconds_each = 0.001};
  const Measurement fails{"b", [](const Pace&) -> engine::Result<Sample> {
                            return engine::Error(engine::ErrorCode::kSystem, "the disk is gone");
                          }};
  const auto failed =
      run_interleaved({measurement("a"), fails, measurement("c")}, plan, progress_, interrupted_);
  ASSERT_FALSE(failed);
  EXPECT_EQ("b: the disk is gone", failed.error().message());
  EXPECT_EQ("a", order_);
  const Measurement interrupts{"i", [this](const Pace&) -> engine::Result<Sample> {
                                 interrupted_ = true;
                                 return Sample{};
                               }};
  const auto stopped =
      run_interleaved({interrupts, measurement("d")}, plan, progress_, interrupted_);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(engine::ErrorCode::kRefused, stopped.error().code());
  EXPECT_EQ("a", order_);
}

TEST(RunPlan, DividesTheTime) {
  EXPECT_DOUBLE_EQ(0.1, RunPlan::within(8, 7, 10, 1).seconds_each);
  EXPECT_DOUBLE_EQ(0.05, RunPlan::within(8, 7, 10, 0.05).seconds_each);
  EXPECT_DOUBLE_EQ(0.001, RunPlan::within(0.001, 1000, 10, 1).seconds_each);
}

// --- The same bytes at every layer.

// Counts what is read of it, and whether all of it was inside a range.
class CountingDevice final : public engine::BlockDevice {
 public:
  CountingDevice(std::uint64_t size, const Range& allowed)
      : BlockDevice({.size_bytes = size, .sector_bytes = 512, .writable = false}),
        allowed_(allowed) {}
  std::atomic<std::uint64_t> reads{0};
  std::atomic<std::uint64_t> outside{0};

 private:
  engine::IoStatus do_read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    ++reads;
    if (offset < allowed_.offset || offset + into.size() > allowed_.offset + allowed_.length) {
      ++outside;
    }
    std::fill(into.begin(), into.end(), std::byte{1});
    return {};
  }
  const Range allowed_;
};

constexpr Range kRange{.offset = 8192, .length = (3 << 20) + 4096};
constexpr std::uint64_t kDeviceBytes = 8 << 20;

void read_in_every_way(Layer& layer) {
  const std::atomic<bool> never{false};
  const Pace pace{.seconds = 0.005, .interrupted = never};
  for (const Access& access :
       {Access{Pattern::kSequential, 1, false}, Access{Pattern::kRandom, 1, false},
        Access{Pattern::kRandom, 32, false}}) {
    const auto sample = layer.read(access, pace);
    ASSERT_TRUE(sample) << sample.error().message();
    EXPECT_GT(sample->units, 0U);
    EXPECT_GT(sample->seconds, 0);
  }
  // Once: the range, and not a byte more.
  const Pace long_pace{.seconds = 60, .interrupted = never};
  const auto once = layer.read({Pattern::kSequential, 1, true}, long_pace);
  ASSERT_TRUE(once) << once.error().message();
  EXPECT_EQ(kRange.length, once->units);
  const std::atomic<bool> interrupted{true};
  const auto stopped =
      layer.read({Pattern::kSequential, 1, false}, {.seconds = 60, .interrupted = interrupted});
  ASSERT_TRUE(stopped);
}

class Layers : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "latchkey-XXXXXX").string();
    ASSERT_NE(nullptr, mkdtemp(name.data()));
    folder_ = name;
  }
  void TearDown() override {
    // What a layer set up went with it.
    EXPECT_TRUE(std::filesystem::is_empty(folder_));
    std::filesystem::remove_all(folder_);
  }
  std::string folder_;
  std::shared_ptr<CountingDevice> device_ = std::make_shared<CountingDevice>(kDeviceBytes, kRange);
};

TEST_F(Layers, DeviceReadsTheRangeAlone) {
  const auto layer = make_device_layer(device_, kRange, "storage");
  read_in_every_way(*layer);
  EXPECT_EQ(0U, device_->outside.load());
}

TEST_F(Layers, NbdReadsTheRangeAlone) {
  for (const unsigned connections : {1U, 2U, 4U}) {
    auto layer = make_nbd_layer(device_, kRange, folder_, connections);
    ASSERT_TRUE(layer) << layer.error().message();
    read_in_every_way(**layer);
  }
  EXPECT_EQ(0U, device_->outside.load());
  EXPECT_GT(device_->reads.load(), 0U);
}

TEST_F(Layers, FuseReadsAndLeavesNothing) {
  auto layer = make_fuse_layer(device_, kRange, folder_);
  if (!layer) GTEST_SKIP() << layer.error().message();
  read_in_every_way(**layer);
  EXPECT_GT(device_->reads.load(), 0U);
}

TEST_F(Layers, SayWhatCannotBeRead) {
  struct Broken final : engine::BlockDevice {
    Broken() : BlockDevice({.size_bytes = kDeviceBytes, .sector_bytes = 512, .writable = false}) {}
    engine::IoStatus do_read(std::uint64_t, std::span<std::byte>) noexcept override {
      return {engine::IoCode::kFailed, EIO};
    }
  };
  const std::atomic<bool> never{false};
  const Pace pace{.seconds = 0.005, .interrupted = never};
  const auto device = std::make_shared<Broken>();
  const auto direct = make_device_layer(device, kRange, "storage");
  auto nbd = make_nbd_layer(device, kRange, folder_, 2);
  ASSERT_TRUE(nbd) << nbd.error().message();
  for (const Access& access :
       {Access{Pattern::kSequential, 1, false}, Access{Pattern::kRandom, 1, false},
        Access{Pattern::kRandom, 32, false}}) {
    const auto read = direct->read(access, pace);
    ASSERT_FALSE(read);
    EXPECT_THAT(read.error().message(), HasSubstr("storage: cannot read"));
    const auto served = (*nbd)->read(access, pace);
    ASSERT_FALSE(served);
    EXPECT_THAT(served.error().message(), HasSubstr("nbd: cannot read at byte"));
  }
}

TEST(RandomPlaces, AreWholePiecesInsideTheRangeAndReachAllOfIt) {
  RandomPlaces places(kRange, 1);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t place = places.next();
    ASSERT_GE(place, kRange.offset);
    ASSERT_LE(place + kRandomBytes, kRange.offset + kRange.length);
    ASSERT_EQ(0U, (place - kRange.offset) % kRandomBytes);
    seen.insert(place);
  }
  EXPECT_EQ(kRange.length / kRandomBytes, seen.size());
}

// --- bench cipher.

CipherBenchOptions quick() {
  CipherBenchOptions options;
  options.seconds = 0.01;
  options.repetitions = 2;
  return options;
}

engine::Result<Report> measure(const CipherBenchOptions& options) {
  StatusLine progress;
  const std::atomic<bool> never{false};
  return bench_cipher(options, progress, never);
}

std::string fact(const Facts& facts, const std::string& name) {
  const auto found =
      std::find_if(facts.begin(), facts.end(), [&](const auto& one) { return one.first == name; });
  if (found == facts.end()) return "";
  const auto* number = std::get_if<std::uint64_t>(&found->second);
  return number != nullptr ? std::to_string(*number) : std::get<std::string>(found->second);
}

TEST(BenchCipher, AllCoversEachVariantThatCanRun) {
  CipherBenchOptions options = quick();
  options.cipher = "aes-xts-plain64";
  options.sector_bytes = 512;
  options.variant = kAllVariants;
  const auto report = measure(options);
  ASSERT_TRUE(report) << report.error().message();
  ASSERT_EQ(1U, report->tables.size());
  std::multiset<std::string> got;
  for (const Row& row : report->tables[0].rows) {
    got.insert(fact(row.facts, "what") + " " + fact(row.facts, "variant"));
    EXPECT_EQ(2U, row.summary.count);
    EXPECT_GT(row.summary.lowest, 0) << row.label;
  }
  std::multiset<std::string> wanted;
  for (const std::string_view variant : engine::usable_cipher_variants()) {
    for (const char* what : {"encrypt ", "decrypt "}) wanted.insert(what + std::string(variant));
    if (variant != engine::kOpensslVariant) wanted.insert("aes-rounds " + std::string(variant));
  }
  EXPECT_EQ(wanted, got);
}

TEST(BenchCipher, TheUsualSetHasOpensslAndTheLimitBesideEach) {
  const auto report = measure(quick());
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(7U, report->tables.size());
  const bool has_kernels = engine::usable_cipher_variants().size() > 1;
  for (const Table& table : report->tables) {
    ASSERT_GE(table.columns.size(), 2U);
    EXPECT_EQ("x_openssl", table.columns[0].key);
    EXPECT_EQ("percent_of_limit", table.columns[1].key);
    for (const Row& row : table.rows) {
      const bool limit = fact(row.facts, "what") == "aes-rounds";
      EXPECT_EQ(!limit, row.others[0].has_value()) << table.heading << ": " << row.label;
      EXPECT_EQ(!limit && has_kernels, row.others[1].has_value()) << row.label;
      EXPECT_EQ(limit || fact(row.facts, "variant") == engine::kOpensslVariant, row.reference);
      if (!limit && fact(row.facts, "variant") == engine::kOpensslVariant) {
        EXPECT_DOUBLE_EQ(1, *row.others[0]);
      }
    }
  }
}

TEST(BenchCipher, SeveralThreads) {
  CipherBenchOptions options = quick();
  options.cipher = "aes-cbc-plain64";
  options.key_bits = 128;
  options.threads = 3;
  const auto report = measure(options);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(2U, report->tables.size());  // both sector sizes
  EXPECT_EQ("3", fact(report->settings, "threads"));
}

TEST(BenchCipher, RefusesWhatCannotBe) {
  const auto code = [](const auto& change) {
    CipherBenchOptions options = quick();
    change(options);
    const auto report = measure(options);
    return report ? std::optional<engine::ErrorCode>() : report.error().code();
  };
  using Options = CipherBenchOptions;
  using engine::ErrorCode;
  EXPECT_EQ(ErrorCode::kUsage, code([](Options& o) { o.variant = "quantum"; }));
  EXPECT_EQ(ErrorCode::kUsage, code([](Options& o) { o.key_bits = 100; }));
  EXPECT_EQ(ErrorCode::kNotSupported, code([](Options& o) { o.key_bits = 8; }));
  EXPECT_EQ(ErrorCode::kNotSupported, code([](Options& o) { o.sector_bytes = 1000; }));
  EXPECT_EQ(ErrorCode::kNotSupported, code([](Options& o) { o.cipher = "rot13"; }));
  EXPECT_EQ(ErrorCode::kNotSupported, code([](Options& o) { o.cipher = "rot13-xts-plain64"; }));
}

TEST(PageCache, KnowsWhatItHasRead) {
  const std::string path = ::testing::TempDir() + "latchkey-page-cache";
  test::write_file(path, test::ByteVector(1 << 20));
  const Range range{.offset = 0, .length = 1 << 20};
  const std::atomic<bool> never{false};
  const auto cache = PageCache::of(path);
  ASSERT_TRUE(cache);
  ASSERT_TRUE(cache->fill(range, never));
  EXPECT_DOUBLE_EQ(1, cache->resident_part(range).value_or(1));        // where the kernel says
  EXPECT_FALSE(cache->fill({.offset = 0, .length = 2 << 20}, never));  // beyond its end
  std::filesystem::remove(path);
  EXPECT_FALSE(PageCache::of(path));
}

}  // namespace
}  // namespace latchkey::tools::bench
