// Loops over arrays of equal sizes, simplified on the host: what element-by-element kernels walk
// over. Plain arithmetic, testable without a device.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "cuda/fast_divide.h"
#include "cuda/tensor.h"

namespace fastconv::cuda {

// Dimensions of kArrays arrays, the innermost first.
template <int kArrays>
struct Loops {
  int rank = 0;
  index_t size[kMaxRank] = {};
  index_t stride[kArrays][kMaxRank] = {};

  index_t count() const {
    index_t product = 1;
    for (int d = 0; d < rank; ++d) product *= size[d];
    return product;
  }
  void push(index_t length, const index_t (&step)[kArrays]) {
    size[rank] = length;
    for (int a = 0; a < kArrays; ++a) stride[a][rank] = step[a];
    ++rank;
  }
  // Without dimension d.
  Loops without(int d) const {
    Loops rest;
    for (int e = 0; e < rank; ++e) {
      if (e == d) continue;
      rest.size[rest.rank] = size[e];
      for (int a = 0; a < kArrays; ++a) rest.stride[a][rest.rank] = stride[a][e];
      ++rest.rank;
    }
    return rest;
  }
};

// The fewest loops: dimensions of size 1 go, the rest is ordered by the first array's strides, and
// neighbours that every array steps through as one are joined.
template <int kArrays>
Loops<kArrays> collapse(int rank, const index_t* size, const index_t* const (&stride)[kArrays]) {
  int order[kMaxRank], kept = 0;
  for (int d = rank - 1; d >= 0; --d)
    if (size[d] != 1) order[kept++] = d;
  const auto step = [&](int d) { return stride[0][d] < 0 ? -stride[0][d] : stride[0][d]; };
  std::stable_sort(order, order + kept, [&](int a, int b) { return step(a) < step(b); });
  Loops<kArrays> loops;
  for (int i = 0; i < kept; ++i) {
    const int d = order[i];
    bool joined = loops.rank > 0;
    for (int a = 0; a < kArrays && joined; ++a)
      joined = stride[a][d] == loops.stride[a][loops.rank - 1] * loops.size[loops.rank - 1];
    if (joined) {
      loops.size[loops.rank - 1] *= size[d];
    } else {
      index_t steps[kArrays];
      for (int a = 0; a < kArrays; ++a) steps[a] = stride[a][d];
      loops.push(size[d], steps);
    }
  }
  if (loops.rank == 0) {  // one element
    index_t steps[kArrays];
    std::fill_n(steps, kArrays, index_t{1});
    loops.push(1, steps);
  }
  return loops;
}

inline bool aligned(const void* data, std::size_t bytes) { return reinterpret_cast<std::uintptr_t>(data) % bytes == 0; }

// Whether `lanes` neighbours can be taken at once: in the first array all are apart by 1, in the
// others by 1 or 0.
template <int kArrays>
bool vectorizable(const Loops<kArrays>& loops, int lanes, const void* const (&data)[kArrays],
                  const std::size_t (&item_bytes)[kArrays]) {
  if (loops.size[0] % lanes != 0 || loops.stride[0][0] != 1) return false;
  for (int a = 0; a < kArrays; ++a) {
    if (loops.stride[a][0] == 0) continue;
    if (loops.stride[a][0] != 1 || !aligned(data[a], std::min<std::size_t>(16, lanes * item_bytes[a]))) return false;
    for (int d = 1; d < loops.rank; ++d)
      if (loops.stride[a][d] % lanes != 0) return false;
  }
  return true;
}

// Each step of the innermost loop takes `lanes` elements.
template <int kArrays>
Loops<kArrays> vectorized(Loops<kArrays> loops, int lanes) {
  loops.size[0] /= lanes;
  for (auto& stride : loops.stride) stride[0] *= lanes;
  return loops;
}

// Calls f(loops, offsets of the arrays) on parts of fewer than `limit` steps, halving the outermost
// dimensions; FastDivide's numbers, and so those of threads, stay below 2^31.
template <int kArrays, class F>
void for_parts(const Loops<kArrays>& loops, F&& f, index_t limit = index_t{1} << 30, Loops<kArrays> offset = {}) {
  if (loops.count() == 0) return;
  if (loops.count() < limit) {
    index_t from[kArrays];
    for (int a = 0; a < kArrays; ++a) from[a] = offset.stride[a][0];
    f(loops, from);
    return;
  }
  int d = loops.rank - 1;
  while (loops.size[d] == 1) --d;
  Loops<kArrays> low = loops, high = loops;
  low.size[d] = loops.size[d] / 2;
  high.size[d] -= low.size[d];
  for_parts(low, f, limit, offset);
  for (int a = 0; a < kArrays; ++a) offset.stride[a][0] += low.size[d] * loops.stride[a][d];
  for_parts(high, f, limit, offset);
}

// Loops as kernels take them: the number of a step to the offsets of its elements.
template <int kArrays>
struct Steps {
  std::uint32_t count = 0;
  int rank = 0;
  FastDivide size[kMaxRank];
  index_t stride[kArrays][kMaxRank] = {};

  explicit Steps(const Loops<kArrays>& loops) : count(static_cast<std::uint32_t>(loops.count())), rank(loops.rank) {
    for (int d = 0; d < rank; ++d) {
      size[d] = FastDivide(std::max<index_t>(loops.size[d], 1));
      for (int a = 0; a < kArrays; ++a) stride[a][d] = loops.stride[a][d];
    }
  }
  __host__ __device__ __forceinline__ void offsets(std::uint32_t n, index_t (&at)[kArrays]) const {
    for (int a = 0; a < kArrays; ++a) at[a] = 0;
    for (int d = 0; d < rank; ++d) {
      const std::uint32_t rest = d + 1 < rank ? size[d].quotient(n) : 0;
      const index_t i = size[d].remainder(n, rest);
      for (int a = 0; a < kArrays; ++a) at[a] += i * stride[a][d];
      n = rest;
    }
  }
};

}  // namespace fastconv::cuda
