// Reductions over threads, in a fixed order.
#pragma once

#include <cuda_runtime.h>

namespace fastconv::cuda {

struct Add {
  __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};
struct Larger {
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Of all threads of a team, which each get it: of 1 thread, a warp, or a block of kThreads. Teams
// of more than a warp need a float of `shared` for each warp.
template <int kThreads, class F>
__device__ __forceinline__ float reduce(float value, F f, [[maybe_unused]] float* shared) {
  if constexpr (kThreads > 1) {
#pragma unroll
    for (int bits = 16; bits > 0; bits /= 2) value = f(value, __shfl_xor_sync(0xffffffffu, value, bits));
  }
  if constexpr (kThreads > 32) {
    __syncthreads();  // the previous reduction's numbers have been read
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    value = shared[0];
#pragma unroll
    for (int w = 1; w < kThreads / 32; ++w) value = f(value, shared[w]);
  }
  return value;
}

}  // namespace fastconv::cuda
