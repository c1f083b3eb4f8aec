// Arenas of finished calls, for the next ones, of whatever size of image.
#pragma once

#include <algorithm>
#include <vector>

#include "fastconv/memory.h"

namespace fastconv {

template <class T>
class ArenaPool {
 public:
  // An arena of at least so many elements.
  AlignedArray<T> take(std::size_t count) {
    {
      const std::lock_guard lock(buffer_mutex());
      const auto fits = std::find_if(free_.begin(), free_.end(), [&](const AlignedArray<T>& arena) { return arena.size() >= count; });
      // Where all are too small, one makes room for the one that comes back.
      const auto taken = fits != free_.end() || free_.empty() ? fits : free_.begin();
      if (taken != free_.end()) {
        AlignedArray<T> arena = std::move(*taken);
        free_.erase(taken);
        if (arena.size() >= count) return arena;
      }
    }
    return AlignedArray<T>(count);
  }
  void give_back(AlignedArray<T> arena) {
    const std::lock_guard lock(buffer_mutex());
    if (free_.size() < kKept) free_.push_back(std::move(arena));
  }

 private:
  static constexpr std::size_t kKept = 4;
  std::vector<AlignedArray<T>> free_;
};

}  // namespace fastconv
