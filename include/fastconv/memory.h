// Aligned memory, and scratch buffers that are kept for the next call.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace fastconv {

inline constexpr std::size_t kAlignment = 64;  // a cache line and the widest vector

// Throws std::bad_alloc. Large blocks are aligned to, and advised for, 2 MB pages.
void* aligned_allocate(std::size_t bytes);
void aligned_free(void* memory, std::size_t bytes) noexcept;

// Memory for arrays that live equally long, one behind the other: small ones share large pages, and
// the first touch of a page costs more than filling it. Freed as a whole.
class Arena {
 public:
  void* allocate(std::size_t bytes);  // throws std::bad_alloc

 private:
  struct Free {
    void operator()(void* memory) const noexcept { aligned_free(memory, 0); }
  };
  std::vector<std::unique_ptr<void, Free>> chunks_;
  std::size_t total_ = 0;                  // of all chunks
  std::size_t size_ = 0, used_ = 0;        // of the last one
};

// An owned, uninitialised, aligned array; with an arena, which must live as long, a part of that.
template <class T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(std::size_t count, Arena* arena = nullptr)
      : data_(static_cast<T*>(arena ? arena->allocate(count * sizeof(T)) : aligned_allocate(count * sizeof(T)))),
        count_(count),
        owned_(!arena) {}
  AlignedArray(AlignedArray&& other) noexcept { swap(other); }
  AlignedArray& operator=(AlignedArray&& other) noexcept {
    swap(other);
    return *this;
  }
  ~AlignedArray() {
    if (owned_) aligned_free(data_, count_ * sizeof(T));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }

 private:
  void swap(AlignedArray& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    std::swap(owned_, other.owned_);
  }
  T* data_ = nullptr;
  std::size_t count_ = 0;
  bool owned_ = true;
};

// An aligned array that its copies share: filled once, then read.
template <class T>
class SharedArray {
 public:
  SharedArray() = default;
  explicit SharedArray(std::size_t count, Arena* arena = nullptr) : array_(std::make_shared<AlignedArray<T>>(count, arena)) {}

  T* data() { return array_ ? array_->data() : nullptr; }
  const T* data() const { return array_ ? array_->data() : nullptr; }
  std::size_t size() const { return array_ ? array_->size() : 0; }
  std::size_t bytes() const { return size() * sizeof(T); }

 private:
  std::shared_ptr<AlignedArray<T>> array_;
};

// A lease on a cached buffer, for packed tiles and the like. Taking one that was used before costs
// no page faults, which is most of the price of a large temporary. The cache is bounded;
// trim_scratch() empties it.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(memory_);
  }

 private:
  void* memory_;
  std::size_t bytes_;
};

// Held while handing buffers in and out, here and in networks; never for long. A fork waits for it,
// so that the child does not inherit a lock that nobody there will ever open.
std::mutex& buffer_mutex();

void trim_scratch();               // frees all cached buffers that nobody leases
std::size_t scratch_cached_bytes();

}  // namespace fastconv
