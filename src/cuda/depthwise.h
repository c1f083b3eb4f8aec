// Depthwise convolutions: what is decided on the host.
#pragma once

#include <cuda_runtime.h>

#include "cuda/tensor.h"
#include "fastconv/conv.h"

namespace fastconv::cuda {

// A thread of the row kernels computes this many neighbouring outputs of a row.
inline constexpr int kDepthwiseColumns = 4;
// Threads of a block, at most: 7 groups of columns, which divide the common widths, by a warp of channels. Two such blocks leave
// each thread 144 registers.
inline constexpr int kDepthwiseGroups = 7, kDepthwiseThreads = 32 * kDepthwiseGroups;
// Neighbouring channels of a thread: the weights of all taps stay in registers (18, 50, 49 of them).
__host__ __device__ constexpr int depthwise_lanes(int kernel) { return kernel == 7 ? 1 : 2; }

// What a block of the row kernels computes: `rows` x `groups` * kDepthwiseColumns outputs of `channels` channels.
struct DepthwiseTile {
  int rows, groups, channels;

  int threads(int lanes) const { return groups * (channels / lanes); }
};
DepthwiseTile depthwise_tile(index_t n, index_t out_h, index_t out_w, index_t channels, int kernel, int item_bytes);

}  // namespace fastconv::cuda
