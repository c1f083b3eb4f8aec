// Aligned memory, and scratch buffers that are kept for the next call.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

namespace fastconv {

inline constexpr std::size_t kAlignment = 64;  // a cache line and the widest vector

// Throws std::bad_alloc. Large blocks are aligned to, and advised for, 2 MB pages.
void* aligned_allocate(std::size_t bytes);
void aligned_free(void* memory, std::size_t bytes) noexcept;

// An owned, uninitialised, aligned array.
template <class T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(std::size_t count)
      : data_(static_cast<T*>(aligned_allocate(count * sizeof(T)))), count_(count) {}
  AlignedArray(AlignedArray&& other) noexcept { swap(other); }
  AlignedArray& operator=(AlignedArray&& other) noexcept {
    swap(other);
    return *this;
  }
  ~AlignedArray() { aligned_free(data_, count_ * sizeof(T)); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }

 private:
  void swap(AlignedArray& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
  }
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

// A lease on a cached buffer, for packed tiles and the like. Taking one that was used before costs no page faults, which
// is most of the price of a large temporary. The cache is bounded; trim_scratch() empties it.
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

// Held while handing buffers in and out, here and in networks; never for long. A fork waits for it, so that the child does not
// inherit a lock that nobody there will ever open.
std::mutex& buffer_mutex();

void trim_scratch();               // frees all cached buffers that nobody leases
std::size_t scratch_cached_bytes();

}  // namespace fastconv
