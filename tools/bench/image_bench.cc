#include "tools/bench/image_bench.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "engine/bytes.h"
#include "engine/file_device.h"
#include "tools/bench/layers.h"
#include "tools/bench/page_cache.h"
#include "tools/bench/shares.h"
#include "tools/exit_status.h"
#include "tools/listen_place.h"
#include "tools/sizes.h"

namespace latchkey::tools::bench {

using engine::DevicePtr;
using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

constexpr unsigned kDepth = 32;
constexpr double kLongestLayer = 1.0;
constexpr double kThousand = 1e3;

struct NamedLayer {
  std::string key;   // "storage", "container", "decryption", "nbd", "fuse"
  std::string name;  // "+ decryption"
  std::unique_ptr<Layer> layer;
};

// What is read, and where it lies at each layer.
struct Subject {
  std::string name;   // "p2"
  DevicePtr storage;  // the file
  DevicePtr container;
  DevicePtr plaintext;  // what front ends present; the same as `container` where nothing is open
  Range in_storage;
  Range in_container;
  Range in_plaintext;
  bool decrypted = false;
};

constexpr std::array<Access, 3> kAccesses{{{.pattern = Pattern::kSequential, .depth = 1},
                                           {.pattern = Pattern::kRandom, .depth = 1},
                                           {.pattern = Pattern::kRandom, .depth = kDepth}}};

// The region whose view the default export is; the whole disk where it is none of the partitions.
const Region& default_region(const OpenedImage& opened) {
  const std::size_t index = opened.exports.default_index;
  const bool partition = index >= 1 && index <= opened.image.partitions.size();
  return partition ? opened.image.partitions[index - 1] : opened.image.disk;
}

Result<Subject> choose_subject(const OpenedImage& opened, std::uint64_t most_bytes) {
  const Region& region = default_region(opened);
  Subject subject;
  subject.name = region.name();
  engine::Notices ignored;  // they were said when the image was opened
  auto file = engine::FileDevice::open(opened.image.path, engine::Access::kInspect, ignored);
  if (!file) return std::move(file).error();
  subject.storage = std::move(*file);
  subject.container = region.device;
  subject.plaintext = opened.exports.default_export().device;
  subject.decrypted = subject.plaintext != subject.container;
  const bool has_header = region.volume && region.volume->open() && region.volume->header;
  const std::uint64_t payload = has_header ? std::min(region.volume->header->facts().payload_offset,
                                                      subject.container->size_bytes())
                                           : 0;
  const std::uint64_t start =
      std::min(region.entry.offset + payload, subject.storage->size_bytes());
  const std::uint64_t length = engine::round_down(
      std::min({most_bytes, subject.plaintext->size_bytes(),
                subject.container->size_bytes() - payload, subject.storage->size_bytes()}),
      kRandomBytes);
  if (length == 0) {
    return Error(ErrorCode::kUsage,
                 fmt::format("{} holds less than {} bytes to read", subject.name, kRandomBytes));
  }
  subject.in_plaintext = {0, length};
  subject.in_container = {payload, length};
  // A container that grows has its own order, and its file may be shorter: as much of it then.
  subject.in_storage = {std::min(start, subject.storage->size_bytes() - length), length};
  return subject;
}

class ImageBench {
 public:
  ImageBench(const OpenedImage& opened, const ImageBenchOptions& options)
      : opened_(opened), options_(options), machine_(Machine::look()) {}

  Result<void> prepare() {
    auto subject = choose_subject(opened_, options_.most_bytes);
    if (!subject) return std::move(subject).error();
    subject_ = std::move(*subject);
    auto cache = PageCache::of(opened_.image.path);
    if (!cache) return std::move(cache).error();
    cache_ = std::make_unique<PageCache>(std::move(*cache));
    auto directory = PrivateDirectory::make();
    if (!directory) return std::move(directory).error();
    directory_ = std::move(*directory);
    return make_layers();
  }

  Result<Report> run(StatusLine& progress, const std::atomic<bool>& interrupted) {
    if (auto ready = settle_cache(progress, interrupted); !ready) return std::move(ready).error();
    std::vector<Measurement> measurements;
    for (const Access& access : kAccesses) {
      for (const NamedLayer& layer : layers_) measurements.push_back(measurement(layer, access));
    }
    const RunPlan plan =
        RunPlan::within(options_.seconds, options_.repetitions, measurements.size(), kLongestLayer);
    auto samples = run_interleaved(measurements, plan, progress, interrupted);
    if (!samples) return std::move(samples).error();
    return report(*samples);
  }

 private:
  Result<void> make_layers() {
    layers_.push_back({"storage", "storage alone",
                       make_device_layer(subject_.storage, subject_.in_storage, "storage")});
    layers_.push_back({"container", "+ container",
                       make_device_layer(subject_.container, subject_.in_container, "container")});
    if (subject_.decrypted) {
      layers_.push_back(
          {"decryption", "+ decryption",
           make_device_layer(subject_.plaintext, subject_.in_plaintext, "decryption")});
    }
    auto nbd = make_nbd_layer(subject_.plaintext, subject_.in_plaintext, directory_->path(),
                              nbd_connections(machine_.cores));
    if (!nbd) return std::move(nbd).error();
    layers_.push_back({"nbd", "+ NBD", std::move(*nbd)});
    auto fuse = make_fuse_layer(subject_.plaintext, subject_.in_plaintext, directory_->path());
    if (fuse) {
      layers_.push_back({"fuse", "+ FUSE", std::move(*fuse)});
    } else {
      notes_.push_back("FUSE is left out: " + fuse.error().message());
    }
    return {};
  }

  Measurement measurement(const NamedLayer& layer, const Access& access) {
    return {fmt::format("{}, {}", heading(access), layer.key),
            [this, &layer, access](const Pace& pace) -> Result<Sample> {
              Access how = access;
              how.once = options_.cold;
              if (options_.cold) cache_->forget();
              return layer.layer->read(how, pace);
            }};
  }

  Result<void> settle_cache(StatusLine& progress, const std::atomic<bool>& interrupted) {
    if (options_.cold) {
      cache_->forget();
    } else {
      progress.show(0, 1, "reading the range into the page cache");
      if (auto filled = cache_->fill(subject_.in_storage, interrupted); !filled) return filled;
    }
    const auto resident = cache_->resident_part(subject_.in_storage);
    const std::string state = options_.cold ? "cold: dropped before each repetition" : "warm";
    cache_text_ = "page cache " + state;
    if (!resident) return {};
    constexpr double kNearlyAll = 0.95;
    if (options_.cold && *resident > 1 - kNearlyAll) {
      notes_.push_back(fmt::format(
          "not cold: {:.0f}% of the range stays in memory although it was to be dropped",
          *resident * 100));
    } else if (!options_.cold && *resident < kNearlyAll) {
      notes_.push_back(fmt::format(
          "not all warm: {:.0f}% of the range is in the page cache; --size takes less of it",
          *resident * 100));
    }
    return {};
  }

  static std::string heading(const Access& access) {
    return access.pattern == Pattern::kSequential
               ? "sequential"
               : fmt::format("4 KiB at random, depth {}", access.depth);
  }

  // "+ NBD" is "NBD" in a sentence.
  static std::string without_plus(const std::string& name) {
    return name.starts_with("+ ") ? name.substr(2) : name;
  }

  bool has_fuse() const { return layers_.back().key == "fuse"; }

  Report report(const Samples& samples) {
    Report out;
    out.benchmark = "image";
    out.title = fmt::format(
        "Latchkey: where the time goes, {} of {}", subject_.name,
        engine::printable(std::filesystem::path(opened_.image.path).filename().string()));
    out.machine = machine_;
    const std::uint64_t length = subject_.in_plaintext.length;
    out.settings = {{"image", opened_.image.path},
                    {"volume", subject_.name},
                    {"container", opened_.image.container.format},
                    {"encryption", encryption()},
                    {"range_bytes", length},
                    {"page_cache", options_.cold ? "cold" : "warm"},
                    {"repetitions", options_.repetitions}};
    out.how = {
        encryption(),
        fmt::format("{} from its start, {}; GB/s = 10^9 bytes/s", human_size(length), cache_text_),
        fmt::format("median of {} repetitions, all in turn", options_.repetitions)};
    for (std::size_t i = 0; i < kAccesses.size(); ++i) {
      out.tables.push_back(table_of(kAccesses[i], samples, i * layers_.size()));
    }
    add_notes(out);
    return out;
  }

  std::string encryption() const {
    const Region& region = default_region(opened_);
    if (!subject_.decrypted) return "not decrypted";
    if (!region.volume || !region.volume->header) return "several volumes";
    const keyslots::VolumeFacts& facts = region.volume->header->facts();
    return fmt::format("{}, {}, {}-bit key, {}-byte sectors", facts.format, facts.cipher,
                       facts.key_bits, facts.sector_bytes);
  }

  void add_notes(Report& out) const {
    const unsigned connections = nbd_connections(machine_.cores);
    out.notes.push_back(fmt::format(
        "sequential: one reader, 1 MiB at a time; NBD: {} requests of {} KiB on the way, one "
        "connection",
        kNbdRequestsAhead, kNbdRequestBytes / 1024));
    out.notes.push_back(fmt::format(
        "depth {}: {} threads; NBD: {} connection{} with {} requests on the way in each", kDepth,
        kDepth, connections, connections == 1 ? "" : "s", kDepth / connections));
    out.notes.emplace_back(
        "% by NBD, by FUSE: the layer's part of the time a read takes with that on top of all");
    out.notes.emplace_back(
        "a layer that works beside those below it adds less than its own work, or nothing");
    const double holes = hole_part();
    constexpr double kWorthSaying = 0.01;
    if (holes > kWorthSaying) {
      out.notes.push_back(fmt::format(
          "{:.0f}% of the range is not allocated in the image: no storage is read for it",
          holes * 100));
    }
    out.notes.insert(out.notes.end(), notes_.begin(), notes_.end());
  }

  // Of the range, as the container and the file below it know it.
  double hole_part() const {
    std::uint64_t holes = 0;
    const Range& range = subject_.in_container;
    for (std::uint64_t at = 0; at < range.length;) {
      const engine::Extent extent =
          subject_.container->extent_at(range.offset + at, range.length - at);
      if (extent.length == 0) break;
      if (!extent.allocated) holes += extent.length;
      at += extent.length;
    }
    return static_cast<double>(holes) / static_cast<double>(range.length);
  }

  Table table_of(const Access& access, const Samples& samples, std::size_t first) const {
    const bool sequential = access.pattern == Pattern::kSequential;
    Table table;
    table.heading = heading(access);
    table.facts = {{"access", sequential ? "sequential" : "random"}, {"depth", access.depth}};
    table.unit = sequential ? "GB/s" : "1000 reads/s";
    table.unit_key = sequential ? "gb_per_s" : "thousand_reads_per_s";
    table.decimals = sequential ? 2 : 1;
    table.columns = {{"adds_us", sequential ? "adds us/MiB" : "adds us/read", "", 2},
                     {"percent_of_nbd", "% by NBD", "% by NBD", 0}};
    if (has_fuse()) table.columns.push_back({"percent_of_fuse", "% by FUSE", "% by FUSE", 0});
    const double unit = sequential ? kGiga : kThousand;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      Row row;
      row.label = layers_[i].name;
      row.facts = {{"layer", layers_[i].key}};
      row.summary = summarize(rates(samples[first + i], unit));
      row.others.resize(table.columns.size());
      table.rows.push_back(std::move(row));
    }
    add_costs(table, unit, sequential ? static_cast<double>(kSequentialBytes) : 1.0);
    return table;
  }

  // The stacks are [devices..., NBD] and [devices..., FUSE].
  void add_costs(Table& table, double unit, double units_in_a_read) const {
    const std::size_t devices = subject_.decrypted ? 3 : 2;
    for (std::size_t top = devices; top < layers_.size(); ++top) {
      std::vector<std::size_t> stack;
      for (std::size_t i = 0; i < devices; ++i) stack.push_back(i);
      stack.push_back(top);
      std::vector<double> speed;
      speed.reserve(stack.size());
      for (const std::size_t i : stack) speed.push_back(table.rows[i].summary.median);
      const std::vector<double> parts = shares(speed);
      if (parts.empty()) return;
      const double whole_us =
          1e6 * units_in_a_read / (*std::min_element(speed.begin(), speed.end()) * unit);
      std::size_t most = 0;
      for (std::size_t i = 0; i < stack.size(); ++i) {
        Row& row = table.rows[stack[i]];
        row.others[0] = parts[i] * whole_us;
        row.others[1 + top - devices] = parts[i] * 100;
        if (parts[i] > parts[most]) most = i;
      }
      table.conclusion +=
          fmt::format("{} {} ({:.0f}%) with {}",
                      table.conclusion.empty() ? "the largest part of the time goes to" : ", to",
                      without_plus(layers_[stack[most]].name), parts[most] * 100,
                      without_plus(layers_[top].name));
    }
  }

  const OpenedImage& opened_;
  const ImageBenchOptions& options_;
  const Machine machine_;
  Subject subject_;
  std::unique_ptr<PageCache> cache_;
  std::unique_ptr<PrivateDirectory> directory_;  // outlives the layers
  std::vector<NamedLayer> layers_;
  std::string cache_text_;
  std::vector<std::string> notes_;
};

}  // namespace

Result<Report> bench_image(const OpenedImage& opened, const ImageBenchOptions& options,
                           StatusLine& progress, const std::atomic<bool>& interrupted) {
  ImageBench bench(opened, options);
  if (auto ready = bench.prepare(); !ready) return std::move(ready).error();
  return bench.run(progress, interrupted);
}

}  // namespace latchkey::tools::bench
