// make_bitlocker PLAIN IMAGE KEYS [OPTION=VALUE...]: writes a BitLocker volume around a plaintext
// for the test scripts. KEYS is a folder; into it go
//   plain          what a reader must give (the plaintext, hidden areas zeroed)
//   recovery.N     48 digits, for each recovery password
//   GUID.BEK, bek.N, bek180.N   for each external key: its file under its own name, and in both
//   forms vmk, fvek      raw keys layout         name=value lines: metadata, relocated, guids
// Options: cipher=xts128|xts256|cbc128|cbc256|elephant128|elephant256|none, sector=512|4096,
// front=fixed|fat|exfat, eow=1, state=N, next=N, below=BYTES, log=BYTES, metadata=A,B,C,
// relocated=BYTES, relocated-sectors=N, seed=N, and protectors in order: clear=1,
// external=DESCRIPTION, recovery=1, passphrase=TEXT (UTF-8), tpm=1, unknown=1.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>

#include <iconv.h>

#include "tests/support/bitlocker_builder.h"

using namespace latchkey::test;

namespace {

ByteVector read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  ByteVector bytes(in ? static_cast<std::size_t>(in.tellg()) : 0);
  in.seekg(0);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!in) throw std::runtime_error("cannot read " + path);
  return bytes;
}

void write_bytes(const std::string& path, const void* bytes, std::size_t count) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count));
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

void write_bytes(const std::string& path, const ByteVector& bytes) {
  write_bytes(path, bytes.data(), bytes.size());
}

std::u16string utf16(std::string text) {
  iconv_t converter = iconv_open("UTF-16LE", "UTF-8");
  std::u16string out(text.size() + 1, u'\0');
  char* from = text.data();
  char* into = reinterpret_cast<char*>(out.data());
  std::size_t from_left = text.size();
  std::size_t into_left = out.size() * 2;
  const std::size_t failed = iconv(converter, &from, &from_left, &into, &into_left);
  iconv_close(converter);
  if (failed == static_cast<std::size_t>(-1)) throw std::runtime_error("not UTF-8: " + text);
  out.resize(out.size() - into_left / 2);
  return out;
}

void add_protector(FveSpec& spec, const std::string& name, const std::string& value) {
  static const std::map<std::string, FveProtector::Kind> kKinds = {
      {"clear", FveProtector::Kind::kClearKey},
      {"external", FveProtector::Kind::kExternalKey},
      {"recovery", FveProtector::Kind::kRecoveryPassword},
      {"passphrase", FveProtector::Kind::kPassphrase},
      {"tpm", FveProtector::Kind::kTpm},
      {"unknown", FveProtector::Kind::kUnknown}};
  FveProtector protector;
  protector.kind = kKinds.at(name);
  if (protector.kind == FveProtector::Kind::kPassphrase) protector.passphrase = utf16(value);
  if (protector.kind == FveProtector::Kind::kExternalKey) protector.description = utf16(value);
  spec.protectors.push_back(protector);
}

void apply(FveSpec& spec, const std::string& name, const std::string& value) {
  static const std::map<std::string, FveMethod> kMethods = {
      {"none", FveMethod::kNone},
      {"cbc128", FveMethod::kCbc128},
      {"cbc256", FveMethod::kCbc256},
      {"elephant128", FveMethod::kElephant128},
      {"elephant256", FveMethod::kElephant256},
      {"xts128", FveMethod::kXts128},
      {"xts256", FveMethod::kXts256}};
  static const std::map<std::string, FveFront> kFronts = {
      {"fixed", FveFront::kFixed}, {"fat", FveFront::kFat}, {"exfat", FveFront::kExfat}};
  if (name == "cipher") {
    spec.method = kMethods.at(value);
  } else if (name == "front") {
    spec.front = kFronts.at(value);
  } else if (name == "metadata") {
    std::size_t at = 0;
    for (std::uint64_t& offset : spec.metadata) {
      std::size_t used = 0;
      offset = std::stoull(value.substr(at), &used);
      at += used + 1;
    }
  } else if (name == "sector") {
    spec.sector_bytes = static_cast<std::uint32_t>(std::stoul(value));
  } else if (name == "eow") {
    spec.eow_identifier = value == "1";
  } else if (name == "state") {
    spec.state = static_cast<std::uint16_t>(std::stoul(value));
  } else if (name == "next") {
    spec.next_state = static_cast<std::uint16_t>(std::stoul(value));
  } else if (name == "below") {
    spec.converted_below = std::stoull(value);
  } else if (name == "log") {
    spec.log_bytes = static_cast<std::uint32_t>(std::stoul(value));
  } else if (name == "relocated") {
    spec.relocated = std::stoull(value);
  } else if (name == "relocated-sectors") {
    spec.relocated_sectors = static_cast<std::uint32_t>(std::stoul(value));
  } else if (name == "seed") {
    spec.seed = std::stoull(value);
  } else {
    add_protector(spec, name, value);
  }
}

void write_keys(const FveVolume& volume, const std::string& folder) {
  write_bytes(folder + "/plain", volume.plain);
  write_bytes(folder + "/vmk", volume.vmk);
  write_bytes(folder + "/fvek", volume.fvek);
  std::string layout = "volume_guid=" + volume.volume_guid + "\n";
  for (std::size_t i = 0; i < 3; ++i) {
    layout += "metadata" + std::to_string(i) + "=" + std::to_string(volume.metadata.at(i)) + "\n";
  }
  layout += "relocated=" + std::to_string(volume.relocated) + "\n";
  layout += "relocated_bytes=" + std::to_string(volume.relocated_bytes) + "\n";
  unsigned recovery = 0;
  unsigned external = 0;
  for (std::size_t i = 0; i < volume.ways_in.size(); ++i) {
    const FveWayIn& way_in = volume.ways_in[i];
    layout += "guid" + std::to_string(i) + "=" + way_in.guid + "\n";
    if (!way_in.recovery.empty()) {
      const std::string name = folder + "/recovery." + std::to_string(recovery++);
      write_bytes(name, way_in.recovery.data(), way_in.recovery.size());
    }
    if (way_in.bek.empty()) continue;
    write_bytes(folder + "/" + way_in.guid + ".BEK", way_in.bek);
    write_bytes(folder + "/bek." + std::to_string(external), way_in.bek);
    write_bytes(folder + "/bek180." + std::to_string(external++), way_in.bek_win11);
  }
  write_bytes(folder + "/layout", layout.data(), layout.size());
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 4) {
    std::fprintf(stderr, "usage: make_bitlocker PLAIN IMAGE KEYS [OPTION=VALUE...]\n");
    return 2;
  }
  FveSpec spec;
  for (int i = 4; i < argc; ++i) {
    const std::string option = argv[i];
    const std::size_t equals = option.find('=');
    if (equals == std::string::npos) throw std::runtime_error("no value: " + option);
    apply(spec, option.substr(0, equals), option.substr(equals + 1));
  }
  const FveVolume volume = make_bitlocker(spec, read_bytes(argv[1]));
  write_bytes(argv[2], volume.image);
  write_keys(volume, argv[3]);
  return 0;
} catch (const std::exception& failure) {
  std::fprintf(stderr, "make_bitlocker: %s\n", failure.what());
  return 1;
}
