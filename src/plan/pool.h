// What finished calls leave for the next ones: arenas, and what belongs to them.
#pragma once

#include <algorithm>
#include <iterator>
#include <mutex>
#include <vector>

#include "fastconv/memory.h"

namespace fastconv {

template <class Item>
class Pool {
 public:
  // One that `fits`, or an empty Item where there is none.
  template <class Fits>
  Item take(const Fits& fits) {
    Item taken, given_up;  // freed without the lock
    const std::lock_guard lock(buffer_mutex());
    const auto found = std::find_if(free_.rbegin(), free_.rend(), fits);  // the last one back is in cache
    if (found != free_.rend()) {
      taken = std::move(*found);
      free_.erase(std::next(found).base());
    } else if (!free_.empty()) {  // where none fits, one makes room for the one that comes back
      given_up = std::move(free_.front());
      free_.erase(free_.begin());
    }
    return taken;
  }
  void give_back(Item item) {
    const std::lock_guard lock(buffer_mutex());
    if (free_.size() < kKept) free_.push_back(std::move(item));
  }

 private:
  static constexpr std::size_t kKept = 4;
  std::vector<Item> free_;
};

}  // namespace fastconv
