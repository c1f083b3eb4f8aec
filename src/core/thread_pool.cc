#include "fastconv/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fastconv/cpu.h"

namespace fastconv {
namespace {

constexpr int kMaxThreads = 1024;
constexpr auto kSpin = std::chrono::microseconds(100);  // after which an idle worker parks

thread_local int thread_override = 0;
thread_local bool inside_region = false;

void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Workers wait for `epoch_` to move, by spinning first and then on a condition variable. One region
// runs at a time.
class Pool {
 public:
  void run(int threads, std::int64_t tasks, std::int64_t grain, const std::function<void(TaskQueue&)>& body) {
    grow(threads - 1);
    if (threads > std::ssize(shares_)) shares_ = std::vector<TaskShare>(threads);
    const std::int64_t runs = (tasks + grain - 1) / grain;
    for (int i = 0; i < threads; ++i) {
      shares_[i].next.store(runs * i / threads * grain, std::memory_order_relaxed);
      shares_[i].end = std::min(runs * (i + 1) / threads * grain, tasks);
    }
    count_ = threads;
    grain_ = grain;
    body_ = &body;
    std::fegetenv(&environment_);
    error_ = nullptr;
    {
      const std::lock_guard lock(mutex_);
      open_to_ = threads - 1;
      epoch_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work(0);
    {
      // Whoever has not come by now finds nothing to do: a worker without a core must not hold up
      // the region.
      const std::lock_guard lock(mutex_);
      open_to_ = 0;
    }
    while (working_.load(std::memory_order_acquire) != 0) cpu_relax_or_yield();
    if (error_) std::rethrow_exception(error_);
  }

  std::mutex& busy() { return busy_; }

 private:
  void grow(int workers) {
    while (static_cast<int>(threads_.size()) < workers) {
      const int index = static_cast<int>(threads_.size());
      threads_.emplace_back([this, index, seen = epoch_.load()] { loop(index, seen); });
      threads_.back().detach();
    }
  }

  void loop(int index, std::uint64_t seen) {
    for (;;) {
      const auto deadline = std::chrono::steady_clock::now() + kSpin;
      for (int i = 0; epoch_.load(std::memory_order_acquire) == seen; ++i) {
        cpu_relax();
        if (i % 64 == 63 && std::chrono::steady_clock::now() > deadline) {
          std::unique_lock lock(mutex_);
          wake_.wait(lock, [&] { return epoch_.load(std::memory_order_relaxed) != seen; });
          break;
        }
      }
      bool takes_part;
      {
        const std::lock_guard lock(mutex_);
        seen = epoch_.load(std::memory_order_relaxed);
        takes_part = index < open_to_;
        if (takes_part) working_.fetch_add(1, std::memory_order_relaxed);
      }
      if (!takes_part) continue;
      std::fesetenv(&environment_);
      work(index + 1);
      working_.fetch_sub(1, std::memory_order_release);
    }
  }

  void work(int own) {
    inside_region = true;
    try {
      TaskQueue queue(shares_.data(), count_, own, grain_);
      (*body_)(queue);
    } catch (...) {
      for (int i = 0; i < count_; ++i) shares_[i].next.store(shares_[i].end, std::memory_order_relaxed);  // abandon the rest
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    inside_region = false;
  }

  // A worker may have lost its core to another process: after a while let the scheduler run it.
  void cpu_relax_or_yield() {
    if (++waits_ % 1024 == 0) std::this_thread::yield();
    cpu_relax();
  }

  std::mutex busy_;
  std::mutex mutex_, error_mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
  std::atomic<std::uint64_t> epoch_{0};
  std::atomic<int> working_{0};
  int open_to_ = 0;  // workers below this index may join the current region
  unsigned waits_ = 0;
  std::vector<TaskShare> shares_;
  int count_ = 0;  // of the shares in use
  std::int64_t grain_ = 1;
  std::fenv_t environment_;  // the caller's rounding and subnormals, so that results do not depend on who computes them
  const std::function<void(TaskQueue&)>* body_ = nullptr;
  std::exception_ptr error_;
};

std::atomic<Pool*> pool_instance{nullptr};

// Never destroyed: parked workers end with the process. A forked child has none of its parent's
// threads, so it starts from a new pool and leaves the old one, whose locks may be held, alone.
Pool& pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    pool_instance = new Pool;
    pthread_atfork(nullptr, nullptr, [] {
      pool_instance = new Pool;
      inside_region = false;
    });
  });
  return *pool_instance.load();
}

// 0 where the variable is unset, empty or no number of threads.
int threads_from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (!text) return 0;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  // OMP_NUM_THREADS may be a list ("4,2"): the first is ours.
  return end != text && (*end == '\0' || *end == ',') && value >= 1 && value <= kMaxThreads ? static_cast<int>(value) : 0;
}

// FASTCONV_NUM_THREADS is for us alone, so a value that means nothing is an error; OMP_NUM_THREADS
// is OpenMP's to judge.
int default_threads() {
  const char* ours = std::getenv("FASTCONV_NUM_THREADS");
  if (const int n = threads_from_environment("FASTCONV_NUM_THREADS")) return n;
  if (ours && *ours)
    throw std::runtime_error("FASTCONV_NUM_THREADS must be from 1 to " + std::to_string(kMaxThreads) + ", got '" + ours + "'");
  if (const int n = threads_from_environment("OMP_NUM_THREADS")) return n;
  return available_cores();
}

std::atomic<int>& process_threads() {
  static std::atomic<int> threads{default_threads()};
  return threads;
}

int checked_threads(int threads) {
  if (threads < 1 || threads > kMaxThreads)
    throw std::invalid_argument("number of threads must be from 1 to " + std::to_string(kMaxThreads) + ", got " +
                                std::to_string(threads));
  return threads;
}

}  // namespace

int num_threads() { return thread_override ? thread_override : process_num_threads(); }

int process_num_threads() { return process_threads().load(); }

void set_num_threads(int threads) { process_threads() = checked_threads(threads); }

int set_thread_override(int threads) {
  if (threads != 0) checked_threads(threads);
  return std::exchange(thread_override, threads);
}

void parallel(std::int64_t tasks, const std::function<void(TaskQueue&)>& body, std::int64_t grain) {
  if (tasks <= 0) return;
  const int threads = static_cast<int>(std::min<std::int64_t>(num_threads(), (tasks + grain - 1) / grain));
  if (threads > 1 && !inside_region) {
    Pool& p = pool();
    if (const std::unique_lock lock(p.busy(), std::try_to_lock); lock) return p.run(threads, tasks, grain, body);
  }
  TaskShare all{0, tasks};
  TaskQueue queue(&all, 1, 0, grain);
  body(queue);
}

}  // namespace fastconv
