// Pooling over windows. Neighbouring windows share their input through the first-level cache.
#include "cuda/kernels/images.cuh"
#include "cuda/ops.h"

namespace fastconv::cuda {
namespace {

// As PoolWindow, by one output index: input begin, begin + dilation, ... below end; averages divide
// by count.
struct PoolSpan {
  int begin, end, count;
};

__device__ __forceinline__ PoolSpan sliding(const PoolParameters& p, int axis, int i, int size) {
  const int dilation = p.dilation[axis], begin = i * p.stride[axis] - p.padding[axis];
  const int end = begin + dilation * (p.kernel[axis] - 1) + 1;
  const int first = begin < 0 ? begin + (dilation - 1 - begin) / dilation * dilation : begin;
  const int clipped = min(end, size);
  return {first, clipped, p.count_include_pad ? min(end, size + p.padding[axis]) - begin : clipped - first};
}

__device__ __forceinline__ PoolSpan adaptive(int i, int size, int count) {
  const int begin = static_cast<int>(index_t{i} * size / count);
  const int end = static_cast<int>((index_t{i + 1} * size + count - 1) / count);
  return {begin, end, end - begin};
}

template <int kLanes>
struct PoolSum {
  bool maximum;
  float value[kLanes];

  __device__ __forceinline__ explicit PoolSum(bool max) : maximum(max) { set(value, max ? -INFINITY : 0.f); }
  __device__ __forceinline__ void add(const float (&x)[kLanes]) {
#pragma unroll
    for (int v = 0; v < kLanes; ++v)
      if (maximum)
        value[v] = x[v] > value[v] || x[v] != x[v] ? x[v] : value[v];  // a NaN stays
      else
        value[v] += x[v];
  }
};

// kKernel: the size of a square window without dilation, whose loads are then all under way at
// once; 0: any.
template <class T, int kLanes, int kKernel>
__global__ void __launch_bounds__(kImageThreads)
    pool_kernel(PoolParameters p, bool is_adaptive, Pixels pixels, Nhwc<const T> x, Nhwc<T> y) {
  Position at;
  if (!pixels.locate(at)) return;
  const PoolSpan rows = is_adaptive ? adaptive(at.h, x.h, y.h) : sliding(p, 0, at.h, x.h);
  const PoolSpan columns = is_adaptive ? adaptive(at.w, x.w, y.w) : sliding(p, 1, at.w, x.w);
  PoolSum<kLanes> sum(p.maximum);
  if constexpr (kKernel > 0) {
    float in[kKernel][kKernel][kLanes];
#pragma unroll
    for (int i = 0; i < kKernel; ++i)
#pragma unroll
      for (int j = 0; j < kKernel; ++j) {
        set(in[i][j], p.maximum ? -INFINITY : 0.f);
        if (rows.begin + i < rows.end && columns.begin + j < columns.end)
          load(pixel(x, at.n, rows.begin + i, columns.begin + j) + at.c, in[i][j]);
      }
#pragma unroll
    for (int i = 0; i < kKernel; ++i)
#pragma unroll
      for (int j = 0; j < kKernel; ++j) sum.add(in[i][j]);
  } else {
    for (int i = rows.begin; i < rows.end; i += p.dilation[0])
#pragma unroll 4
      for (int j = columns.begin; j < columns.end; j += p.dilation[1]) {
        float in[kLanes];
        load(pixel(x, at.n, i, j) + at.c, in);
        sum.add(in);
      }
  }
  if (!p.maximum) {
    const float count = static_cast<float>(index_t{rows.count} * columns.count);
#pragma unroll
    for (int v = 0; v < kLanes; ++v) sum.value[v] /= count;
  }
  store(pixel(y, at.n, at.h, at.w) + at.c, sum.value);
}

template <class T, int kLanes, int kKernel>
void run(const PoolParameters& p, bool is_adaptive, const Nhwc<const T>& x, const Nhwc<T>& y, cudaStream_t stream) {
  const Pixels pixels(y, kLanes);
  launch("pool2d", pool_kernel<T, kLanes, kKernel>, pixels.blocks(), dim3(kImageThreads), 0, stream, p, is_adaptive, pixels, x,
         y);
}

template <class T>
void choose(const PoolParameters& p, bool is_adaptive, const Nhwc<const T>& x, const Nhwc<T>& y, cudaStream_t stream) {
  constexpr int kLanes = kFullLanes<T>;
  if (!lanes_fit(x, kLanes) || !lanes_fit(y, kLanes)) return run<T, 1, 0>(p, is_adaptive, x, y, stream);
  const bool square = !is_adaptive && p.kernel[0] == p.kernel[1] && p.dilation[0] == 1 && p.dilation[1] == 1;
  if (square && p.kernel[0] == 2) return run<T, kLanes, 2>(p, is_adaptive, x, y, stream);
  if (square && p.kernel[0] == 3) return run<T, kLanes, 3>(p, is_adaptive, x, y, stream);
  run<T, kLanes, 0>(p, is_adaptive, x, y, stream);
}

// The mean of whole images has a kernel of its own, which shares an image among many threads.
template <class T>
bool whole_mean(const Nhwc<const T>& x, const Nhwc<T>& y, cudaStream_t stream) {
  if (y.h != 1 || y.w != 1 || x.sh != x.w * x.sw || (y.n > 1 && y.sn != y.c)) return false;
  mean(Rows{x.n, index_t{x.h} * x.w, x.c, x.sn, x.sw, 1}, x.data, y.data, stream);
  return true;
}

}  // namespace

template <class T>
void pool2d(const PoolParameters& p, const Nhwc<const T>& x, const Nhwc<T>& y, cudaStream_t stream) {
  const bool whole = !p.maximum && p.kernel[0] == x.h && p.kernel[1] == x.w && p.padding[0] == 0 && p.padding[1] == 0;
  if (whole && whole_mean(x, y, stream)) return;
  choose(p, false, x, y, stream);
}

template <class T>
void adaptive_pool2d(bool maximum, const Nhwc<const T>& x, const Nhwc<T>& y, cudaStream_t stream) {
  if (!maximum && whole_mean(x, y, stream)) return;
  PoolParameters p;
  p.maximum = maximum;
  choose(p, true, x, y, stream);
}

#define FASTCONV_INSTANTIATE(T)                                                                           \
  template void pool2d<T>(const PoolParameters&, const Nhwc<const T>&, const Nhwc<T>&, cudaStream_t); \
  template void adaptive_pool2d<T>(bool, const Nhwc<const T>&, const Nhwc<T>&, cudaStream_t);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(__half)
FASTCONV_INSTANTIATE(__nv_bfloat16)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv::cuda
