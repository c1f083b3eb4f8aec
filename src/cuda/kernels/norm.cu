// Layer norm and local response norm.
#include "cuda/kernels/images.cuh"
#include "cuda/kernels/reduce.cuh"
#include "cuda/ops.h"

namespace fastconv::cuda {
namespace {

constexpr int kNormThreads = 256;

// A team (a warp, or the block) for each row. Sums of deviations from a first mean correct both the
// mean and the variance (Chan, Golub and LeVeque, Algorithms for computing the sample variance,
// 1983). Only the first of the three readings of a row leaves the first-level cache.
template <class T, int kLanes, int kTeam>
__global__ void __launch_bounds__(kNormThreads)
    layer_norm_kernel(index_t rows, index_t count, const T* x, index_t x_stride, const float* weight, const float* bias,
                      float eps, T* y, index_t y_stride) {
  __shared__ float shared[kNormThreads / 32];
  const index_t row = (index_t{blockIdx.x} * kNormThreads + threadIdx.x) / kTeam;
  if (row >= rows) return;
  const T* const from = x + row * x_stride;
  T* const to = y + row * y_stride;
  const index_t first = index_t{threadIdx.x % kTeam} * kLanes;
  constexpr int kStep = kTeam * kLanes;
  const float size = static_cast<float>(count);

  float sum = 0, squares = 0;
#pragma unroll 4
  for (index_t i = first; i < count; i += kStep) {
    float value[kLanes];
    load(from + i, value);
#pragma unroll
    for (int v = 0; v < kLanes; ++v) sum += value[v];
  }
  const float rough = reduce<kTeam>(sum, Add{}, shared) / size;
  sum = 0;
#pragma unroll 4
  for (index_t i = first; i < count; i += kStep) {
    float value[kLanes];
    load(from + i, value);
#pragma unroll
    for (int v = 0; v < kLanes; ++v) {
      const float deviation = value[v] - rough;
      sum += deviation;
      squares += deviation * deviation;
    }
  }
  const float correction = reduce<kTeam>(sum, Add{}, shared) / size;
  const float variance = reduce<kTeam>(squares, Add{}, shared) / size - correction * correction;
  const float inverse = 1 / sqrtf((variance < 0 ? 0.f : variance) + eps);
#pragma unroll 2
  for (index_t i = first; i < count; i += kStep) {
    float value[kLanes], w[kLanes], b[kLanes];
    load(from + i, value);
    set(w, 1.f);
    set(b, 0.f);
    if (weight) load(weight + i, w);
    if (bias) load(bias + i, b);
#pragma unroll
    for (int v = 0; v < kLanes; ++v) value[v] = (value[v] - rough - correction) * inverse * w[v] + b[v];
    store(to + i, value);
  }
}

template <class T, int kLanes, int kTeam>
void run_layer_norm(index_t rows, index_t count, const T* x, index_t x_stride, const float* weight, const float* bias, float eps,
                    T* y, index_t y_stride, cudaStream_t stream) {
  launch("layer_norm", layer_norm_kernel<T, kLanes, kTeam>,
         dim3(static_cast<unsigned>((rows * kTeam + kNormThreads - 1) / kNormThreads)), dim3(kNormThreads), 0, stream, rows,
         count, x, x_stride, weight, bias, eps, y, y_stride);
}

template <class T>
__global__ void __launch_bounds__(kImageThreads)
    local_response_norm_kernel(index_t size, float scale, float beta, float k, Pixels pixels, Nhwc<const T> x, Nhwc<T> y) {
  Position at;
  if (!pixels.locate(at)) return;
  const T* const from = pixel(x, at.n, at.h, at.w);
  const index_t begin = at.c > size / 2 ? at.c - size / 2 : 0;
  const index_t end = at.c + (size - 1) / 2 < x.c ? at.c + (size - 1) / 2 + 1 : x.c;
  float sum = 0;
#pragma unroll 4
  for (index_t c = begin; c < end; ++c) {
    const float value = to_float(from[c]);
    sum += value * value;
  }
  pixel(y, at.n, at.h, at.w)[at.c] = from_float<T>(to_float(from[at.c]) / powf(k + scale * sum, beta));
}

}  // namespace

template <class T>
void layer_norm(index_t rows, index_t count, const T* x, index_t x_stride, const float* weight, const float* bias, float eps,
                T* y, index_t y_stride, cudaStream_t stream) {
  if (rows == 0 || count == 0) return;
  constexpr int kLanes = kFullLanes<T>;
  constexpr index_t kLongRow = 4096;  // more than a warp should do alone
  const bool full = count % kLanes == 0 && x_stride % kLanes == 0 && y_stride % kLanes == 0 && aligned(x, 16) &&
                    aligned(y, 16) && aligned(weight, 16) && aligned(bias, 16);
  const auto run = full ? count > kLongRow ? run_layer_norm<T, kLanes, kNormThreads> : run_layer_norm<T, kLanes, 32>
                   : count > kLongRow ? run_layer_norm<T, 1, kNormThreads>
                                      : run_layer_norm<T, 1, 32>;
  run(rows, count, x, x_stride, weight, bias, eps, y, y_stride, stream);
}

template <class T>
void local_response_norm(index_t size, float alpha, float beta, float k, const Nhwc<const T>& x, const Nhwc<T>& y,
                         cudaStream_t stream) {
  const Pixels pixels(y, 1);
  launch("local_response_norm", local_response_norm_kernel<T>, pixels.blocks(), dim3(kImageThreads), 0, stream, size,
         alpha / static_cast<float>(size), beta, k, pixels, x, y);
}

#define FASTCONV_INSTANTIATE(T)                                                                                           \
  template void layer_norm<T>(index_t, index_t, const T*, index_t, const float*, const float*, float, T*, index_t,        \
                              cudaStream_t);                                                                              \
  template void local_response_norm<T>(index_t, float, float, float, const Nhwc<const T>&, const Nhwc<T>&, cudaStream_t);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(__half)
FASTCONV_INSTANTIATE(__nv_bfloat16)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv::cuda
