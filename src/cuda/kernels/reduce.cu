// Means and softmax along an axis. What a thread adds up it adds in order, threads are combined in
// a tree: no atomics, the same result every time.
#include "cuda/kernels/reduce.cuh"

#include <algorithm>

#include "cuda/kernels/lanes.cuh"
#include "cuda/loops.h"
#include "cuda/ops.h"

namespace fastconv::cuda {
namespace {

constexpr int kMaxThreads = 1024;

// A block for `across` neighbouring vectors of kLanes along the inner axis of one outer index:
// threads are [part of count][across].
template <class T, int kLanes>
__global__ void __launch_bounds__(kMaxThreads) mean_kernel(Rows rows, int across, const T* x, T* y) {
  __shared__ float partial[kMaxThreads][kLanes];
  const index_t tiles = (rows.inner + index_t{across} * kLanes - 1) / (index_t{across} * kLanes);
  const index_t outer = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  const int thread = static_cast<int>(threadIdx.x), part = thread / across, parts = static_cast<int>(blockDim.x) / across;
  const index_t inner = (tile * across + thread % across) * kLanes;
  float sum[kLanes];
  set(sum, 0.f);
  if (inner < rows.inner) {
    const T* const from = x + outer * rows.outer_stride + inner * rows.inner_stride;
#pragma unroll 8
    for (index_t i = part; i < rows.count; i += parts) {
      float value[kLanes];
      load(from + i * rows.count_stride, value);
#pragma unroll
      for (int v = 0; v < kLanes; ++v) sum[v] += value[v];
    }
  }
#pragma unroll
  for (int v = 0; v < kLanes; ++v) partial[thread][v] = sum[v];
  for (int half = parts / 2; half > 0; half /= 2) {
    __syncthreads();
    if (part < half) {
#pragma unroll
      for (int v = 0; v < kLanes; ++v) partial[thread][v] = sum[v] += partial[thread + half * across][v];
    }
  }
  if (part == 0 && inner < rows.inner) {
#pragma unroll
    for (int v = 0; v < kLanes; ++v) sum[v] /= static_cast<float>(rows.count);
    store(y + outer * rows.inner + inner, sum);
  }
}

// As many threads as leave each some loads to overlap; narrow tiles where there would be too few
// blocks for the device, down to sectors of 32 bytes.
template <class T, int kLanes>
void run_mean(const Rows& rows, bool along_count, const T* x, T* y, cudaStream_t stream) {
  const index_t vectors = rows.inner / kLanes;
  const auto tiles = [&](index_t across) { return (vectors + across - 1) / across; };
  constexpr index_t kBytes = kLanes * sizeof(T);
  index_t across = 1;
  if (!along_count) {
    across = 128 / kBytes;
    while (across > 32 / kBytes && rows.outer * tiles(across) < 132) across /= 2;
  }
  index_t threads = 64;
  while (threads < kMaxThreads && threads / across * 8 < rows.count) threads *= 2;
  launch("mean", mean_kernel<T, kLanes>, dim3(static_cast<unsigned>(rows.outer * tiles(across))),
         dim3(static_cast<unsigned>(threads)), 0, stream, rows, static_cast<int>(across), x, y);
}

constexpr int kSoftmaxThreads = 256;

// A team of kTeam threads for each row. x is read again rather than y: it has not been rounded, and
// is in the caches.
template <class T, int kTeam>
__global__ void __launch_bounds__(kSoftmaxThreads) softmax_kernel(Rows rows, bool logarithm, const T* x, T* y) {
  __shared__ float shared[kSoftmaxThreads / 32];
  const index_t row = (index_t{blockIdx.x} * kSoftmaxThreads + threadIdx.x) / kTeam;
  if (row >= rows.outer * rows.inner) return;
  const index_t outer = row / rows.inner, start = outer * rows.outer_stride + (row - outer * rows.inner) * rows.inner_stride;
  const index_t first = threadIdx.x % kTeam;
  float top = -INFINITY, sum = 0;
#pragma unroll 4
  for (index_t i = first; i < rows.count; i += kTeam) top = fmaxf(top, to_float(x[start + i * rows.count_stride]));
  top = reduce<kTeam>(top, Larger{}, shared);
#pragma unroll 4
  for (index_t i = first; i < rows.count; i += kTeam) sum += expf(to_float(x[start + i * rows.count_stride]) - top);
  sum = reduce<kTeam>(sum, Add{}, shared);
  const float log_sum = logf(sum), inverse = 1 / sum;
#pragma unroll 4
  for (index_t i = first; i < rows.count; i += kTeam) {
    const index_t at = start + i * rows.count_stride;
    const float value = to_float(x[at]) - top;
    y[at] = from_float<T>(logarithm ? value - log_sum : expf(value) * inverse);
  }
}

template <class T, int kTeam>
void run_softmax(const Rows& rows, bool logarithm, const T* x, T* y, cudaStream_t stream) {
  const index_t threads = rows.outer * rows.inner * kTeam;
  launch("softmax", softmax_kernel<T, kTeam>, dim3(static_cast<unsigned>((threads + kSoftmaxThreads - 1) / kSoftmaxThreads)),
         dim3(kSoftmaxThreads), 0, stream, rows, logarithm, x, y);
}

// Whether neighbouring threads should take neighbours of a row, rather than of neighbouring rows.
bool along_count(const Rows& rows) {
  const auto size = [](index_t stride) { return stride < 0 ? -stride : stride; };
  return rows.inner == 1 || size(rows.count_stride) < size(rows.inner_stride);
}

}  // namespace

template <class T>
void mean(const Rows& rows, const T* x, T* y, cudaStream_t stream) {
  if (rows.outer == 0 || rows.inner == 0) return;
  constexpr int kLanes = kFullLanes<T>;
  const bool full = rows.inner_stride == 1 && rows.inner % kLanes == 0 && rows.count_stride % kLanes == 0 &&
                    rows.outer_stride % kLanes == 0 && aligned(x, 16) && aligned(y, 16);
  if (full)
    run_mean<T, kLanes>(rows, false, x, y, stream);
  else
    run_mean<T, 1>(rows, along_count(rows), x, y, stream);
}

template <class T>
void softmax(const Rows& rows, bool logarithm, const T* x, T* y, cudaStream_t stream) {
  if (rows.outer == 0 || rows.inner == 0 || rows.count == 0) return;
  constexpr index_t kFewRows = 8 * 132;  // a thread or warp for each would leave a large device idle
  if (rows.outer * rows.inner < kFewRows && rows.count > 64)
    run_softmax<T, kSoftmaxThreads>(rows, logarithm, x, y, stream);
  else if (along_count(rows))
    run_softmax<T, 32>(rows, logarithm, x, y, stream);
  else
    run_softmax<T, 1>(rows, logarithm, x, y, stream);
}

#define FASTCONV_INSTANTIATE(T)                                    \
  template void mean<T>(const Rows&, const T*, T*, cudaStream_t); \
  template void softmax<T>(const Rows&, bool, const T*, T*, cudaStream_t);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(__half)
FASTCONV_INSTANTIATE(__nv_bfloat16)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv::cuda
