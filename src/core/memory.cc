#include "fastconv/memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "core/fence.h"

namespace fastconv {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kCachedBytesLimit = std::size_t{256} << 20;

struct Buffer {
  void* memory;
  std::size_t bytes;
};

struct ScratchCache {
  std::vector<Buffer> idle;
  std::size_t idle_bytes = 0;
};

// Never destroyed: worker threads may outlive static destruction.
ScratchCache& cache() {
  static ScratchCache* instance = new ScratchCache;
  return *instance;
}

}  // namespace

std::mutex& buffer_mutex() {
  static std::mutex* mutex = [] {
    auto* created = new std::mutex;
    pthread_atfork([] { buffer_mutex().lock(); }, [] { buffer_mutex().unlock(); }, [] { buffer_mutex().unlock(); });
    return created;
  }();
  return *mutex;
}

void* aligned_allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const bool huge = bytes >= 2 * kHugePage;
  const std::size_t alignment = huge ? kHugePage : kAlignment;
  if (bytes > SIZE_MAX - alignment) throw std::bad_alloc();
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
  if (!memory) throw std::bad_alloc();
  hide(static_cast<std::byte*>(memory) + bytes, rounded - bytes);
#ifdef MADV_HUGEPAGE
  if (huge) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

void aligned_free(void* memory, std::size_t) noexcept { std::free(memory); }

void* Arena::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  constexpr std::size_t kLeast = std::size_t{64} << 10, kMost = std::size_t{32} << 20;
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment + kFenceBytes;
  if (rounded < bytes) throw std::bad_alloc();
  if (rounded > size_ - used_) {
    const std::size_t size = std::max(rounded, std::clamp(total_, kLeast, kMost));  // doubling, so that there are few
    chunks_.emplace_back(aligned_allocate(size));
    hide(chunks_.back().get(), size);
    total_ += size;
    size_ = size;
    used_ = 0;
  }
  void* memory = static_cast<std::byte*>(chunks_.back().get()) + std::exchange(used_, used_ + rounded);
  expose(memory, bytes);
  return memory;
}

Scratch::Scratch(std::size_t bytes) : memory_(nullptr), bytes_(0) {
  if (bytes == 0) return;
  // Sizes in steps of a quarter power of two, so that nearby sizes share buffers.
  std::size_t step = 4096;
  while (step * 8 < bytes) step *= 2;
  const std::size_t rounded = (bytes + step - 1) / step * step;
  ScratchCache& c = cache();
  {
    const std::lock_guard lock(buffer_mutex());
    // The smallest that is large enough, but none of more than twice the size: a lease may be kept
    // for long (results are leases), and a small one must not hold a large buffer meanwhile.
    auto best = c.idle.end();
    for (auto it = c.idle.begin(); it != c.idle.end(); ++it)
      if (it->bytes >= bytes && it->bytes / 2 <= rounded && (best == c.idle.end() || it->bytes < best->bytes)) best = it;
    if (best != c.idle.end()) {
      memory_ = best->memory;
      bytes_ = best->bytes;
      c.idle_bytes -= best->bytes;
      c.idle.erase(best);
      expose(memory_, bytes);
      return;
    }
  }
  memory_ = aligned_allocate(rounded);
  bytes_ = rounded;
  hide(memory_, rounded);
  expose(memory_, bytes);
}

Scratch::~Scratch() {
  if (!memory_) return;
  if (bytes_ > kCachedBytesLimit) {  // it would only drive out all others
    aligned_free(memory_, bytes_);
    return;
  }
  hide(memory_, bytes_);
  ScratchCache& c = cache();
  std::vector<Buffer> dropped;
  {
    const std::lock_guard lock(buffer_mutex());
    c.idle.push_back({memory_, bytes_});
    c.idle_bytes += bytes_;
    while (c.idle_bytes > kCachedBytesLimit) {  // the oldest goes first
      dropped.push_back(c.idle.front());
      c.idle_bytes -= c.idle.front().bytes;
      c.idle.erase(c.idle.begin());
    }
  }
  for (const Buffer& buffer : dropped) aligned_free(buffer.memory, buffer.bytes);
}

void trim_scratch() {
  ScratchCache& c = cache();
  std::vector<Buffer> dropped;
  {
    const std::lock_guard lock(buffer_mutex());
    dropped.swap(c.idle);
    c.idle_bytes = 0;
  }
  for (const Buffer& buffer : dropped) aligned_free(buffer.memory, buffer.bytes);
}

std::size_t scratch_cached_bytes() {
  ScratchCache& c = cache();
  const std::lock_guard lock(buffer_mutex());
  return c.idle_bytes;
}

}  // namespace fastconv
