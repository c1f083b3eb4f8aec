// Blocks as fibers. A fiber runs CUDA threads to their end, one after the other, until one has to
// wait; then another fiber goes on with the threads that have not begun. So threads that wait for
// nothing cost no switch.
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <array>
#include <bit>
#include <cstdio>
#include <deque>
#include <memory>
#include <set>
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

// A wgmma of one thread: its part of the sums.
struct Product {
  WgmmaType type;
  int columns;
  std::uint64_t a, b;
};

struct Thread {
  enum class State { idle, running, at_barrier, in_exchange, at_mbarrier, finished };
  State state = State::idle;
  unsigned number = 0;
  Fiber* fiber = nullptr;
  Site site;
  int predicate = 0;
  unsigned parity = 0;
  std::vector<std::vector<Copy>> groups;  // committed, oldest first
  std::vector<Copy> copies;               // not yet committed
  const std::uint64_t* mbarrier = nullptr;  // that it waits for
  bool fenced = false;                      // since it last could touch its sums
  std::size_t products = 0;                 // in all
  float* sums = nullptr;                    // NaN while products are under way; they are in `values` then
  std::vector<float> values;
  std::vector<std::vector<Product>> product_groups{1};  // oldest first; the last one is not yet committed

  void begin() {
    state = State::idle;
    parity = 0;
    fenced = false;
    products = 0;
    sums = nullptr;
    product_groups.assign(1, {});
  }

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
  void wait_for(const std::uint64_t* mbarrier, const Site& site);
  void wake(const std::uint64_t* mbarrier);
  void check_warpgroup(std::uint64_t a, std::uint64_t b, const Site& site);
  [[noreturn]] void fail(std::string message);
  void main(Fiber& fiber);

  Thread* current = nullptr;
  std::vector<unsigned char> shared_storage;
  unsigned char* shared = nullptr;
  std::size_t shared_bytes = 0;
  std::set<const std::uint64_t*> unfenced;  // barriers that the asynchronous proxy does not see yet
  std::deque<std::function<void()>> deferred;

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
  std::vector<std::vector<std::array<std::uint64_t, 2>>> products_;  // descriptors, by warpgroup
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
      if (thread.product_groups.size() > 1 || !thread.product_groups[0].empty()) fail("a thread ends with wgmma under way");
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
  for (Thread& thread : threads_) thread.begin();
  products_.assign((count + 4 * kWarp - 1) / (4 * kWarp), {});
  unfenced.clear();
  deferred.clear();
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
      if (!deferred.empty()) failure_ = "all threads have ended while copies are under way";
      break;
    } else if (!deferred.empty()) {
      const bool reverse = settings().reverse;
      const std::function<void()> work = std::move(reverse ? deferred.back() : deferred.front());
      reverse ? deferred.pop_back() : deferred.pop_front();
      work();
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
  unsigned finished = 0, at_barrier = 0, in_exchange = 0, at_mbarrier = 0;
  const Thread* first[3] = {};
  for (const Thread& thread : threads_) {
    finished += thread.state == Thread::State::finished;
    if (thread.state == Thread::State::at_barrier && at_barrier++ == 0) first[0] = &thread;
    if (thread.state == Thread::State::in_exchange && in_exchange++ == 0) first[1] = &thread;
    if (thread.state == Thread::State::at_mbarrier && at_mbarrier++ == 0) first[2] = &thread;
  }
  std::string message = std::to_string(finished) + " of " + std::to_string(count_) + " threads have ended";
  if (first[0]) message.append(", ").append(std::to_string(at_barrier)).append(" wait at the barrier at " + at(first[0]->site));
  if (first[1])
    message.append(", ")
        .append(std::to_string(in_exchange))
        .append(" wait for the other lanes of their warp at " + at(first[1]->site));
  if (first[2]) message.append(", ").append(std::to_string(at_mbarrier)).append(" wait for an mbarrier at " + at(first[2]->site));
  return message;
}

void Block::wait_for(const std::uint64_t* mbarrier, const Site& site) {
  current->site = site;
  current->mbarrier = mbarrier;
  current->state = Thread::State::at_mbarrier;
  wait();
}

void Block::wake(const std::uint64_t* mbarrier) {
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = threads_[settings().reverse ? count_ - 1 - i : i];
    if (thread.state == Thread::State::at_mbarrier && thread.mbarrier == mbarrier) make_ready(thread);
  }
}

// The lanes of a warp, and the four warps of a warpgroup, give the same descriptors in the same
// order.
void Block::check_warpgroup(std::uint64_t a, std::uint64_t b, const Site& site) {
  const std::array<std::uint64_t, 2> mine{a, b};
  const Gathered<std::array<std::uint64_t, 2>> all(0xffffffffu, mine, site);
  for (unsigned i = 0; i < kWarp; ++i)
    if (all[i] != mine) fail("wgmma: the lanes of a warp give different descriptors, at " + at(site));
  const unsigned group = current->number / (4 * kWarp);
  if ((group + 1) * 4 * kWarp > count_) fail("wgmma: not in a whole warpgroup, at " + at(site));
  auto& products = products_[group];
  if (current->products == products.size()) products.push_back(mine);
  if (products[current->products++] != mine) fail("wgmma: the warps of a warpgroup give different descriptors, at " + at(site));
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
  block.shared_bytes = shared_bytes;
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

// ---- Barriers in shared memory. PTX ISA, "mbarrier object" ----

namespace {

struct Mbarrier {
  std::uint64_t phase : 1, expected : 20, pending : 20;
  std::int64_t bytes : 22;  // that are still to come
};
static_assert(sizeof(Mbarrier) == sizeof(std::uint64_t));
constexpr unsigned kMostArrivals = (1u << 20) - 1, kMostBytes = (1u << 20) - 1;

Mbarrier load(const std::uint64_t* barrier) { return std::bit_cast<Mbarrier>(*barrier); }
void store(std::uint64_t* barrier, Mbarrier state) {
  const bool over = state.pending == 0 && state.bytes == 0;
  if (over) {
    state.phase ^= 1;
    state.pending = state.expected;
  }
  *barrier = std::bit_cast<std::uint64_t>(state);
  if (over) block.wake(barrier);
}

}  // namespace

void defer(std::function<void()> work) { block.deferred.push_back(std::move(work)); }

void check_shared(const void* shared, std::size_t bytes, const Site& site) {
  const auto* first = static_cast<const unsigned char*>(shared);
  if (first < block.shared || first + bytes > block.shared + block.shared_bytes) trap("not in the block's dynamic shared memory", site);
}

void check_hopper(const Site& site) {
  if (settings().major != 9 || settings().minor != 0) trap("an instruction of sm_90a on another device", site);
}

void mbarrier_init(std::uint64_t* barrier, unsigned count, const Site& site) {
  if (reinterpret_cast<std::uintptr_t>(barrier) % 8 != 0 || count == 0 || count > kMostArrivals) trap("mbarrier.init: invalid", site);
  block.unfenced.insert(barrier);
  *barrier = std::bit_cast<std::uint64_t>(Mbarrier{0, count, count, 0});
}
void fence_mbarrier_init() { block.unfenced.clear(); }
void mbarrier_arrive(std::uint64_t* barrier, unsigned bytes, const Site& site) {
  Mbarrier state = load(barrier);
  if (state.pending == 0) trap("mbarrier.arrive: more arrivals than the barrier was made for", site);
  if (bytes > kMostBytes) trap("mbarrier.arrive.expect_tx: more bytes than a barrier can count", site);
  state.bytes += bytes;
  state.pending -= 1;
  store(barrier, state);
}
void mbarrier_complete(std::uint64_t* barrier, unsigned bytes, const Site&) {
  Mbarrier state = load(barrier);
  state.bytes -= bytes;
  store(barrier, state);
}
void mbarrier_wait(std::uint64_t* barrier, unsigned parity, const Site& site) {
  while (load(barrier).phase == parity) block.wait_for(barrier, site);
}
void check_mbarrier(const std::uint64_t* barrier, const Site& site) {
  if (block.unfenced.count(barrier)) trap("cp.async.bulk.tensor: no fence has shown it its mbarrier", site);
}

// ---- Products by warpgroups. PTX ISA, "Asynchronous warpgroup level matrix instructions" ----

namespace {

// A row's 32 bytes of a K-major operand with 128-byte swizzle: "Matrix descriptor format",
// "Canonical layouts".
template <class Convert>
void read_row(const Block& block, std::uint64_t descriptor, unsigned row, double* values, unsigned element_bytes, const Convert& convert, const Site& site) {
  const unsigned start = static_cast<unsigned>(descriptor & 0x3fff) << 4;  // bits 13 to 0
  const unsigned stride = static_cast<unsigned>(descriptor >> 32 & 0x3fff) << 4;            // 45 to 32: of groups of eight rows
  const unsigned base_offset = static_cast<unsigned>(descriptor >> 49 & 7);                 // 51 to 49
  const unsigned swizzle = static_cast<unsigned>(descriptor >> 62);                         // 63 to 62
  if (swizzle != 1) trap("wgmma: only the 128-byte swizzle is emulated", site);
  if (base_offset != (start >> 7 & 7)) trap("wgmma: the swizzled pattern does not begin where the descriptor says", site);
  const unsigned origin = fastconv::cuda::shared_address(block.shared);
  for (unsigned chunk = 0; chunk < 32; chunk += 16) {
    const unsigned linear = start + row / 8 * stride + row % 8 * 128 + chunk, address = linear ^ (linear >> 7 & 7) << 4;
    if (address < origin || address + 16 > origin + block.shared_bytes) trap("wgmma: reads outside of the shared memory", site);
    for (unsigned i = 0; i < 16; i += element_bytes) *values++ = convert(block.shared + (address - origin) + i);
  }
}

// "Register fragments": of warp w, lane 4 g + t has rows 16 w + g and that + 8, columns 8 j + 2 t
// and that + 1.
template <class Convert>
void add_product(const Product& product, unsigned thread, float* d, unsigned element_bytes, const Convert& convert, const Site& site) {
  const unsigned row = thread / kWarp * 16 + thread % kWarp / 4, t = thread % 4, count = 32 / element_bytes;
  const Block& here = block;
  double a[2][16], b[16];
  for (unsigned half = 0; half < 2; ++half) read_row(here, product.a, row + 8 * half, a[half], element_bytes, convert, site);
  for (unsigned j = 0; j < static_cast<unsigned>(product.columns) / 8; ++j)
    for (unsigned i = 0; i < 2; ++i) {
      read_row(here, product.b, 8 * j + 2 * t + i, b, element_bytes, convert, site);
      for (unsigned half = 0; half < 2; ++half) {
        double sum = d[4 * j + 2 * half + i];
        for (unsigned k = 0; k < count; ++k) sum += a[half][k] * b[k];
        d[4 * j + 2 * half + i] = static_cast<float>(sum);
      }
    }
}

void add_product(const Product& product, unsigned thread, float* d, const Site& site) {
  const auto bits = [](const unsigned char* from) {
    std::uint16_t value;
    std::memcpy(&value, from, 2);
    return value;
  };
  switch (product.type) {
    case WgmmaType::fp16: return add_product(product, thread, d, 2, [&](const unsigned char* x) { return half_to_float(bits(x)); }, site);
    case WgmmaType::bf16: return add_product(product, thread, d, 2, [&](const unsigned char* x) { return bf16_to_float(bits(x)); }, site);
    case WgmmaType::tf32:
      return add_product(product, thread, d, 4, [](const unsigned char* x) {
        std::uint32_t value;
        std::memcpy(&value, x, 4);
        return __uint_as_float(value & 0xffffe000u);
      }, site);
  }
}

}  // namespace

void wgmma_fence(const Site& site) {
  exchange(0xffffffffu, nullptr, 0, site);
  block.current->fenced = true;
}
void wgmma(WgmmaType type, float* d, int columns, std::uint64_t a, std::uint64_t b, const Site& site) {
  check_hopper(site);
  block.check_warpgroup(a, b, site);
  Thread& thread = *block.current;
  if (!thread.fenced) trap("wgmma: no wgmma.fence since the sums could be touched", site);
  if (!thread.sums) {
    thread.sums = d;
    thread.values.assign(d, d + columns / 2);
    std::memset(d, kPoison, thread.values.size() * sizeof(float));
  } else if (thread.sums != d) {
    trap("wgmma: only one set of sums at a time is emulated", site);
  }
  thread.product_groups.back().push_back({type, columns, a, b});
}
void wgmma_commit(const Site& site) {
  exchange(0xffffffffu, nullptr, 0, site);
  block.current->product_groups.emplace_back();
}
// The products are made now, as late as they can be, from what shared memory then has.
void wgmma_wait(std::size_t pending, const Site& site) {
  exchange(0xffffffffu, nullptr, 0, site);
  Thread& thread = *block.current;
  auto& groups = thread.product_groups;
  while (groups.size() - 1 > pending) {
    for (const Product& product : groups.front()) add_product(product, thread.number % (4 * kWarp), thread.values.data(), site);
    groups.erase(groups.begin());
  }
  thread.fenced = false;
  if (groups.size() > 1 || !groups[0].empty() || !thread.sums) return;
  for (std::size_t i = 0; i < thread.values.size(); ++i)
    if (std::bit_cast<std::uint32_t>(thread.sums[i]) != 0xffffffffu) trap("wgmma: its sums were touched while it was under way", site);
  std::copy(thread.values.begin(), thread.values.end(), thread.sums);
  thread.sums = nullptr;
}

}  // namespace emulation

int __syncthreads_count(int predicate, const emulation::Site site) { return emulation::block.count(predicate, site); }
