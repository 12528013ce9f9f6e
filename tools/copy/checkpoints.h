// From time to time: syncs what was copied, then writes down how far that is. A thread of its own,
// so that a slow sync stops nobody.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/block_device.h"
#include "engine/result.h"
#include "tools/copy/copy_job.h"
#include "tools/copy/copy_state.h"

namespace latchkey::tools {

class Checkpoints {
 public:
  // Of a job that runs and writes `target`; all of them outlive this. Without a mark (OUT is no
  // file) it only syncs, so that not everything is left for the end.
  Checkpoints(const CopyJob& job, engine::BlockDevice& target, CopyMark* mark, CopyState state);
  ~Checkpoints() { end(); }
  Checkpoints(const Checkpoints&) = delete;
  Checkpoints& operator=(const Checkpoints&) = delete;

  // No more of them by itself.
  void end();
  // One now. After end() only.
  engine::Result<void> take();

 private:
  void run();

  const CopyJob& job_;
  engine::BlockDevice& target_;
  CopyMark* const mark_;
  CopyState state_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace latchkey::tools
