// The whole data path below a front end, in the page cache: a file, a container, a partition, the
// cipher and its aligner, read and written in pieces of several sizes.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <unistd.h>

#include "engine/crypt_device.h"
#include "engine/file_device.h"
#include "engine/piece_map.h"

namespace {

using namespace latchkey::engine;

constexpr std::uint64_t kImageBytes = 64 << 20;

// A file that lives as long as the program, and the stacks on it.
class Image {
 public:
  Image() {
    std::string name = (std::filesystem::temp_directory_path() / "latchkey-bench-XXXXXX").string();
    const int fd = mkstemp(name.data());
    path_ = name;
    const std::vector<char> piece(1 << 20, 'x');
    for (std::uint64_t done = 0; fd >= 0 && done < kImageBytes; done += piece.size()) {
      if (::write(fd, piece.data(), piece.size()) < 0) std::abort();
    }
    close(fd);
    Notices notices;
    auto opened = FileDevice::open(path_, Access::kReadWrite, notices);
    if (!opened) std::abort();
    file_ = *opened;
  }
  ~Image() { std::filesystem::remove(path_); }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  DevicePtr plain() const { return make_slice(file_, 1 << 20, kImageBytes - (1 << 20)); }
  DevicePtr ciphered(std::uint32_t sector_bytes) const {
    auto spec = parse_cipher_spec("aes-xts-plain64");
    spec->sector_bytes = sector_bytes;
    spec->tweak_stride = sector_bytes / 512;
    std::vector<std::byte> key(64);
    for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::byte>(i);
    auto cipher = make_sector_cipher(*spec, SecretBytes::copy_of(key));
    const DevicePtr below = plain();
    return make_crypt_layer(below, 0, below->size_bytes(), std::move(*cipher));
  }

 private:
  std::string path_;
  DevicePtr file_;
};

const Image& image() {
  static const Image the_image;
  return the_image;
}

void run(benchmark::State& state, const DevicePtr& device, bool write) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  std::vector<std::byte> buffer(bytes);
  const std::uint64_t places = device->size_bytes() / bytes;
  std::mt19937_64 random(1);
  for (auto _ : state) {
    const std::uint64_t offset = (random() % places) * bytes;
    const auto status = write ? device->write(offset, buffer) : device->read(offset, buffer);
    if (!status.ok()) state.SkipWithError("input or output failed");
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void file_read(benchmark::State& state) {
  run(state, image().plain(), false);
}
void xts_512_read(benchmark::State& state) {
  run(state, image().ciphered(512), false);
}
void xts_4096_read(benchmark::State& state) {
  run(state, image().ciphered(4096), false);
}
void file_write(benchmark::State& state) {
  run(state, image().plain(), true);
}
void xts_512_write(benchmark::State& state) {
  run(state, image().ciphered(512), true);
}
void xts_4096_write(benchmark::State& state) {
  run(state, image().ciphered(4096), true);
}

BENCHMARK(file_read)->Arg(4096)->Arg(128 << 10)->Arg(1 << 20);
BENCHMARK(xts_512_read)->Arg(4096)->Arg(128 << 10)->Arg(1 << 20);
BENCHMARK(xts_4096_read)->Arg(4096)->Arg(128 << 10)->Arg(1 << 20);
BENCHMARK(file_write)->Arg(4096)->Arg(128 << 10)->Arg(1 << 20);
BENCHMARK(xts_512_write)->Arg(4096)->Arg(128 << 10)->Arg(1 << 20);
BENCHMARK(xts_4096_write)->Arg(4096)->Arg(128 << 10)->Arg(1 << 20);
// A merge: 512 bytes inside a 4096-byte sector.
BENCHMARK(xts_4096_write)->Arg(512)->Name("xts_4096_merge");

}  // namespace
