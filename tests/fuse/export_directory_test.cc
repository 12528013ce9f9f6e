// The directory as its users see it: names, sizes, bytes, errors.
#include <algorithm>
#include <array>
#include <thread>

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "frontends/fuse/status_errno.h"
#include "tests/fuse/mounted_exports.h"

namespace latchkey::frontends {
namespace {

using engine::IoCode;
using engine::IoStatus;
using engine::MemoryDevice;

constexpr std::size_t kMiB = 1024 * 1024;

class ExportFiles : public FuseTest {};

TEST_F(ExportFiles, OneFileAnExport) {
  mount({{{"disk", "", std::make_shared<MemoryDevice>(random_bytes(3 * kMiB + 17, 1))},
          {"p1", "", std::make_shared<MemoryDevice>(random_bytes(4096, 2), true)},
          {"p12", "", std::make_shared<MemoryDevice>(std::vector<std::byte>())}},
         0});
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"disk", "p1", "p12"}));

  struct stat facts {};
  ASSERT_EQ(stat(directory_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode, static_cast<mode_t>(S_IFDIR | 0500));
  EXPECT_EQ(facts.st_uid, geteuid());
  ASSERT_EQ(stat(file().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode, static_cast<mode_t>(S_IFREG | 0400));
  EXPECT_EQ(facts.st_size, static_cast<off_t>(3 * kMiB + 17));
  ASSERT_EQ(stat(file("p1").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode, static_cast<mode_t>(S_IFREG | 0600));
  EXPECT_EQ(stat(file("p2").c_str(), &facts), -1);
  EXPECT_EQ(errno, ENOENT);

  struct statvfs space {};
  ASSERT_EQ(statvfs(directory_.c_str(), &space), 0);
  EXPECT_EQ(space.f_bavail, 0U);
  EXPECT_EQ(space.f_files, 4U);
}

// "rootvg/rootlv" is the file rootlv in the folder rootvg.
TEST_F(ExportFiles, ANameWithASlashIsAFileInAFolder) {
  const auto root = random_bytes(kMiB + 5, 1);
  mount({{{"disk", "", std::make_shared<MemoryDevice>(random_bytes(4096, 2))},
          {"rootvg/rootlv", "", std::make_shared<MemoryDevice>(root)},
          {"rootvg/usrlv", "", std::make_shared<MemoryDevice>(random_bytes(512, 3))},
          {"datavg/rootlv", "", std::make_shared<MemoryDevice>(random_bytes(1024, 4))}},
         0});
  const auto names = [this](const std::string& folder) {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(directory_ + folder)) {
      out.push_back(entry.path().filename().string() + (entry.is_directory() ? "/" : ""));
    }
    std::sort(out.begin(), out.end());
    return out;
  };
  EXPECT_EQ(names(""), (std::vector<std::string>{"datavg/", "disk", "rootvg/"}));
  EXPECT_EQ(names("/rootvg"), (std::vector<std::string>{"rootlv", "usrlv"}));
  EXPECT_EQ(names("/datavg"), std::vector<std::string>{"rootlv"});

  struct stat facts {};
  ASSERT_EQ(stat(directory_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_nlink, 4U);
  ASSERT_EQ(stat(file("rootvg").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode, static_cast<mode_t>(S_IFDIR | 0500));
  EXPECT_EQ(facts.st_nlink, 2U);
  ASSERT_EQ(stat(file("datavg/rootlv").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_size, 1024);
  for (const char* absent :
       {"rootlv", "rootvg/disk", "rootvg/nolv", "datavg/usrlv", "rootvg/rootvg"}) {
    EXPECT_EQ(stat(file(absent).c_str(), &facts), -1) << absent;
    EXPECT_EQ(errno, ENOENT) << absent;
  }
  EXPECT_EQ(stat(file("rootvg/rootlv/x").c_str(), &facts), -1);
  EXPECT_EQ(errno, ENOTDIR);

  const FileDescriptor volume(file("rootvg/rootlv"), O_RDONLY);
  ASSERT_GE(volume.get(), 0);
  std::vector<std::byte> into(root.size());
  ASSERT_EQ(pread(volume.get(), into.data(), into.size(), 0), static_cast<ssize_t>(root.size()));
  EXPECT_TRUE(into == root);
  EXPECT_EQ(FileDescriptor(file("rootvg"), O_WRONLY).open_errno(), EISDIR);
  EXPECT_NE(mkdir(file("rootvg/new").c_str(), 0700), 0);
  EXPECT_NE(unlink(file("rootvg/usrlv").c_str()), 0);
  struct statvfs space {};
  ASSERT_EQ(statvfs(file("rootvg").c_str(), &space), 0);
  EXPECT_EQ(space.f_files, 7U);
}

TEST_F(ExportFiles, ManyExportsAreAllListed) {
  ExportList list;
  for (int i = 1; i <= 300; ++i) {
    list.exports.push_back(
        {"p" + std::to_string(i), "", std::make_shared<MemoryDevice>(random_bytes(512, 3))});
  }
  mount(std::move(list));
  const std::filesystem::directory_iterator entries(directory_);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 300);
}

// A volume whose header fills its whole partition.
TEST_F(ExportFiles, AnExportOfNoBytesIsAnEmptyFile) {
  mount_one(std::make_shared<MemoryDevice>(std::vector<std::byte>(), true));
  struct stat facts {};
  ASSERT_EQ(stat(file().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_size, 0);
  EXPECT_EQ(facts.st_blocks, 0);
  const FileDescriptor disk(file(), O_RDWR);
  ASSERT_GE(disk.get(), 0);
  std::array<char, 512> buffer{};
  EXPECT_EQ(pread(disk.get(), buffer.data(), buffer.size(), 0), 0);
  EXPECT_EQ(pwrite(disk.get(), buffer.data(), buffer.size(), 0), -1);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(lseek(disk.get(), 0, SEEK_DATA), -1);
  EXPECT_EQ(errno, ENXIO);
  EXPECT_EQ(fsync(disk.get()), 0);
}

TEST_F(ExportFiles, ReadsStopAtTheEnd) {
  const auto content = random_bytes(kMiB + 100, 4);
  mount_one(std::make_shared<MemoryDevice>(content));
  const FileDescriptor disk(file(), O_RDONLY);
  ASSERT_GE(disk.get(), 0);
  std::vector<std::byte> into(3 * kMiB);
  ASSERT_EQ(pread(disk.get(), into.data(), into.size(), 0), static_cast<ssize_t>(content.size()));
  EXPECT_TRUE(std::equal(content.begin(), content.end(), into.begin()));
  EXPECT_EQ(pread(disk.get(), into.data(), 4096, kMiB), 100);
  EXPECT_EQ(pread(disk.get(), into.data(), 4096, kMiB + 100), 0);
  EXPECT_EQ(pread(disk.get(), into.data(), 4096, 1LL << 60), 0);
}

// Read-only (through the page cache) and writable (past it).
class ParallelReads : public ExportFiles, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Modes, ParallelReads, testing::Bool());

TEST_P(ParallelReads, EveryThreadGetsItsBytes) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const auto content = random_bytes(8 * kMiB + 333, seed);
  mount_one(std::make_shared<MemoryDevice>(content, GetParam()));
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (unsigned t = 0; t < 8; ++t) {
    readers.emplace_back([&, t] {
      std::mt19937_64 random(seed + t + 1);
      const FileDescriptor disk(file(), O_RDONLY);
      std::vector<std::byte> into(2 * kMiB);
      for (int i = 0; i < 60; ++i) {
        const std::size_t offset = random() % content.size();
        const std::size_t length =
            std::min<std::size_t>(random() % into.size() + 1, content.size() - offset);
        const ssize_t got = pread(disk.get(), into.data(), length, static_cast<off_t>(offset));
        if (got != static_cast<ssize_t>(length) ||
            std::memcmp(into.data(), content.data() + offset, length) != 0) {
          ++wrong;
        }
      }
    });
  }
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(ExportFiles, ParallelWritesLand) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  constexpr std::size_t kPart = kMiB + 77;
  constexpr unsigned kThreads = 6;
  auto device = std::make_shared<ScriptedDevice>(std::vector<std::byte>(kThreads * kPart), true);
  mount_one(device);
  const auto content = random_bytes(kThreads * kPart, seed);
  std::vector<std::thread> writers;
  std::atomic<int> failed{0};
  for (unsigned t = 0; t < kThreads; ++t) {
    writers.emplace_back([&, t] {
      const FileDescriptor disk(file(), O_WRONLY);
      std::mt19937_64 random(seed + t + 1);
      for (std::size_t at = t * kPart; at < (t + 1) * kPart;) {
        const std::size_t length =
            std::min<std::size_t>(random() % 70000 + 1, (t + 1) * kPart - at);
        if (pwrite(disk.get(), content.data() + at, length, static_cast<off_t>(at)) !=
            static_cast<ssize_t>(length)) {
          ++failed;
        }
        at += length;
      }
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(failed, 0);
  EXPECT_TRUE(device->bytes() == content);
}

// `disk` and `p1` show the same bytes: a write to one is at once visible in the other.
TEST_F(ExportFiles, TwoNamesOfTheSameBytesAgree) {
  auto device = std::make_shared<ScriptedDevice>(random_bytes(64 * 1024, 5), true);
  mount({{{"disk", "", device}, {"p1", "", device}}, 0});
  const FileDescriptor disk(file(), O_RDWR);
  const FileDescriptor p1(file("p1"), O_RDWR);
  std::array<char, 4096> block{};
  ASSERT_EQ(pread(disk.get(), block.data(), block.size(), 8192), 4096);  // would fill a cache
  block.fill('w');
  ASSERT_EQ(pwrite(p1.get(), block.data(), block.size(), 8192), 4096);
  std::array<char, 4096> seen{};
  ASSERT_EQ(pread(disk.get(), seen.data(), seen.size(), 8192), 4096);
  EXPECT_EQ(seen, block);
}

TEST_F(ExportFiles, WritesStopAtTheEnd) {
  mount_one(std::make_shared<ScriptedDevice>(random_bytes(10000, 6), true));
  const FileDescriptor disk(file(), O_RDWR);
  const std::array<char, 4096> block{};
  EXPECT_EQ(pwrite(disk.get(), block.data(), block.size(), 9000), 1000);
  EXPECT_EQ(pwrite(disk.get(), block.data(), block.size(), 10000), -1);
  EXPECT_EQ(errno, ENOSPC);
}

TEST_F(ExportFiles, ReadOnlyRefusesEveryChange) {
  mount_one(std::make_shared<MemoryDevice>(random_bytes(8192, 7)));
  EXPECT_EQ(FileDescriptor(file(), O_WRONLY).open_errno(), geteuid() == 0 ? EROFS : EACCES);
  EXPECT_EQ(truncate(file().c_str(), 0), -1);
  EXPECT_TRUE(errno == EROFS || errno == EACCES) << errno;
  EXPECT_EQ(unlink(file().c_str()), -1);
  EXPECT_EQ(mkdir(file("new").c_str(), 0700), -1);
  EXPECT_EQ(FileDescriptor(open(file("new").c_str(), O_CREAT | O_WRONLY, 0600)).get(), -1);
  const FileDescriptor disk(file(), O_RDONLY);
  EXPECT_EQ(fsync(disk.get()), 0);
}

// A writable directory that holds a read-only export: the mount is not read-only, the file is.
TEST_F(ExportFiles, ReadOnlyExportBesideAWritableOne) {
  mount({{{"disk", "", std::make_shared<MemoryDevice>(random_bytes(8192, 8), true)},
          {"p1", "", std::make_shared<MemoryDevice>(random_bytes(4096, 8))}},
         0});
  EXPECT_GE(FileDescriptor(file(), O_RDWR).get(), 0);
  EXPECT_EQ(FileDescriptor(file("p1"), O_RDWR).open_errno(), geteuid() == 0 ? EROFS : EACCES);
}

TEST_F(ExportFiles, NothingIsCreatedRemovedOrResized) {
  auto device = std::make_shared<ScriptedDevice>(random_bytes(8192, 9), true);
  mount_one(device);
  const int expected = geteuid() == 0 ? EPERM : EACCES;  // the directory is 0500
  const auto refused = [&](int result) { return result == -1 && errno == expected; };
  EXPECT_TRUE(refused(unlink(file().c_str())));
  EXPECT_TRUE(refused(rename(file().c_str(), file("other").c_str())));
  EXPECT_TRUE(refused(mkdir(file("new").c_str(), 0700)));
  EXPECT_TRUE(refused(symlink("disk", file("new").c_str())));
  EXPECT_TRUE(refused(open(file("new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
  EXPECT_EQ(truncate(file().c_str(), 4096), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(truncate(file().c_str(), 8192), 0);  // the size it has
  EXPECT_EQ(chmod(file().c_str(), 0666), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(FileDescriptor(file(), O_WRONLY | O_TRUNC).open_errno(), EPERM);
  EXPECT_TRUE(device->bytes() == random_bytes(8192, 9));
}

TEST_F(ExportFiles, FsyncReachesFlush) {
  auto device = std::make_shared<ScriptedDevice>(random_bytes(8192, 10), true);
  mount_one(device);
  const FileDescriptor disk(file(), O_RDWR);
  ASSERT_EQ(pwrite(disk.get(), "x", 1, 0), 1);
  EXPECT_EQ(device->flushes, 0);
  ASSERT_EQ(fsync(disk.get()), 0);
  EXPECT_EQ(device->flushes, 1);
  ASSERT_EQ(fdatasync(disk.get()), 0);
  EXPECT_EQ(device->flushes, 2);
  const FileDescriptor durable(file(), O_RDWR | O_DSYNC);
  ASSERT_EQ(pwrite(durable.get(), "y", 1, 1), 1);
  EXPECT_GE(device->flushes, 3);
}

TEST_F(ExportFiles, HolesAreWhatReadsAsZero) {
  auto device = std::make_shared<ScriptedDevice>(random_bytes(64 * 1024, 11), false);
  device->set_extents({{8192, {1, true, false}},      // data
                       {16384, {1, false, true}},     // hole
                       {24576, {1, true, true}},      // allocated zeros: reads as a hole
                       {32768, {1, false, false}}});  // unallocated noise below a cipher: data
  mount_one(device);
  const FileDescriptor disk(file(), O_RDONLY);
  struct stat facts {};
  ASSERT_EQ(fstat(disk.get(), &facts), 0);
  EXPECT_EQ(facts.st_blocks, (64 - 16) * 2);
  EXPECT_EQ(lseek(disk.get(), 0, SEEK_DATA), 0);
  EXPECT_EQ(lseek(disk.get(), 100, SEEK_HOLE), 8192);
  EXPECT_EQ(lseek(disk.get(), 9000, SEEK_HOLE), 9000);
  EXPECT_EQ(lseek(disk.get(), 9000, SEEK_DATA), 24576);
  EXPECT_EQ(lseek(disk.get(), 24576, SEEK_HOLE), 64 * 1024);  // the end counts as a hole
  EXPECT_EQ(lseek(disk.get(), 64 * 1024, SEEK_DATA), -1);
  EXPECT_EQ(errno, ENXIO);
  device->set_extents({{64 * 1024, {1, false, true}}});
  EXPECT_EQ(lseek(disk.get(), 5, SEEK_DATA), -1);
  EXPECT_EQ(errno, ENXIO);
}

TEST_F(ExportFiles, RangesCanBeZeroed) {
  auto content = random_bytes(64 * 1024, 12);
  auto device = std::make_shared<ScriptedDevice>(content, true);
  mount_one(device);
  const FileDescriptor disk(file(), O_RDWR);
  ASSERT_EQ(fallocate(disk.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 3000), 0);
  EXPECT_EQ(device->fast_zeroes, 1);
  ASSERT_EQ(fallocate(disk.get(), FALLOC_FL_ZERO_RANGE, 10000, 20), 0);
  EXPECT_EQ(device->slow_zeroes, 1);
  std::fill_n(content.begin() + 1000, 3000, std::byte{0});
  std::fill_n(content.begin() + 10000, 20, std::byte{0});
  EXPECT_TRUE(device->bytes() == content);
  // A range that runs over the end is cut where the size stays, refused where the file would grow.
  EXPECT_EQ(fallocate(disk.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65000, 9999), 0);
  EXPECT_EQ(fallocate(disk.get(), FALLOC_FL_ZERO_RANGE, 65000, 9999), -1);
  EXPECT_EQ(errno, ENOSPC);
  // No space to give back: the caller is told to write zeros itself.
  device->fast_zero_supported = false;
  EXPECT_EQ(fallocate(disk.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 512), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(fallocate(disk.get(), 0, 0, 512), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_F(ExportFiles, AFailedReadSendsNoBytes) {
  auto device =
      std::make_shared<ScriptedDevice>(std::vector<std::byte>(8192, std::byte{'S'}), true);
  device->read_status.store(IoCode::kFailed);
  mount_one(device);
  const FileDescriptor disk(file(), O_RDONLY);
  std::array<char, 4096> into{};
  EXPECT_EQ(pread(disk.get(), into.data(), into.size(), 0), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(std::count(into.begin(), into.end(), '\0'), 4096);
}

struct Mapping {
  const char* name;
  IoStatus status;
  int expected;
};
class ErrorMapping : public ExportFiles, public testing::WithParamInterface<Mapping> {};
INSTANTIATE_TEST_SUITE_P(Statuses, ErrorMapping,
                         testing::Values(Mapping{"Failed", IoCode::kFailed, EIO},
                                         Mapping{"Interrupted", {IoCode::kFailed, EINTR}, EIO},
                                         Mapping{"NotImplemented", {IoCode::kFailed, ENOSYS}, EIO},
                                         Mapping{"OutOfRange", IoCode::kOutOfRange, EINVAL},
                                         Mapping{"ReadOnly", IoCode::kReadOnly, EROFS},
                                         Mapping{"Sealed", IoCode::kSealed, EPERM},
                                         Mapping{"NoSpace", IoCode::kNoSpace, ENOSPC},
                                         Mapping{"Quota", {IoCode::kNoSpace, EDQUOT}, ENOSPC},
                                         Mapping{"Damaged", IoCode::kDamaged, EIO},
                                         Mapping{"NotSupported", IoCode::kNotSupported,
                                                 EOPNOTSUPP}),
                         [](const auto& mapping) { return std::string(mapping.param.name); });

TEST_P(ErrorMapping, ReachesTheCallerEveryTime) {
  auto device = std::make_shared<ScriptedDevice>(random_bytes(8192, 13), true);
  device->read_status.store(GetParam().status);
  device->write_status.store(GetParam().status);
  device->flush_status.store(GetParam().status);
  mount_one(device);
  const FileDescriptor disk(file(), O_RDWR);
  std::array<char, 512> block{};
  // Twice: an errno the kernel takes for ENOSYS would turn the second fsync into success.
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(pread(disk.get(), block.data(), block.size(), 0), -1);
    EXPECT_EQ(errno, GetParam().expected);
    EXPECT_EQ(pwrite(disk.get(), block.data(), block.size(), 0), -1);
    EXPECT_EQ(errno, GetParam().expected);
    EXPECT_EQ(fsync(disk.get()), -1);
    EXPECT_EQ(errno, GetParam().expected);
  }
}

}  // namespace
}  // namespace latchkey::frontends
