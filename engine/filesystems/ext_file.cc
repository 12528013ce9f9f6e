// libext2fs over an I/O manager of our own.
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <utility>

extern "C" {  // com_err.h does not say so itself
#include <et/com_err.h>
}
#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

#include "engine/bytes.h"
#include "engine/filesystems/file_readers.h"
#include "engine/filesystems/read_file.h"

namespace latchkey::engine {
namespace {

// ext2fs_open() hands its I/O manager nothing but a name; the reader goes past it.
thread_local BoundedReader* opening = nullptr;

errcode_t open_channel(const char* name, int /*flags*/, io_channel* out);

errcode_t close_channel(io_channel channel) {
  if (--channel->refcount > 0) return 0;
  delete channel;
  return 0;
}

errcode_t set_block_size(io_channel channel, int bytes) {
  if (bytes <= 0) return EXT2_ET_INVALID_ARGUMENT;
  channel->block_size = bytes;
  return 0;
}

// A negative count is a number of bytes.
errcode_t read_blocks64(io_channel channel, unsigned long long block, int count, void* into) {
  const auto block_bytes = static_cast<std::uint64_t>(channel->block_size);
  const auto size = count < 0 ? static_cast<std::uint64_t>(-static_cast<std::int64_t>(count))
                              : static_cast<std::uint64_t>(count) * block_bytes;
  if (block > std::numeric_limits<std::uint64_t>::max() / block_bytes) return EXT2_ET_SHORT_READ;
  auto* reader = static_cast<BoundedReader*>(channel->private_data);
  const MutableBytes bytes(static_cast<std::byte*>(into), size);
  return reader->read(block * block_bytes, bytes) ? 0 : EXT2_ET_SHORT_READ;
}

errcode_t read_blocks(io_channel channel, unsigned long block, int count, void* into) {
  return read_blocks64(channel, block, count, into);
}

errcode_t refuse_blocks(io_channel /*channel*/, unsigned long /*block*/, int /*count*/,
                        const void* /*from*/) {
  return EXT2_ET_RO_FILSYS;
}

errcode_t refuse_blocks64(io_channel /*channel*/, unsigned long long /*block*/, int /*count*/,
                          const void* /*from*/) {
  return EXT2_ET_RO_FILSYS;
}

errcode_t nothing_to_flush(io_channel /*channel*/) {
  return 0;
}

io_manager device_manager() {
  static struct_io_manager manager = [] {
    struct_io_manager one{};
    one.magic = EXT2_ET_MAGIC_IO_MANAGER;
    one.name = "latchkey";
    one.open = open_channel;
    one.close = close_channel;
    one.set_blksize = set_block_size;
    one.read_blk = read_blocks;
    one.read_blk64 = read_blocks64;
    one.write_blk = refuse_blocks;
    one.write_blk64 = refuse_blocks64;
    one.flush = nothing_to_flush;
    return one;
  }();
  return &manager;
}

errcode_t open_channel(const char* name, int /*flags*/, io_channel* out) {
  auto* channel = new (std::nothrow) struct_io_channel{};
  if (channel == nullptr) return EXT2_ET_NO_MEMORY;
  channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  channel->manager = device_manager();
  channel->name = const_cast<char*>(name);
  channel->block_size = 1024;
  channel->refcount = 1;
  channel->private_data = opening;
  *out = channel;
  return 0;
}

struct CloseFileSystem {
  // Frees without writing, which closing would do to one that is dirty.
  void operator()(struct_ext2_filsys* one) const noexcept { ext2fs_free(one); }
};
struct CloseFile {
  void operator()(ext2_file* one) const noexcept { ext2fs_file_close(one); }
};

Error failed(const std::string& what, errcode_t code) {
  static const bool known = [] {
    add_error_table(&et_ext2_error_table);
    return true;
  }();
  static_cast<void>(known);
  return {ErrorCode::kDamaged, fmt::format("{}: {}", what, printable(error_message(code)))};
}

}  // namespace

Result<FileBytes> read_ext_file(BoundedReader& reader, const std::string& path) {
  static constexpr char kName[] = "image";
  ext2_filsys opened = nullptr;
  opening = &reader;
  const errcode_t failure = ext2fs_open2(kName, nullptr, EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP, 0,
                                         0, device_manager(), &opened);
  opening = nullptr;
  if (failure != 0) return failed("the ext file system cannot be opened", failure);
  const std::unique_ptr<struct_ext2_filsys, CloseFileSystem> fs(opened);

  ext2_ino_t inode_number = 0;
  const errcode_t found =
      ext2fs_namei_follow(fs.get(), EXT2_ROOT_INO, EXT2_ROOT_INO, path.c_str(), &inode_number);
  if (found == EXT2_ET_FILE_NOT_FOUND || found == EXT2_ET_NO_DIRECTORY) return FileBytes();
  if (found != 0) return failed("its folder cannot be read", found);
  ext2_inode inode{};
  if (const errcode_t code = ext2fs_read_inode(fs.get(), inode_number, &inode); code != 0) {
    return failed("its inode cannot be read", code);
  }
  if (!LINUX_S_ISREG(inode.i_mode)) return not_a_regular_file();
  ext2_file_t handle = nullptr;
  if (const errcode_t code = ext2fs_file_open(fs.get(), inode_number, 0, &handle); code != 0) {
    return failed("it cannot be opened", code);
  }
  const std::unique_ptr<ext2_file, CloseFile> file(handle);
  std::uint64_t size = 0;
  if (const errcode_t code = ext2fs_file_get_lsize(
          file.get(), reinterpret_cast<__u64*>(&size));  // NOLINT: the same type by another name
      code != 0) {
    return failed("its size cannot be read", code);
  }
  if (size > kMaxReadFileBytes) return file_too_large(size);
  std::vector<std::byte> bytes(size);
  for (std::size_t at = 0; at < bytes.size();) {
    unsigned got = 0;
    const errcode_t code = ext2fs_file_read(file.get(), bytes.data() + at,
                                            static_cast<unsigned>(bytes.size() - at), &got);
    if (code != 0 || got == 0) return failed(fmt::format("it cannot be read at {}", at), code);
    at += got;
  }
  return FileBytes(std::move(bytes));
}

}  // namespace latchkey::engine
