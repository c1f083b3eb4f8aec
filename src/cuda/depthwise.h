// Depthwise convolutions: what is decided on the host.
#pragma once

#include <cuda_runtime.h>

#include "cuda/tensor.h"
#include "fastconv/conv.h"

namespace fastconv::cuda {

// A thread of the row kernels computes this many neighbouring outputs of a row.
inline constexpr int kDepthwiseColumns = 4;
// A block is at most 7 such groups of columns, which divide the common widths, by 24 vectors of
// channels, which divide the common numbers of channels. Two blocks of 6 warps leave each thread
// 168 registers.
inline constexpr int kDepthwiseGroups = 7, kDepthwiseVectors = 24, kDepthwiseThreads = kDepthwiseGroups * kDepthwiseVectors;
// Neighbouring channels of a thread: the weights of all taps stay in registers (18, 50, 49 of
// them).
__host__ __device__ constexpr int depthwise_lanes(int kernel) { return kernel == 7 ? 1 : 2; }

// What a block of the row kernels computes: `rows` x `groups` * kDepthwiseColumns outputs of
// `channels` channels.
struct DepthwiseTile {
  int rows, groups, channels;

  int threads(int lanes) const { return groups * (channels / lanes); }
};
DepthwiseTile depthwise_tile(index_t n, index_t out_h, index_t out_w, index_t channels, int kernel, int item_bytes);

}  // namespace fastconv::cuda
