// The data path of `copy`: several threads, each of which takes the next piece of the source, reads
// it, hashes it in its turn and writes it while it is still in the cache. Without a target it only
// hashes, which is how a finished copy is verified.
//
// Memory: a piece (1 MiB) a thread, twice that while it compares. What is written is durable only
// after the target was flushed. The job owns its threads; the other functions belong to one thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/block_device.h"
#include "engine/result.h"
#include "tools/copy/careful_read.h"
#include "tools/copy/ordered_digest.h"

namespace latchkey::tools {

inline constexpr std::size_t kCopyPieceBytes = std::size_t{1} << 20;

// What becomes of zeros.
enum class ZeroWrites {
  kNone,      // the target reads as zeros already: they stay holes
  kDiscard,   // written as such: the target keeps or makes a hole where it can
  kWriteOut,  // written like all data: above a cipher a hole would read as noise
};

struct CopyJobOptions {
  unsigned jobs = 1;
  bool digest = true;
  bool keep_going = false;  // fill what cannot be read with zeros, and remember it
  ZeroWrites zeroes = ZeroWrites::kDiscard;
  // Below this the target has been written before: it is compared, and written where it differs.
  std::uint64_t compare_below = 0;
};

struct CopyOutcome {
  bool whole = false;                 // not stopped before the end
  std::string sha256;                 // of all of it; empty unless it was asked for
  std::uint64_t zero_bytes = 0;       // not stored, or only as "these are zeros"
  std::uint64_t rewritten_bytes = 0;  // below compare_below, where the target differed
  std::vector<ByteRange> unreadable;  // filled with zeros; in order, disjoint
};

class CopyJob {
 public:
  // Copies the first `bytes` of `source`. `target` may be null.
  CopyJob(engine::DevicePtr source, engine::DevicePtr target, std::uint64_t bytes,
          const CopyJobOptions& options);
  ~CopyJob();  // stops it
  CopyJob(const CopyJob&) = delete;
  CopyJob& operator=(const CopyJob&) = delete;

  engine::Result<void> start();

  std::uint64_t bytes() const noexcept { return bytes_; }
  // Everything below this has been copied; at most bytes().
  std::uint64_t copied_below() const;
  // True once every piece was copied, or it failed.
  bool wait_for(std::chrono::milliseconds time);
  // The threads finish the pieces they are at.
  void stop();
  // Did what failed have to do with the source? After finish().
  bool source_failed() const noexcept { return source_failed_; }
  // Waits for the threads. The first error any of them met: kSystem.
  engine::Result<CopyOutcome> finish();

 private:
  struct Buffers;
  void work() noexcept;
  bool copy_piece(std::uint64_t index, Buffers& buffers);
  bool read_piece(std::uint64_t offset, std::span<std::byte> into);
  bool write_piece(std::uint64_t offset, engine::Bytes bytes, Buffers& buffers);
  bool write_runs(std::uint64_t offset, engine::Bytes bytes);
  bool write_zeros(std::uint64_t offset, engine::Bytes zeros);
  bool known_zero(std::uint64_t offset, std::uint64_t length);
  engine::Extent extent_of_source(std::uint64_t offset);
  bool written(std::uint64_t offset, engine::IoStatus status);
  void piece_done(std::uint64_t index);
  void fail(engine::Error error, bool of_source = false);
  void count_zeros(engine::Bytes bytes);

  const engine::DevicePtr source_;
  const engine::DevicePtr target_;
  const std::uint64_t bytes_;
  const CopyJobOptions options_;
  const std::vector<std::byte> zeros_;

  std::unique_ptr<OrderedDigest> digest_;
  std::vector<std::thread> threads_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> zero_bytes_{0};
  std::atomic<std::uint64_t> rewritten_bytes_{0};

  std::mutex extent_mutex_;
  engine::Extent extent_;  // the last answer of the source, which begins at extent_at_
  std::uint64_t extent_at_ = 0;

  mutable std::mutex mutex_;  // of everything below
  std::condition_variable changed_;
  std::uint64_t done_ = 0;              // every piece before this one is copied
  std::set<std::uint64_t> done_ahead_;  // copied, and one before it is not; at most one a thread
  unsigned running_ = 0;                // threads
  std::optional<engine::Error> error_;
  bool source_failed_ = false;
  std::vector<ByteRange> unreadable_;
};

}  // namespace latchkey::tools
