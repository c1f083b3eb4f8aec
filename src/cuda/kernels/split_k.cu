// The end of a convolution whose sum was split between blocks: parts are added in their order, so
// that every run gives the same bits, and the epilogue follows.
#include "cuda/kernels/epilogue.cuh"
#include "cuda/kernels/implicit_gemm.h"

namespace fastconv::cuda {
namespace {

constexpr int kThreads = 256;

// `across` divides by the runs of kLanes channels of a pixel. Needs groups that lie side by side in
// y.
template <int kLanes, class T>
__global__ void __launch_bounds__(kThreads)
    split_k_sum(const __grid_constant__ GemmArguments<T> a, const FastDivide across, const int count) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= count) return;
  const int row = across.quotient(i), channel = across.remainder(i, row) * kLanes;
  using Lanes = Vector<float, kLanes>;
  const Lanes* from = reinterpret_cast<const Lanes*>(a.partial) + i;
  float v[kLanes] = {};
#pragma unroll 4
  for (int part = 0; part < a.index.parts; ++part) {
    const Lanes p = from[static_cast<index_t>(part) * count];
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) v[lane] += p.lane[lane];
  }
  const Pixel pixel = a.index.pixel(row);
  finish(a.epilogue, channel, load_residual<kLanes>(a.epilogue, pixel.n, pixel.h, pixel.w, channel), v,
         a.y.data + pixel.n * a.y.sn + pixel.h * a.y.sh + pixel.w * a.y.sw + channel);
}

}  // namespace

template <class T>
void launch_split_k_sum(const GemmArguments<T>& a, cudaStream_t stream) {
  const int lanes = a.vectors ? 4 : 1, across = a.y.c / lanes, count = a.index.m * across;
  launch("split_k_sum", lanes == 4 ? split_k_sum<4, T> : split_k_sum<1, T>, dim3((count + kThreads - 1) / kThreads), dim3(kThreads),
         0, stream, a, FastDivide(across), count);
}

template void launch_split_k_sum(const GemmArguments<float>&, cudaStream_t);
template void launch_split_k_sum(const GemmArguments<__half>&, cudaStream_t);
template void launch_split_k_sum(const GemmArguments<__nv_bfloat16>&, cudaStream_t);

}  // namespace fastconv::cuda
