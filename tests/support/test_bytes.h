// Byte buffers for tests: random from a printed seed, hex, temporary folders.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace latchkey::test {

using ByteVector = std::vector<std::byte>;

// LATCHKEY_SEED repeats a run; else the clock decides. Printed, so that a failure can be repeated.
inline std::uint64_t test_seed() {
  const char* wanted = std::getenv("LATCHKEY_SEED");
  const std::uint64_t seed =
      wanted != nullptr
          ? std::strtoull(wanted, nullptr, 10)
          : static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  ::testing::Test::RecordProperty("seed", std::to_string(seed));
  std::printf("seed: LATCHKEY_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

inline ByteVector random_bytes(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  ByteVector out(count);
  for (std::byte& b : out) b = static_cast<std::byte>(random() & 0xff);
  return out;
}

inline ByteVector from_hex(std::string_view hex) {
  ByteVector out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<std::byte>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return out;
}

inline ByteVector read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return {};
  ByteVector bytes(static_cast<std::size_t>(in.tellg()));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

inline void write_file(const std::filesystem::path& path, const ByteVector& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(out.flush()) << "cannot write " << path;
}

// A folder that is removed with what is in it.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "latchkey-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Runs a shell command; true when it exits with 0. Output is dropped unless it fails.
inline bool shell(const std::string& command) {
  const std::string quiet = "{ " + command + "; } >/dev/null 2>&1";
  return std::system(quiet.c_str()) == 0;  // NOLINT(cert-env33-c): tests run fixed commands
}

inline bool have_program(const std::string& name) {
  return shell("PATH=$PATH:/sbin:/usr/sbin command -v " + name);
}

}  // namespace latchkey::test
