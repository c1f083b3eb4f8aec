// Blocks as fibers. A fiber runs CUDA threads to their end, one after the other, until one has to wait; then another fiber goes
// on with the threads that have not begun. So threads that wait for nothing cost no switch.
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <deque>
#include <memory>
#include <stdexcept>
#include <vector>

#include "emulation.h"
#include "ptx.cuh"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define FASTCONV_ASAN(call) call
#else
#define FASTCONV_ASAN(call)
#endif

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim{}, gridDim{};

namespace emulation {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr unsigned kWarp = 32;
constexpr int kPoison = 0xff;  // NaN in every floating-point type

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
  bool valid;
};

struct Fiber;

struct Thread {
  enum class State { idle, running, at_barrier, in_exchange, finished };
  State state = State::idle;
  unsigned number = 0;
  Fiber* fiber = nullptr;
  Site site;
  int predicate = 0;
  unsigned parity = 0;
  std::vector<std::vector<Copy>> groups;  // committed, oldest first
  std::vector<Copy> copies;               // not yet committed

  void finish_copies(std::size_t pending) {
    while (groups.size() > pending) {
      for (const Copy& copy : groups.front()) {
        if (copy.valid)
          std::memcpy(copy.to, copy.from, copy.bytes);
        else
          std::memset(copy.to, 0, copy.bytes);
      }
      groups.erase(groups.begin());
    }
  }
};

struct Warp {
  unsigned lanes = 0, arrived = 0;
  Site site;
  alignas(16) unsigned char slots[2][kWarp * kSlotBytes];
};

// One for each host thread that launches.
class Block {
 public:
  ~Block();
  std::optional<std::string> run(dim3 size, const std::function<void()>& body);
  void block_barrier(const Site& site);
  int count(int predicate, const Site& site);
  const unsigned char* exchange(unsigned mask, const void* value, std::size_t bytes, const Site& site);
  [[noreturn]] void fail(std::string message);
  void main(Fiber& fiber);

  Thread* current = nullptr;
  std::vector<unsigned char> shared_storage;
  unsigned char* shared = nullptr;

 private:
  void resume(Fiber& fiber);
  void leave(Fiber& fiber);  // to the scheduler
  void wait();               // leaves the current thread's fiber until it is made ready
  void release_barrier();
  void make_ready(Thread& thread) {
    thread.state = Thread::State::running;
    ready_.push_back(&thread);
  }
  std::string waiting() const;
  Fiber& free_fiber();

  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_;
  std::deque<Thread*> ready_;
  const std::function<void()>* body_ = nullptr;
  unsigned count_ = 0, next_ = 0, live_ = 0, arrived_ = 0;
  int predicates_ = 0, result_ = 0;
  std::optional<std::string> failure_;
  jmp_buf scheduler_;
};

thread_local Block block;

struct Fiber {
  Fiber() {
    stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, 4096, PROT_NONE) != 0) throw std::bad_alloc();
  }
  ~Fiber() { munmap(stack, kStackBytes); }
  Fiber(const Fiber&) = delete;

  void* stack;
  bool begun = false;
  jmp_buf context;
  [[maybe_unused]] void* fake_stack = nullptr;
};

// What the sanitizer knows of the host thread's stack.
[[maybe_unused]] thread_local const void* host_stack = nullptr;
[[maybe_unused]] thread_local std::size_t host_stack_bytes = 0;
[[maybe_unused]] thread_local void* host_fake_stack = nullptr;
thread_local Fiber* starting = nullptr;

void fiber_main() {
  FASTCONV_ASAN(__sanitizer_finish_switch_fiber(nullptr, &host_stack, &host_stack_bytes));
  block.main(*starting);
}

std::string at(const Site& site) { return std::string(site.file_name()) + ":" + std::to_string(site.line()); }
bool same(const Site& a, const Site& b) {
  return a.line() == b.line() && (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

Block::~Block() = default;

Fiber& Block::free_fiber() {
  if (free_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>());
    free_.push_back(fibers_.back().get());
  }
  Fiber* fiber = free_.back();
  free_.pop_back();
  return *fiber;
}

void Block::resume(Fiber& fiber) {
  FASTCONV_ASAN(__sanitizer_start_switch_fiber(&host_fake_stack, fiber.stack, kStackBytes));
  if (_setjmp(scheduler_) == 0) {
    if (fiber.begun) _longjmp(fiber.context, 1);
    fiber.begun = true;
    starting = &fiber;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = static_cast<char*>(fiber.stack) + 4096;
    context.uc_stack.ss_size = kStackBytes - 4096;
    context.uc_link = nullptr;
    makecontext(&context, fiber_main, 0);
    setcontext(&context);
  }
  FASTCONV_ASAN(__sanitizer_finish_switch_fiber(host_fake_stack, nullptr, nullptr));
}

void Block::leave(Fiber& fiber) {
  if (_setjmp(fiber.context) == 0) {
    FASTCONV_ASAN(__sanitizer_start_switch_fiber(&fiber.fake_stack, host_stack, host_stack_bytes));
    _longjmp(scheduler_, 1);
  }
  FASTCONV_ASAN(__sanitizer_finish_switch_fiber(fiber.fake_stack, &host_stack, &host_stack_bytes));
}

void Block::main(Fiber& fiber) {
  while (true) {
    while (next_ < count_) {
      Thread& thread = threads_[settings().reverse ? count_ - 1 - next_ : next_];
      ++next_;
      thread.fiber = &fiber;
      thread.state = Thread::State::running;
      current = &thread;
      const unsigned x = thread.number % blockDim.x, yz = thread.number / blockDim.x;
      threadIdx = {x, yz % blockDim.y, yz / blockDim.y};
      (*body_)();
      thread.state = Thread::State::finished;
      thread.groups.clear();
      thread.copies.clear();
      --live_;
      if (arrived_ > 0 && arrived_ == live_) release_barrier();
    }
    free_.push_back(&fiber);
    leave(fiber);
  }
}

void Block::wait() {
  Thread& thread = *current;
  leave(*thread.fiber);
  current = &thread;
  const unsigned x = thread.number % blockDim.x, yz = thread.number / blockDim.x;
  threadIdx = {x, yz % blockDim.y, yz / blockDim.y};
}

void Block::fail(std::string message) {
  failure_ = std::move(message);
  leave(*current->fiber);
  std::abort();  // never resumed
}

std::optional<std::string> Block::run(dim3 size, const std::function<void()>& body) {
  const unsigned count = size.x * size.y * size.z;
  if (threads_.size() != count) {
    threads_ = std::vector<Thread>(count);
    for (unsigned i = 0; i < count; ++i) threads_[i].number = i;
    warps_ = std::vector<Warp>((count + kWarp - 1) / kWarp);
    for (unsigned i = 0; i < warps_.size(); ++i) warps_[i].lanes = std::min(kWarp, count - i * kWarp);
  }
  for (Thread& thread : threads_) thread.state = Thread::State::idle, thread.parity = 0;
  body_ = &body;
  count_ = live_ = count;
  next_ = arrived_ = 0;
  predicates_ = 0;
  failure_.reset();
  while (!failure_) {
    if (next_ < count_) {
      resume(free_fiber());
    } else if (!ready_.empty()) {
      Thread* thread = ready_.front();
      ready_.pop_front();
      resume(*thread->fiber);
    } else if (live_ == 0) {
      break;
    } else {
      failure_ = waiting();
    }
  }
  if (failure_) {  // stacks in the middle of things: never to be resumed
    ready_.clear();
    free_.clear();
    fibers_.clear();
    threads_.clear();
  }
  return failure_;
}

// Why no thread can go on.
std::string Block::waiting() const {
  unsigned finished = 0, at_barrier = 0, in_exchange = 0;
  const Thread* first[2] = {};
  for (const Thread& thread : threads_) {
    finished += thread.state == Thread::State::finished;
    if (thread.state == Thread::State::at_barrier && at_barrier++ == 0) first[0] = &thread;
    if (thread.state == Thread::State::in_exchange && in_exchange++ == 0) first[1] = &thread;
  }
  std::string message = std::to_string(finished) + " of " + std::to_string(count_) + " threads have ended";
  if (first[0]) message.append(", ").append(std::to_string(at_barrier)).append(" wait at the barrier at " + at(first[0]->site));
  if (first[1])
    message.append(", ")
        .append(std::to_string(in_exchange))
        .append(" wait for the other lanes of their warp at " + at(first[1]->site));
  return message;
}

void Block::release_barrier() {
  arrived_ = 0;
  result_ = predicates_;
  predicates_ = 0;
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = threads_[settings().reverse ? count_ - 1 - i : i];
    if (thread.state == Thread::State::at_barrier) make_ready(thread);
  }
}

int Block::count(int predicate, const Site& site) {
  predicates_ += predicate != 0;
  block_barrier(site);
  return result_;
}

void Block::block_barrier(const Site& site) {
  current->site = site;
  ++arrived_;
  for (const Thread& thread : threads_) {
    if (thread.state != Thread::State::at_barrier) continue;
    if (!same(thread.site, site))
      fail("threads wait at different barriers, at " + at(thread.site) + " and at " + at(site));
    break;
  }
  current->state = Thread::State::at_barrier;
  if (arrived_ == live_) release_barrier();
  wait();
}

const unsigned char* Block::exchange(unsigned mask, const void* value, std::size_t bytes, const Site& site) {
  Thread& thread = *current;
  Warp& warp = warps_[thread.number / kWarp];
  const unsigned lane = thread.number % kWarp;
  const unsigned full = warp.lanes == kWarp ? 0xffffffffu : (1u << warp.lanes) - 1;
  if ((mask & full) != full) fail("only full masks are emulated, at " + at(site));
  if (warp.arrived == 0)
    warp.site = site;
  else if (!same(warp.site, site))
    fail("lanes of a warp meet at different places, at " + at(warp.site) + " and at " + at(site));
  unsigned char* slots = warp.slots[thread.parity];
  thread.parity ^= 1;
  if (bytes > 0) std::memcpy(slots + lane * kSlotBytes, value, bytes);
  if (++warp.arrived == warp.lanes) {
    warp.arrived = 0;
    const unsigned first = thread.number - lane;
    for (unsigned i = 0; i < warp.lanes; ++i) {
      Thread& other = threads_[first + (settings().reverse ? warp.lanes - 1 - i : i)];
      if (other.state == Thread::State::in_exchange) make_ready(other);
    }
  } else {
    thread.site = site;
    thread.state = Thread::State::in_exchange;
    wait();
  }
  return slots;
}

}  // namespace

std::optional<std::string> run_grid(dim3 grid, dim3 size, std::size_t shared_bytes, const std::function<void()>& body) {
  constexpr std::size_t kAlign = 1024, kGuard = 256;
  block.shared_storage.resize(shared_bytes + kAlign + kGuard);
  const auto address = reinterpret_cast<std::uintptr_t>(block.shared_storage.data());
  block.shared = block.shared_storage.data() + (kAlign - address % kAlign) % kAlign;
  gridDim = grid;
  blockDim = size;
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::uint64_t number = settings().reverse ? blocks - 1 - i : i;
    blockIdx = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                static_cast<unsigned>(number / grid.x / grid.y)};
    std::memset(block.shared, kPoison, shared_bytes + kGuard);
    std::optional<std::string> failure = block.run(size, body);
    for (std::size_t byte = shared_bytes; !failure && byte < shared_bytes + kGuard; ++byte)
      if (block.shared[byte] != kPoison)
        failure = "dynamic shared memory of " + std::to_string(shared_bytes) + " bytes was written at byte " +
                  std::to_string(byte);
    if (failure)
      return "block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) +
             "): " + *failure;
  }
  return std::nullopt;
}

void block_barrier(const Site& site) { block.block_barrier(site); }
const unsigned char* exchange(unsigned mask, const void* value, std::size_t bytes, const Site& site) {
  return block.exchange(mask, value, bytes, site);
}
unsigned lane() { return block.current->number % kWarp; }
unsigned lanes() { return std::min(kWarp, blockDim.x * blockDim.y * blockDim.z - block.current->number / kWarp * kWarp); }
void trap(const char* what, const Site& site) { block.fail(std::string(what) + ", at " + at(site)); }

unsigned char* dynamic_shared_memory() { return block.shared; }

void copy_async(void* shared, const void* global, std::size_t bytes, bool valid, const Site& site) {
  if (reinterpret_cast<std::uintptr_t>(shared) % bytes != 0) trap("cp.async: the target is not aligned", site);
  if (valid && reinterpret_cast<std::uintptr_t>(global) % bytes != 0) trap("cp.async: the source is not aligned", site);
  std::memset(shared, kPoison, bytes);
  block.current->copies.push_back({shared, global, bytes, valid});
}
void commit_copies() { block.current->groups.push_back(std::exchange(block.current->copies, {})); }
void wait_for_copies(int pending_groups) { block.current->finish_copies(static_cast<std::size_t>(pending_groups)); }

}  // namespace emulation

int __syncthreads_count(int predicate, const emulation::Site site) { return emulation::block.count(predicate, site); }
