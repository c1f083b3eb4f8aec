// Dividing work into ranges.
#pragma once

#include <algorithm>

#include "fastconv/tensor.h"
#include "fastconv/thread_pool.h"

namespace fastconv {

// Elements that are worth a task of their own: about 10 us of memory traffic.
inline constexpr index_t kRangeElements = 16384;

// f(begin, end) for consecutive ranges that cover 0 ... count, each of at most `grain` items; a single one runs here.
template <class F>
void parallel_ranges(index_t count, index_t grain, F&& f) {
  if (count <= grain) {
    if (count > 0) f(index_t{0}, count);
    return;
  }
  parallel_for(ceil_div(count, grain), [&](index_t i) { f(i * grain, std::min(count, (i + 1) * grain)); });
}

// How many items of `elements` elements each make a task.
inline index_t grain_of(index_t elements) { return std::max<index_t>(1, kRangeElements / std::max<index_t>(1, elements)); }

}  // namespace fastconv
