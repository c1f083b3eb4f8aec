// The process's thread pool. Threads only divide tasks among themselves; which tasks there are
// never depends on how many threads there are, so neither do results.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace fastconv {

// Threads that parallel work of the calling thread may use: its own override, else the process-wide
// number. The first call throws std::runtime_error where FASTCONV_NUM_THREADS is set to what is no
// number of threads.
int num_threads();
int process_num_threads();                  // whatever the calling thread's override
void set_num_threads(int threads);          // process-wide; throws std::invalid_argument below 1 or above 1024
int set_thread_override(int threads);       // this calling thread only; 0 removes it; returns the former one

// A share of the tasks of a parallel region: those from `next` to `end` are not taken yet.
struct alignas(64) TaskShare {
  std::atomic<std::int64_t> next;
  std::int64_t end;
};

// One thread's access to the tasks of a region, which it takes in small consecutive runs: first
// those of its own share, then what others have left. Shares are equal parts of the tasks in their
// order, so that what a thread writes in one region is in its cache when it reads about the same
// part in the next.
class TaskQueue {
 public:
  TaskQueue(TaskShare* shares, int count, int own, std::int64_t grain) : shares_(shares), count_(count), at_(own), left_(count), grain_(grain) {}
  // Takes the next run [begin, end); false when none is left.
  bool next(std::int64_t& begin, std::int64_t& end) {
    for (; left_ > 0; --left_, at_ = at_ + 1 < count_ ? at_ + 1 : 0) {
      TaskShare& share = shares_[at_];
      begin = share.next.fetch_add(grain_, std::memory_order_relaxed);
      if (begin >= share.end) continue;
      end = begin + grain_ < share.end ? begin + grain_ : share.end;
      return true;
    }
    return false;
  }

 private:
  TaskShare* shares_;
  int count_, at_, left_;
  std::int64_t grain_;
};

// Runs `body(queue)` on up to min(num_threads(), tasks) threads, the caller among them; each body
// takes tasks from its queue until none is left, so that what it sets up (scratch, say) is set up
// once a thread. `grain` tasks are taken at a time. The first exception is rethrown here. Where the
// pool is busy with another caller's work, or inside a parallel region, the caller does all of it
// alone.
void parallel(std::int64_t tasks, const std::function<void(TaskQueue&)>& body, std::int64_t grain = 1);

// As `parallel`, for bodies that need no set-up.
template <class F>
void parallel_for(std::int64_t tasks, F&& task, std::int64_t grain = 1) {
  parallel(
      tasks,
      [&](TaskQueue& queue) {
        for (std::int64_t begin, end; queue.next(begin, end);)
          for (std::int64_t i = begin; i < end; ++i) task(i);
      },
      grain);
}

}  // namespace fastconv
