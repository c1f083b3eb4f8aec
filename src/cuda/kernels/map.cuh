// Element by element over arrays of any strides: the kernel of copies, activations, sums, products.
#pragma once

#include <utility>

#include "cuda/kernels/lanes.cuh"
#include "cuda/loops.h"
#include "cuda/runtime.h"

namespace fastconv::cuda {

inline constexpr int kMapThreads = 128;
// Steps of a thread. All loads come before the first store, for y may be an input: 32 bytes a
// thread and array, at 2048 threads twice what an H200 multiprocessor needs in flight (4.8 TB/s *
// 800 ns / 132 = 29 KB).
template <int kLanes>
inline constexpr int kMapSteps = kLanes == 1 ? 4 : 2;

// y = op(x...): op takes float (&y)[kLanes] and float (&x)[sizeof...(From)][kLanes].
template <class Op, int kLanes, class To, class... From>
__global__ void __launch_bounds__(kMapThreads)
    map_kernel(Steps<1 + sizeof...(From)> steps, Op op, To* y, const From*... x) {
  constexpr int kArrays = 1 + sizeof...(From), kSteps = kMapSteps<kLanes>;
  const std::uint32_t first = blockIdx.x * (kMapThreads * kSteps) + threadIdx.x;
  float in[kSteps][kArrays][kLanes];  // the last of each step is unused: an array cannot be empty
  index_t at[kSteps];
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    const std::uint32_t step = first + s * kMapThreads;
    if (step >= steps.count) break;
    index_t offset[kArrays];
    steps.offsets(step, offset);
    at[s] = offset[0];
    [[maybe_unused]] int a = 0;
    [[maybe_unused]] const auto fetch = [&](const auto* from, float(&to)[kLanes], index_t stride, index_t where) {
      if (kLanes > 1 && stride == 0)  // of the innermost loop: one element for all lanes
        set(to, to_float(from[where]));
      else
        load(from + where, to);
    };
    ((fetch(x, in[s][a], steps.stride[a + 1][0], offset[a + 1]), ++a), ...);
  }
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    if (first + s * kMapThreads >= steps.count) break;
    float out[kLanes];
    op(out, in[s]);
    store(y + at[s], out);
  }
}

template <int kLanes, class Op, class To, class... From>
void map_lanes(const char* name, const Op& op, const Loops<1 + sizeof...(From)>& loops, cudaStream_t stream, To* y,
               const From*... x) {
  constexpr int kArrays = 1 + sizeof...(From), kSteps = kMapThreads * kMapSteps<kLanes>;
  for_parts(loops, [&](const Loops<kArrays>& part, const index_t(&offset)[kArrays]) {
    const unsigned blocks = static_cast<unsigned>((part.count() + kSteps - 1) / kSteps);
    [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) {
      launch(name, map_kernel<Op, kLanes, To, From...>, dim3(blocks), dim3(kMapThreads), 0, stream, Steps<kArrays>(part), op,
             y + offset[0], (x + offset[kIndex + 1])...);
    }(std::index_sequence_for<From...>{});
  });
}

template <class Op, class To, class... From>
void map(const char* name, const Op& op, const Loops<1 + sizeof...(From)>& loops, cudaStream_t stream, To* y,
         const From*... x) {
  constexpr int kArrays = 1 + sizeof...(From);
  if (vectorizable<kArrays>(loops, kFullLanes<To>, {y, x...}, {sizeof(To), sizeof(From)...}))
    map_lanes<kFullLanes<To>>(name, op, vectorized(loops, kFullLanes<To>), stream, y, x...);
  else
    map_lanes<1>(name, op, loops, stream, y, x...);
}

}  // namespace fastconv::cuda
