#include "frontends/fuse/requests.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "frontends/fuse/status_errno.h"

namespace latchkey::frontends {
namespace {

using engine::BlockDevice;
using engine::WriteFlags;

// Names, sizes and modes never change while mounted.
constexpr double kForeverSeconds = 24.0 * 3600;
// Tells stdio and coreutils how much to ask for at once: a request costs a switch to this process
// and back, whatever its size.
constexpr blksize_t kPreferredBytes = 256L * 1024;

thread_local TransferBuffer* worker_buffer = nullptr;

const ServedExports& served(fuse_req_t request) {
  return *static_cast<const ServedExports*>(fuse_req_userdata(request));
}

BlockDevice* device_of(fuse_req_t request, fuse_ino_t inode) {
  const auto& exports = served(request).list.exports;
  if (inode < kFirstFileInode || inode - kFirstFileInode >= exports.size()) return nullptr;
  return exports[inode - kFirstFileInode].device.get();
}

const ServedFolder* folder_of(const ServedExports& all, fuse_ino_t inode) {
  if (inode == FUSE_ROOT_ID) return all.folders.data();
  const fuse_ino_t first = kFirstFileInode + all.list.exports.size();
  if (inode < first || inode - first + 1 >= all.folders.size()) return nullptr;
  return &all.folders[inode - first + 1];
}

// Of a file or a folder that exists.
const std::string& name_of(const ServedExports& all, fuse_ino_t inode) {
  const ServedFolder* folder = folder_of(all, inode);
  return folder != nullptr ? folder->name : all.file_names[inode - kFirstFileInode];
}

// False: answered with ESTALE. Offsets come as off_t; negative ones never reach a device.
bool find_device(fuse_req_t request, fuse_ino_t inode, BlockDevice*& device) {
  device = device_of(request, inode);
  if (device == nullptr) {
    fuse_reply_err(request, folder_of(served(request), inode) != nullptr ? EISDIR : ESTALE);
  }
  return device != nullptr;
}

// Notes a write that was meant to be taken and was not. (A refused one, kSealed, is no loss.)
int answer_to_write(fuse_req_t request, engine::IoStatus status) {
  using engine::IoCode;
  const IoCode code = status.code();
  if (code == IoCode::kFailed || code == IoCode::kNoSpace || code == IoCode::kDamaged) {
    served(request).lost_writes.fetch_add(1, std::memory_order_relaxed);
  }
  return fuse_errno(status);
}

bool attributes_of(fuse_req_t request, fuse_ino_t inode, struct stat& out) {
  const ServedExports& all = served(request);
  out = {};
  out.st_ino = inode;
  out.st_uid = all.owner;
  out.st_gid = all.group;
  out.st_atim = out.st_mtim = out.st_ctim = all.mounted_at;
  if (folder_of(all, inode) != nullptr) {
    out.st_mode = S_IFDIR | 0500;
    out.st_nlink = inode == FUSE_ROOT_ID ? all.folders.size() + 1 : 2;
    return true;
  }
  const BlockDevice* device = device_of(request, inode);
  if (device == nullptr) return false;
  out.st_mode = S_IFREG | (device->writable() ? 0600 : 0400);
  out.st_nlink = 1;
  out.st_size = static_cast<off_t>(device->size_bytes());
  out.st_blocks = static_cast<blkcnt_t>((all.allocated_bytes[inode - kFirstFileInode] + 511) / 512);
  out.st_blksize = kPreferredBytes;
  return true;
}

void init(void* /*userdata*/, fuse_conn_info* connection) {
  connection->max_write = kMaxTransferBytes;
  connection->max_read = kMaxTransferBytes;
  connection->max_readahead = kMaxTransferBytes;
  // How many readahead and asynchronous direct requests the kernel keeps in flight; its default of
  // 12 starves a loop device.
  connection->max_background = 64;
  connection->congestion_threshold = 48;
  // Writes must have reached the device when write(2) returns: with a write-back cache their errors
  // would surface later or never.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_WRITEBACK_CACHE);
}

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const ServedExports& all = served(request);
  const ServedFolder* folder = folder_of(all, parent);
  if (folder == nullptr) return void(fuse_reply_err(request, ENOTDIR));
  for (const fuse_ino_t child : folder->children) {
    if (name_of(all, child) != name) continue;
    fuse_entry_param entry{};
    entry.ino = child;
    entry.attr_timeout = entry.entry_timeout = kForeverSeconds;
    attributes_of(request, entry.ino, entry.attr);
    return void(fuse_reply_entry(request, &entry));
  }
  fuse_reply_err(request, ENOENT);
}

void get_attributes(fuse_req_t request, fuse_ino_t inode, fuse_file_info* /*file*/) {
  struct stat attributes;
  if (!attributes_of(request, inode, attributes)) return void(fuse_reply_err(request, ESTALE));
  fuse_reply_attr(request, &attributes, kForeverSeconds);
}

void set_attributes(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int which,
                    fuse_file_info* /*file*/) {
  struct stat attributes;
  if (!attributes_of(request, inode, attributes)) return void(fuse_reply_err(request, ESTALE));
  // Times may be "set" (cp --preserve, touch); they are not kept. A size may be set to what it is.
  const int refused = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
  const bool resized = (which & FUSE_SET_ATTR_SIZE) != 0 && wanted->st_size != attributes.st_size;
  if ((which & refused) != 0 || resized) return void(fuse_reply_err(request, EPERM));
  fuse_reply_attr(request, &attributes, kForeverSeconds);
}

void open_file(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file) {
  BlockDevice* device = nullptr;
  if (!find_device(request, inode, device)) return;
  if ((file->flags & O_ACCMODE) != O_RDONLY && !device->writable()) {
    return void(fuse_reply_err(request, EROFS));
  }
  // A device cannot become empty, and must not pretend that it did.
  if ((file->flags & O_TRUNC) != 0) return void(fuse_reply_err(request, EPERM));
  const bool page_cache = served(request).page_cache;
  file->direct_io = page_cache ? 0 : 1;
  file->keep_cache = page_cache ? 1 : 0;
  fuse_reply_open(request, file);
}

void release_file(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* /*file*/) {
  fuse_reply_err(request, 0);
}

void read_file(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t offset,
               fuse_file_info* /*file*/) {
  BlockDevice* device = nullptr;
  if (!find_device(request, inode, device)) return;
  if (offset < 0 || size > kMaxTransferBytes) return void(fuse_reply_err(request, EINVAL));
  const auto start = static_cast<std::uint64_t>(offset);
  const std::uint64_t end = device->size_bytes();
  if (start >= end) return void(fuse_reply_buf(request, nullptr, 0));
  const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(size, end - start));
  ReadAhead* const ahead = served(request).read_ahead;
  const auto status = ahead != nullptr ? ahead->read(*device, start, length, *worker_buffer)
                                       : device->read(start, worker_buffer->span().first(length));
  if (!status.ok()) return void(fuse_reply_err(request, fuse_errno(status)));
  fuse_reply_buf(request, reinterpret_cast<const char*>(worker_buffer->span().data()), length);
}

void write_file(fuse_req_t request, fuse_ino_t inode, const char* bytes, std::size_t size,
                off_t offset, fuse_file_info* file) {
  BlockDevice* device = nullptr;
  if (!find_device(request, inode, device)) return;
  if (offset < 0) return void(fuse_reply_err(request, EINVAL));
  const auto start = static_cast<std::uint64_t>(offset);
  const std::uint64_t end = device->size_bytes();
  if (size == 0) return void(fuse_reply_write(request, 0));
  // As a block device does: what fits is written, then the device is full.
  if (start >= end) return void(fuse_reply_err(request, ENOSPC));
  const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(size, end - start));
  const bool durable = (file->flags & O_DSYNC) != 0;
  const auto status = device->write(start, std::as_bytes(std::span(bytes, length)),
                                    durable ? WriteFlags::kFua : WriteFlags::kNone);
  if (!status.ok()) return void(fuse_reply_err(request, answer_to_write(request, status)));
  fuse_reply_write(request, length);
}

void sync_file(fuse_req_t request, fuse_ino_t inode, int /*data_only*/, fuse_file_info* /*file*/) {
  BlockDevice* device = nullptr;
  if (!find_device(request, inode, device)) return;
  // Read-only devices have nothing to lose, and fsync on a read-only file succeeds everywhere.
  fuse_reply_err(request, device->writable() ? fuse_errno(device->flush()) : 0);
}

// Zeroing keeps the space and always works. Punching gives space back, so it is done only where the
// storage can (never above a cipher); callers, a loop device among them, fall back to writing
// zeros.
void allocate_range(fuse_req_t request, fuse_ino_t inode, int mode, off_t offset, off_t length,
                    fuse_file_info* /*file*/) {
  BlockDevice* device = nullptr;
  if (!find_device(request, inode, device)) return;
  if (offset < 0 || length <= 0) return void(fuse_reply_err(request, EINVAL));
  WriteFlags flags = WriteFlags::kNone;
  switch (mode & ~FALLOC_FL_KEEP_SIZE) {
    case FALLOC_FL_PUNCH_HOLE:
      flags = WriteFlags::kFastZero;
      break;
    case FALLOC_FL_ZERO_RANGE:
      flags = WriteFlags::kNoHole;
      break;
    default:
      return void(fuse_reply_err(request, EOPNOTSUPP));
  }
  const auto start = static_cast<std::uint64_t>(offset);
  const auto wanted = static_cast<std::uint64_t>(length);
  const std::uint64_t end = device->size_bytes();
  const bool beyond = start > end || wanted > end - start;
  if (beyond && (mode & FALLOC_FL_KEEP_SIZE) == 0) return void(fuse_reply_err(request, ENOSPC));
  const std::uint64_t inside = start >= end ? 0 : std::min(wanted, end - start);
  const auto status = device->write_zeroes(start >= end ? 0 : start, inside, flags);
  fuse_reply_err(request, answer_to_write(request, status));
}

// A hole is what reads as zeros. An unallocated range below a cipher reads as noise: it is data.
void seek_file(fuse_req_t request, fuse_ino_t inode, off_t offset, int whence,
               fuse_file_info* /*file*/) {
  BlockDevice* device = nullptr;
  if (!find_device(request, inode, device)) return;
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return void(fuse_reply_err(request, EINVAL));
  const std::uint64_t end = device->size_bytes();
  if (offset < 0 || static_cast<std::uint64_t>(offset) >= end) {
    return void(fuse_reply_err(request, ENXIO));
  }
  auto at = static_cast<std::uint64_t>(offset);
  while (at < end) {
    const engine::Extent extent = device->extent_at(at, end - at);
    if (extent.reads_as_zero == (whence == SEEK_HOLE) || extent.length == 0) break;
    at += std::min(extent.length, end - at);
  }
  if (at >= end && whence == SEEK_DATA) return void(fuse_reply_err(request, ENXIO));
  fuse_reply_lseek(request, static_cast<off_t>(at));
}

void read_directory(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t offset,
                    fuse_file_info* /*file*/) {
  const ServedExports& all = served(request);
  const ServedFolder* folder = folder_of(all, inode);
  if (folder == nullptr) return void(fuse_reply_err(request, ENOTDIR));
  if (offset < 0) return void(fuse_reply_err(request, EINVAL));
  const std::size_t room = std::min(size, kMaxTransferBytes);
  auto* const buffer = reinterpret_cast<char*>(worker_buffer->span().data());
  std::size_t used = 0;
  // Entry numbers are the offsets: ".", "..", then what is in it.
  for (auto i = static_cast<std::size_t>(offset); i < folder->children.size() + 2; ++i) {
    struct stat attributes {};
    if (i < 2) {
      attributes.st_ino = i == 0 ? inode : FUSE_ROOT_ID;
    } else {
      attributes.st_ino = folder->children[i - 2];
    }
    const bool is_folder = i < 2 || folder_of(all, attributes.st_ino) != nullptr;
    attributes.st_mode = is_folder ? S_IFDIR : S_IFREG;
    const char* name = i == 0 ? "." : i == 1 ? ".." : name_of(all, attributes.st_ino).c_str();
    const std::size_t needed = fuse_add_direntry(request, buffer + used, room - used, name,
                                                 &attributes, static_cast<off_t>(i + 1));
    if (needed > room - used) break;
    used += needed;
  }
  fuse_reply_buf(request, buffer, used);
}

void file_system_facts(fuse_req_t request, fuse_ino_t /*inode*/) {
  const auto& exports = served(request).list.exports;
  constexpr std::uint64_t kBlockBytes = 4096;
  struct statvfs facts {};
  facts.f_bsize = facts.f_frsize = kBlockBytes;
  for (const Export& one : exports) {
    facts.f_blocks += one.device->size_bytes() / kBlockBytes;
  }
  facts.f_files = exports.size() + served(request).folders.size();
  facts.f_namemax = 255;
  fuse_reply_statfs(request, &facts);
}

// Nothing can be created, removed or renamed. Without these the kernel would say ENOSYS.
void refuse_named(fuse_req_t request, fuse_ino_t /*parent*/, const char* /*name*/) {
  fuse_reply_err(request, EPERM);
}
void refuse_directory(fuse_req_t request, fuse_ino_t /*parent*/, const char* /*name*/,
                      mode_t /*mode*/) {
  fuse_reply_err(request, EPERM);
}
void refuse_node(fuse_req_t request, fuse_ino_t /*parent*/, const char* /*name*/, mode_t /*mode*/,
                 dev_t /*device*/) {
  fuse_reply_err(request, EPERM);
}
void refuse_create(fuse_req_t request, fuse_ino_t /*parent*/, const char* /*name*/, mode_t /*mode*/,
                   fuse_file_info* /*file*/) {
  fuse_reply_err(request, EPERM);
}
void refuse_symlink(fuse_req_t request, const char* /*target*/, fuse_ino_t /*parent*/,
                    const char* /*name*/) {
  fuse_reply_err(request, EPERM);
}
void refuse_link(fuse_req_t request, fuse_ino_t /*inode*/, fuse_ino_t /*parent*/,
                 const char* /*name*/) {
  fuse_reply_err(request, EPERM);
}
void refuse_rename(fuse_req_t request, fuse_ino_t /*parent*/, const char* /*name*/,
                   fuse_ino_t /*new_parent*/, const char* /*new_name*/, unsigned /*flags*/) {
  fuse_reply_err(request, EPERM);
}

}  // namespace

WorkerBuffer::WorkerBuffer() {
  worker_buffer = &buffer_;
}

WorkerBuffer::~WorkerBuffer() {
  worker_buffer = nullptr;
}

const fuse_lowlevel_ops& export_operations() noexcept {
  static const fuse_lowlevel_ops operations = [] {
    fuse_lowlevel_ops ops{};
    ops.init = init;
    ops.lookup = lookup;
    ops.getattr = get_attributes;
    ops.setattr = set_attributes;
    ops.open = open_file;
    ops.release = release_file;
    ops.read = read_file;
    ops.write = write_file;
    ops.fsync = sync_file;
    ops.fallocate = allocate_range;
    ops.lseek = seek_file;
    ops.readdir = read_directory;
    ops.statfs = file_system_facts;
    ops.create = refuse_create;
    ops.mknod = refuse_node;
    ops.mkdir = refuse_directory;
    ops.unlink = refuse_named;
    ops.rmdir = refuse_named;
    ops.rename = refuse_rename;
    ops.link = refuse_link;
    ops.symlink = refuse_symlink;
    // No `flush`: close(2) promises nothing about durability, and the kernel stops asking.
    return ops;
  }();
  return operations;
}

}  // namespace latchkey::frontends
