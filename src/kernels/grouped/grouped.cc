// A tile is a stretch of one output row. For each kernel row and input channel, each pixel is loaded and permuted once
// and then serves up to kTaps taps, whose weights are in registers as the sums are: far fewer loads and permutes than FMAs.
#include "kernels/grouped/grouped.h"

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

#if FASTCONV_VECTOR_BYTES == 64
constexpr int kColumns = 14;
#else
constexpr int kColumns = 8;
#endif
constexpr int kTaps = 3;

// One kernel row and input channel, `Taps` neighbouring taps. Stride 0 stands for any, `step` elements from column to
// column, with one tap at a time.
template <class T, int Columns, int Taps, int Stride>
FASTCONV_INLINE void multiply(Vec<T> (&acc)[Columns], const T* x, index_t step, const T* weights, IntVec<T> lane) {
  constexpr int L = lanes<T>;
  asm volatile("" ::: "memory");  // keeps GCC from hoisting later loads, which would spill accumulators
  if constexpr (Stride == 0) {
    const Vec<T> w = load(weights);
#pragma GCC unroll 14
    for (int c = 0; c < Columns; ++c) acc[c] += permute<T>(load(x + c * step), lane) * w;
  } else {
    Vec<T> w[Taps];
#pragma GCC unroll 3
    for (int k = 0; k < Taps; ++k) w[k] = load(weights + k * L);
#pragma GCC unroll 32
    for (int p = 0; p < (Columns - 1) * Stride + Taps; ++p) {
      const Vec<T> v = permute<T>(load(x + p * L), lane);
#pragma GCC unroll 3
      for (int k = 0; k < Taps; ++k)
        if (p >= k && (p - k) % Stride == 0 && (p - k) / Stride < Columns) acc[(p - k) / Stride] += v * w[k];
    }
  }
}

template <class T, int Columns, int Stride>
FASTCONV_INLINE void tile(const GroupedBand<T>& d, IntVec<T> first, const T* x, T* y, const T* residual) {
  constexpr int L = lanes<T>;
  const index_t step = d.stride_w * L;
  Vec<T> acc[Columns];
#pragma GCC unroll 14
  for (int c = 0; c < Columns; ++c) acc[c] = Vec<T>{};
  const T* w = d.weights;
  for (index_t left = d.inputs; left > 0; left -= d.width, x += d.x_part_stride) {
    const index_t channels = left < d.width ? left : d.width;
    for (index_t ky = 0; ky < d.kernel_h; ++ky) {
      const T* row = x + ky * d.dilation_h * d.x_row_stride;
      IntVec<T> lane = first;
      for (index_t i = 0; i < channels; ++i, lane += 1) {
        index_t kx = 0;
        if constexpr (Stride > 0)
          for (; kx + kTaps <= d.kernel_w; kx += kTaps, w += kTaps * L)
            multiply<T, Columns, kTaps, Stride>(acc, row + kx * L, step, w, lane);
        for (; kx < d.kernel_w; ++kx, w += L) multiply<T, Columns, 1, 0>(acc, row + kx * d.dilation_w * L, step, w, lane);
      }
    }
  }
  const Vec<T> bias = load(d.bias), low = broadcast(d.low), high = broadcast(d.high);
#pragma GCC unroll 14
  for (int c = 0; c < Columns; ++c) {
    Vec<T> v = acc[c] + bias;
    if (residual) v += load(residual + c * d.y_column_stride);
    store(y + c * d.y_column_stride, at_most(at_least(v, low), high));
  }
}

template <class T, int Stride>
void sweep(const GroupedBand<T>& d) {
  IntVec<T> first{};
  for (int l = 0; l < lanes<T>; ++l) first[l] = d.first[l];
  for (index_t r = 0; r < d.rows; ++r) {
    const T* x = d.x + r * d.stride_h * d.x_row_stride;
    T* y = d.y + r * d.y_row_stride;
    const T* residual = d.residual ? d.residual + r * d.y_row_stride : nullptr;
    index_t c = 0;
    const auto step = [&]<int Columns>() __attribute__((always_inline)) {
      for (; c + Columns <= d.columns; c += Columns)
        tile<T, Columns, Stride>(d, first, x + c * d.stride_w * lanes<T>, y + c * d.y_column_stride,
                                 residual ? residual + c * d.y_column_stride : nullptr);
    };
    step.template operator()<kColumns>();
    if constexpr (kColumns > 7) step.template operator()<7>();
    step.template operator()<4>();
    step.template operator()<1>();
  }
}

template <class T>
void run(const GroupedBand<T>& d) {
  const bool joined = d.dilation_w == 1 && d.kernel_w >= kTaps;
  if (joined && d.stride_w == 1) return sweep<T, 1>(d);
  if (joined && d.stride_w == 2) return sweep<T, 2>(d);
  sweep<T, 0>(d);
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(GroupedKernels, grouped_kernels, {run<T>})
