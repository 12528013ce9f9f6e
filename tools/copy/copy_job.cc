#include "tools/copy/copy_job.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <system_error>

#include <fmt/format.h>

#include "engine/bytes.h"
#include "engine/thread_signals.h"

namespace latchkey::tools {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::IoStatus;
using engine::Result;

namespace {

// A shorter run of zeros is written like the data around it: a file in small pieces costs its
// readers more than the room is worth.
constexpr std::size_t kZeroRunBytes = std::size_t{32} << 10;

std::uint64_t pieces_in(std::uint64_t bytes) {
  return bytes / kCopyPieceBytes + (bytes % kCopyPieceBytes != 0 ? 1 : 0);
}

// How many bytes, in whole units of kZeroRunBytes, are zeros (`zero`) or are not.
std::size_t run_length(Bytes bytes, bool& zero) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t unit = std::min(kZeroRunBytes, bytes.size() - at);
    const bool is_zero = engine::all_zero(bytes.subspan(at, unit));
    if (at == 0) zero = is_zero;
    if (is_zero != zero) break;
    at += unit;
  }
  return at;
}

}  // namespace

struct CopyJob::Buffers {
  explicit Buffers(bool compares) : piece(kCopyPieceBytes), there(compares ? kCopyPieceBytes : 0) {}
  std::vector<std::byte> piece;
  std::vector<std::byte> there;  // what the target holds
};

CopyJob::CopyJob(engine::DevicePtr source, engine::DevicePtr target, std::uint64_t bytes,
                 const CopyJobOptions& options)
    : source_(std::move(source)),
      target_(std::move(target)),
      bytes_(bytes),
      options_(options),
      zeros_(kCopyPieceBytes) {}

CopyJob::~CopyJob() {
  stop();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

Result<void> CopyJob::start() {
  if (options_.digest) {
    auto sha256 = keyslots::Digest::find("sha256");
    if (!sha256) return std::move(sha256).error();
    digest_ = std::make_unique<OrderedDigest>(*sha256);
  }
  const engine::SignalsBlocked quiet;
  running_ = std::max(1U, options_.jobs);
  try {
    for (unsigned i = 0, count = running_; i < count; ++i)
      threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& failed) {
    const std::lock_guard lock(mutex_);
    running_ -= std::max(1U, options_.jobs) - static_cast<unsigned>(threads_.size());
    if (threads_.empty()) return Error::system("cannot start a thread", failed.code().value());
  }
  return {};
}

std::uint64_t CopyJob::copied_below() const {
  const std::lock_guard lock(mutex_);
  return std::min(done_ * kCopyPieceBytes, bytes_);
}

bool CopyJob::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [&] { return running_ == 0; });
}

void CopyJob::stop() {
  stopping_.store(true);
  if (digest_) digest_->give_up();
}

Result<CopyOutcome> CopyJob::finish() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  if (error_) return *error_;
  CopyOutcome outcome;
  outcome.whole = done_ == pieces_in(bytes_);
  if (digest_ && outcome.whole) {
    outcome.sha256 = digest_->hex();
    if (outcome.sha256.empty()) {
      return Error(ErrorCode::kSystem, "computing a digest failed inside OpenSSL");
    }
  }
  outcome.zero_bytes = zero_bytes_;
  outcome.rewritten_bytes = rewritten_bytes_;
  std::sort(unreadable_.begin(), unreadable_.end(),
            [](const ByteRange& a, const ByteRange& b) { return a.offset < b.offset; });
  for (const ByteRange& range : unreadable_) add_range(outcome.unreadable, range);
  return outcome;
}

void CopyJob::work() noexcept {
  try {
    Buffers buffers(target_ != nullptr && options_.compare_below > 0);
    const std::uint64_t pieces = pieces_in(bytes_);
    while (!stopping_.load()) {
      const std::uint64_t index = next_.fetch_add(1);
      if (index >= pieces || !copy_piece(index, buffers)) break;
      piece_done(index);
    }
  } catch (const std::bad_alloc&) {
    fail(Error(ErrorCode::kSystem, "out of memory"));
  }
  const std::lock_guard lock(mutex_);
  --running_;
  changed_.notify_all();
}

bool CopyJob::copy_piece(std::uint64_t index, Buffers& buffers) {
  const std::uint64_t offset = index * kCopyPieceBytes;
  const auto length =
      static_cast<std::size_t>(std::min<std::uint64_t>(kCopyPieceBytes, bytes_ - offset));
  Bytes bytes = Bytes(zeros_).first(length);
  const bool hole = known_zero(offset, length);
  if (!hole) {
    const std::span<std::byte> piece = std::span(buffers.piece).first(length);
    if (!read_piece(offset, piece)) return false;
    bytes = piece;
  }
  if (digest_ && !digest_->add(index, bytes)) {
    if (!stopping_.load()) fail(Error(ErrorCode::kSystem, "computing a digest failed"));
    return false;
  }
  return target_ == nullptr || write_piece(offset, bytes, buffers);
}

// A hole of the source, which need not be read.
bool CopyJob::known_zero(std::uint64_t offset, std::uint64_t length) {
  while (length > 0) {
    const engine::Extent extent = extent_of_source(offset);
    if (!extent.reads_as_zero || extent.length == 0) return false;
    const std::uint64_t count = std::min(extent.length, length);
    offset += count;
    length -= count;
  }
  return true;
}

// Asked once an extent, not once a piece: where the next hole is, some file systems find out page
// by page.
engine::Extent CopyJob::extent_of_source(std::uint64_t offset) {
  const std::lock_guard lock(extent_mutex_);
  if (offset < extent_at_ || offset - extent_at_ >= extent_.length) {
    extent_ = source_->extent_at(offset, bytes_ - offset);
    extent_at_ = offset;
  }
  engine::Extent rest = extent_;
  rest.length -= offset - extent_at_;
  return rest;
}

bool CopyJob::read_piece(std::uint64_t offset, std::span<std::byte> into) {
  std::vector<ByteRange> unreadable;
  const ReadPatience patience{.fill = options_.keep_going, .stop = &stopping_};
  const IoStatus status = read_carefully(*source_, offset, into, patience, unreadable);
  if (stopping_.load() && !status.ok()) return false;
  if (unreadable.empty()) return true;
  if (!options_.keep_going) {
    fail(Error::system(fmt::format("cannot read byte {}", unreadable.front().offset),
                       status.sys_errno()),
         true);
    return false;
  }
  const std::lock_guard lock(mutex_);
  unreadable_.insert(unreadable_.end(), unreadable.begin(), unreadable.end());
  return true;
}

bool CopyJob::write_piece(std::uint64_t offset, Bytes bytes, Buffers& buffers) {
  if (offset < options_.compare_below) {
    const std::span<std::byte> there = std::span(buffers.there).first(bytes.size());
    // What cannot be read is written.
    if (target_->read(offset, there).ok() &&
        std::memcmp(there.data(), bytes.data(), bytes.size()) == 0) {
      count_zeros(bytes);
      return true;
    }
    rewritten_bytes_ += bytes.size();
  }
  return write_runs(offset, bytes);
}

bool CopyJob::write_runs(std::uint64_t offset, Bytes bytes) {
  if (options_.zeroes == ZeroWrites::kWriteOut) {
    return written(offset, target_->write(offset, bytes));
  }
  while (!bytes.empty()) {
    bool zero = false;
    const std::size_t length = run_length(bytes, zero);
    const Bytes run = bytes.first(length);
    if (!(zero ? write_zeros(offset, run) : written(offset, target_->write(offset, run)))) {
      return false;
    }
    offset += length;
    bytes = bytes.subspan(length);
  }
  return true;
}

// Of what is there already.
void CopyJob::count_zeros(Bytes bytes) {
  if (options_.zeroes == ZeroWrites::kWriteOut) return;
  while (!bytes.empty()) {
    bool zero = false;
    const std::size_t length = run_length(bytes, zero);
    if (zero) zero_bytes_ += length;
    bytes = bytes.subspan(length);
  }
}

bool CopyJob::write_zeros(std::uint64_t offset, Bytes zeros) {
  zero_bytes_ += zeros.size();
  if (options_.zeroes == ZeroWrites::kNone) return true;
  return written(offset, target_->write_zeroes(offset, zeros.size()));
}

bool CopyJob::written(std::uint64_t offset, IoStatus status) {
  if (status.ok()) return true;
  fail(Error::system(fmt::format("cannot write at byte {} of the copy", offset),
                     status.sys_errno()));
  return false;
}

void CopyJob::piece_done(std::uint64_t index) {
  const std::lock_guard lock(mutex_);
  done_ahead_.insert(index);
  while (!done_ahead_.empty() && *done_ahead_.begin() == done_) {
    done_ahead_.erase(done_ahead_.begin());
    ++done_;
  }
}

void CopyJob::fail(Error error, bool of_source) {
  {
    const std::lock_guard lock(mutex_);
    if (!error_) {
      error_ = std::move(error);
      source_failed_ = of_source;
    }
  }
  stop();
}

}  // namespace latchkey::tools
