#include "tools/bench/cipher_bench.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "engine/ciphers/cipher_variants.h"
#include "tools/bench/cipher_cases.h"

namespace latchkey::tools::bench {

using engine::ErrorCode;
using engine::Result;
using engine::SectorCipher;

namespace {

constexpr double kLongestCase = 0.2;

// One measurement's place in the report.
struct Place {
  std::size_t measurement = 0;
  std::string what;  // "encrypt", "decrypt", "aes-rounds"
  std::string variant;
  std::size_t limit = 0;    // the measurement it cannot beat; where there is one
  std::size_t openssl = 0;  // the one it is compared with
  bool has_limit = false;
  bool has_openssl = false;
};

struct CaseTable {
  CipherCase subject;
  std::vector<Place> places;
};

// Summary of work(a_i, b_i) over repetitions that were made side by side.
double median_ratio(const std::vector<double>& a, const std::vector<double>& b) {
  return summarize(ratios(a, b)).median;
}

class CipherBench {
 public:
  explicit CipherBench(const CipherBenchOptions& options) : options_(options) {}

  Result<void> prepare() {
    auto cases = choose_cases(options_);
    if (!cases) return std::move(cases).error();
    if (auto chosen = choose_variants(); !chosen) return chosen;
    for (const CipherCase& subject : *cases) {
      if (auto added = add_case(subject); !added) return added;
    }
    return {};
  }

  Result<Report> run(StatusLine& progress, const std::atomic<bool>& interrupted) {
    const RunPlan plan =
        RunPlan::within(options_.seconds, options_.repetitions, measurements_.size(), kLongestCase);
    auto samples = run_interleaved(measurements_, plan, progress, interrupted);
    if (!samples) return std::move(samples).error();
    return report(*samples, plan);
  }

 private:
  Result<void> choose_variants() {
    if (options_.variant == kAllVariants) {
      const auto usable = engine::usable_cipher_variants();
      variants_.assign(usable.begin(), usable.end());
      return {};
    }
    std::string wanted = options_.variant;
    if (wanted.empty()) {
      auto in_force = engine::cipher_variant();
      if (!in_force) return std::move(in_force).error();
      wanted = *in_force;
    }
    variants_ = {wanted};
    if (wanted != engine::kOpensslVariant) variants_.emplace_back(engine::kOpensslVariant);
    return {};
  }

  Result<void> add_case(const CipherCase& subject) {
    CaseTable table{subject, {}};
    std::vector<std::pair<std::string, std::shared_ptr<const SectorCipher>>> ciphers;
    for (const std::string& variant : variants_) {
      auto made = engine::make_sector_cipher(subject.spec, some_key(subject.key_bytes()), variant);
      if (made) {
        ciphers.emplace_back(variant, std::move(*made));
      } else if (variant == engine::kOpensslVariant || made.error().code() == ErrorCode::kUsage) {
        return std::move(made).error();
      } else {
        notes_.push_back(fmt::format("{} has no kernel for {}", variant, subject.spec.name()));
      }
    }
    for (const char* direction : {"encrypt", "decrypt"}) {
      const std::size_t first = table.places.size();
      for (const auto& [variant, cipher] : ciphers) add_cipher(table, direction, variant, cipher);
      const std::size_t openssl = table.places.back().measurement;  // always the last
      for (std::size_t i = first; i < table.places.size(); ++i) {
        table.places[i].openssl = openssl;
        table.places[i].has_openssl = true;
      }
    }
    add_limits(table);
    tables_.push_back(std::move(table));
    return {};
  }

  void add_cipher(CaseTable& table, const std::string& direction, const std::string& variant,
                  const std::shared_ptr<const SectorCipher>& cipher) {
    const bool encrypts = direction == "encrypt";
    const std::uint64_t sectors = kCallBytes / cipher->sector_bytes();
    const Work work = [cipher, encrypts, sectors](engine::MutableBytes buffer, std::uint64_t call) {
      if (encrypts) {
        cipher->encrypt(call * sectors, buffer, buffer);
      } else {
        cipher->decrypt(call * sectors, buffer, buffer);
      }
    };
    const std::size_t index =
        add(fmt::format("{}, {}, {}", table.subject.describe(), direction, variant), work);
    table.places.push_back({.measurement = index, .what = direction, .variant = variant});
  }

  // A variant is held against its own instruction set, OpenSSL against the fastest one's.
  void add_limits(CaseTable& table) {
    if (table.subject.spec.algorithm != "aes") return;
    const std::string fastest(engine::usable_cipher_variants().front());
    const std::size_t ciphers = table.places.size();
    std::vector<std::string> listed;
    for (std::size_t i = 0; i < ciphers; ++i) {
      const bool is_openssl = table.places[i].variant == engine::kOpensslVariant;
      const std::string variant = is_openssl ? fastest : table.places[i].variant;
      const auto limit = limit_of(variant, table.subject.aes_key_bytes());
      if (!limit) continue;
      table.places[i].limit = *limit;
      table.places[i].has_limit = true;
      if (std::find(listed.begin(), listed.end(), variant) != listed.end()) continue;
      listed.push_back(variant);
      table.places.push_back({.measurement = *limit, .what = "aes-rounds", .variant = variant});
    }
  }

  // Once for each variant and key size, whatever the cipher.
  std::optional<std::size_t> limit_of(const std::string& variant, std::size_t key_bytes) {
    const auto [place, is_new] = limits_.try_emplace({variant, key_bytes}, std::nullopt);
    if (is_new && engine::run_aes_rounds(variant, key_bytes, kCallBytes)) {
      place->second = add(fmt::format("bare AES-{} rounds, {}", key_bytes * 8, variant),
                          [variant, key_bytes](engine::MutableBytes buffer, std::uint64_t) {
                            (void)engine::run_aes_rounds(variant, key_bytes, buffer.size());
                          });
    }
    return place->second;
  }

  std::size_t add(std::string name, Work work) {
    measurements_.push_back(
        {std::move(name),
         [work = std::move(work), threads = options_.threads](const Pace& pace) -> Result<Sample> {
           return run_on_threads(threads, work, pace);
         }});
    return measurements_.size() - 1;
  }

  Report report(const Samples& samples, const RunPlan& plan) {
    Report out;
    out.benchmark = "cipher";
    out.title = "Latchkey: sector ciphers in cache";
    out.machine = Machine::look();
    out.settings = {{"threads", options_.threads},
                    {"call_bytes", kCallBytes},
                    {"repetitions", plan.repetitions}};
    out.how = {options_.threads == 1
                   ? "1 thread, by its processor time"
                   : fmt::format("{} threads, by the clock on the wall", options_.threads),
               fmt::format("in place, {} KiB a call; median of {} repetitions, all in turn; GB/s = "
                           "10^9 bytes/s",
                           kCallBytes / 1024, plan.repetitions)};
    const bool cycles = std::any_of(samples.begin(), samples.end(), [](const auto& of_one) {
      return std::any_of(of_one.begin(), of_one.end(),
                         [](const Sample& sample) { return sample.cycles.has_value(); });
    });
    for (const CaseTable& table : tables_) out.tables.push_back(table_of(table, samples, cycles));
    out.notes.emplace_back("openssl: one EVP call a sector, as other programs do it");
    if (!limits_.empty()) {
      out.notes.emplace_back(
          "limit: the AES rounds alone, with the same instruction set (for openssl: the fastest)");
    }
    if (!cycles) {
      out.notes.emplace_back("no cycles per byte: this machine has no cycle counter to read");
    }
    for (const std::string& note : notes_) {
      if (std::find(out.notes.begin(), out.notes.end(), note) == out.notes.end()) {
        out.notes.push_back(note);
      }
    }
    return out;
  }

  static Table table_of(const CaseTable& from, const Samples& samples, bool cycles) {
    Table table;
    table.heading = from.subject.describe();
    table.facts = {{"cipher", from.subject.spec.name()},
                   {"key_bits", from.subject.key_bits},
                   {"sector_bytes", from.subject.spec.sector_bytes}};
    table.unit = "GB/s";
    table.unit_key = "gb_per_s";
    table.columns = {{"x_openssl", "x openssl", " x openssl", 1},
                     {"percent_of_limit", "% of limit", "% of limit", 0}};
    if (cycles) table.columns.push_back({"cycles_per_byte", "cycles/byte", "", 2});
    for (const Place& place : from.places) table.rows.push_back(row_of(place, samples, cycles));
    return table;
  }

  static Row row_of(const Place& place, const Samples& samples, bool cycles) {
    const bool is_limit = place.what == "aes-rounds";
    const auto& mine = samples[place.measurement];
    const std::vector<double> speed = rates(mine, kGiga);
    Row row;
    row.label = (is_limit ? "limit, " : place.what + ", ") + place.variant;
    row.facts = {{"what", place.what}, {"variant", place.variant}};
    row.summary = summarize(speed);
    row.reference = is_limit || place.variant == engine::kOpensslVariant;
    row.others.resize(2);
    if (place.has_openssl) {
      row.others[0] = median_ratio(speed, rates(samples[place.openssl], kGiga));
    }
    if (place.has_limit) {
      row.others[1] = 100 * median_ratio(speed, rates(samples[place.limit], kGiga));
    }
    if (cycles) row.others.push_back(cycles_per_byte(mine));
    return row;
  }

  static std::optional<double> cycles_per_byte(const std::vector<Sample>& samples) {
    std::vector<double> values;
    for (const Sample& sample : samples) {
      if (!sample.cycles || sample.units == 0) return std::nullopt;
      values.push_back(static_cast<double>(*sample.cycles) / static_cast<double>(sample.units));
    }
    return summarize(std::move(values)).median;
  }

  const CipherBenchOptions& options_;
  std::vector<std::string> variants_;
  std::vector<Measurement> measurements_;
  std::vector<CaseTable> tables_;
  std::map<std::pair<std::string, std::size_t>, std::optional<std::size_t>> limits_;
  std::vector<std::string> notes_;
};

}  // namespace

Result<Report> bench_cipher(const CipherBenchOptions& options, StatusLine& progress,
                            const std::atomic<bool>& interrupted) {
  CipherBench bench(options);
  if (auto ready = bench.prepare(); !ready) return std::move(ready).error();
  return bench.run(progress, interrupted);
}

}  // namespace latchkey::tools::bench
