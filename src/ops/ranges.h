// Dividing work into ranges.
#pragma once

#include <algorithm>

#include "fastconv/tensor.h"
#include "fastconv/thread_pool.h"

namespace fastconv {

// Elements that are worth a task of their own: about 10 us of memory traffic.
inline constexpr index_t kRangeElements = 16384;

// f(begin, end) for consecutive ranges that cover 0 ... count, each of at most `grain` items; a
// single one runs here.
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

// Calls f(outer, first column, columns) for arrays (outer, count, inner). Columns are divided in
// strips of a cache line at least, so that threads do not share lines.
template <class F>
void over_columns(index_t outer, index_t count, index_t inner, F&& f) {
  constexpr index_t kStrip = 64;
  const index_t width = std::min(inner, std::max(kStrip, grain_of(count))), strips = ceil_div(inner, width);
  parallel_ranges(outer * strips, grain_of(width * count), [&](index_t begin, index_t end) {
    for (index_t task = begin; task < end; ++task) {
      const index_t column = task % strips * width;
      f(task / strips, column, std::min(width, inner - column));
    }
  });
}

}  // namespace fastconv
