// What maps cost above memory: look-ups by piece, and reads through layers of them.
#include <memory>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "engine/map_device.h"
#include "engine/memory_device.h"
#include "engine/piece_map.h"

namespace {

using namespace latchkey::engine;

constexpr std::uint64_t kPieceBytes = 64 * 1024;

std::unique_ptr<PieceMap> pieces(std::uint64_t count) {
  auto map = std::make_unique<PieceMap>();
  for (std::uint64_t i = 0; i < count; ++i)
    map->data(0, (count - 1 - i) * kPieceBytes, kPieceBytes);
  return map;
}

void lookup(benchmark::State& state) {
  const auto map = pieces(static_cast<std::uint64_t>(state.range(0)));
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> offsets(4096);
  for (auto& offset : offsets) offset = random() % map->size_bytes();
  std::size_t i = 0;
  for (auto _ : state) {
    MappedExtent extent;
    benchmark::DoNotOptimize(map->lookup(offsets[i++ % offsets.size()], 1, extent));
    benchmark::DoNotOptimize(extent);
  }
}
BENCHMARK(lookup)->Arg(1)->Arg(64)->Arg(4096)->Arg(262'144);

// Random 4 KiB reads through `range(0)` slices on top of each other.
void read_4k_through_slices(benchmark::State& state) {
  constexpr std::uint64_t kBytes = 1 << 20;
  DevicePtr device = std::make_shared<MemoryDevice>(std::vector<std::byte>(kBytes));
  for (std::int64_t i = 0; i < state.range(0); ++i) device = make_slice(device, 0, kBytes);
  std::vector<std::byte> buffer(4096);
  std::mt19937_64 random(1);
  for (auto _ : state) {
    const auto status = device->read(random() % (kBytes - buffer.size()), buffer);
    if (!status.ok()) state.SkipWithError("read failed");
  }
  state.SetBytesProcessed(state.iterations() * 4096);
}
BENCHMARK(read_4k_through_slices)->Arg(0)->Arg(1)->Arg(2)->Arg(4);

}  // namespace
