// The process's thread pool. Threads only divide tasks among themselves; which tasks there are never depends on how many
// threads there are, so neither do results.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace fastconv {

// Threads that parallel work of the calling thread may use: its own override, else the process-wide number. The first call
// throws std::runtime_error where FASTCONV_NUM_THREADS is set to what is no number of threads.
int num_threads();
int process_num_threads();                  // whatever the calling thread's override
void set_num_threads(int threads);          // process-wide; throws std::invalid_argument below 1 or above 1024
int set_thread_override(int threads);       // this calling thread only; 0 removes it; returns the former one

// The tasks of one parallel region, handed out in order and in small consecutive runs.
class TaskQueue {
 public:
  TaskQueue(std::int64_t tasks, std::int64_t grain) : tasks_(tasks), grain_(grain) {}
  // Takes the next run [begin, end); false when none is left.
  bool next(std::int64_t& begin, std::int64_t& end) {
    begin = next_.fetch_add(grain_, std::memory_order_relaxed);
    if (begin >= tasks_) return false;
    end = begin + grain_ < tasks_ ? begin + grain_ : tasks_;
    return true;
  }
  void abandon() { next_.store(tasks_, std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> next_{0};
  const std::int64_t tasks_, grain_;
};

// Runs `body(queue)` on up to min(num_threads(), tasks) threads, the caller among them; each body takes tasks from the
// queue until none is left, so that what it sets up (scratch, say) is set up once a thread. `grain` tasks are taken at a
// time. The first exception is rethrown here. Where the pool is busy with another caller's work, or inside a parallel
// region, the caller does all of it alone.
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
