// A tile is a stretch of one output row. For each kernel row and input channel, each pixel is
// loaded and permuted once and then serves up to kTaps taps, whose weights are in registers as the
// sums are: far fewer loads and permutes than FMAs.
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

// Where the first and the last pixel of a tile are read, and what to multiply them with: a pixel
// beyond the image is replaced by its neighbour times zero.
template <class T>
struct Edges {
  index_t left, right;
  IntVec<T> keep_left, keep_right;
};

// One kernel row and input channel, `Taps` neighbouring taps. Stride 0 stands for any, `step`
// elements from column to column, with one tap at a time.
template <class T, int Columns, int Taps, int Stride>
FASTCONV_INLINE void multiply(Vec<T> (&acc)[Columns], const T* x, index_t step, const T* weights, IntVec<T> lane,
                              const Edges<T>& edges) {
  constexpr int L = lanes<T>;
  asm volatile("" ::: "memory");  // keeps GCC from hoisting later loads, which would spill accumulators
  if constexpr (Stride == 0) {
    const Vec<T> w = load(weights);
#pragma GCC unroll 14
    for (int c = 0; c < Columns; ++c) acc[c] += permute<T>(load(x + c * step), lane) * w;
  } else {
    constexpr int kPixels = (Columns - 1) * Stride + Taps;
    Vec<T> w[Taps];
#pragma GCC unroll 3
    for (int k = 0; k < Taps; ++k) w[k] = load(weights + k * L);
#pragma GCC unroll 32
    for (int p = 0; p < kPixels; ++p) {
      Vec<T> v = permute<T>(load(x + p * L + (p == 0 ? edges.left : p == kPixels - 1 ? edges.right : 0)), lane);
      if (p == 0) v = (Vec<T>)((IntVec<T>)v & edges.keep_left);
      if (p == kPixels - 1) v = (Vec<T>)((IntVec<T>)v & edges.keep_right);
#pragma GCC unroll 3
      for (int k = 0; k < Taps; ++k)
        if (p >= k && (p - k) % Stride == 0 && (p - k) / Stride < Columns) acc[(p - k) / Stride] += v * w[k];
    }
  }
}

template <class T, int Columns, int Stride>
FASTCONV_INLINE void tile(const GroupedBand<T>& d, IntVec<T> first, index_t r, index_t column) {
  constexpr int L = lanes<T>;
  const index_t step = d.stride_w * L;
  Edges<T> edges{0, 0, ~IntVec<T>{}, ~IntVec<T>{}};
  if (d.zero_left && column == 0) {
    edges.left = L;
    edges.keep_left = IntVec<T>{};
  }
  if (d.zero_right && column + Columns == d.columns) {
    edges.right = -L;
    edges.keep_right = IntVec<T>{};
  }
  // The kernel rows that fall onto input rows.
  const index_t y = r * d.stride_h;
  index_t begin = 0, end = d.kernel_h;
  while (begin < end && y + begin * d.dilation_h < d.top) ++begin;
  while (end > begin && y + (end - 1) * d.dilation_h >= d.bottom) --end;
  Vec<T> acc[Columns];
#pragma GCC unroll 14
  for (int c = 0; c < Columns; ++c) acc[c] = Vec<T>{};
  const T* x = d.x + column * step;
  const T* weights = d.weights;
  for (index_t left = d.inputs; left > 0; left -= d.width, x += d.x_part_stride) {
    const index_t channels = left < d.width ? left : d.width;
    const T* w = weights + begin * channels * d.kernel_w * L;
    for (index_t ky = begin; ky < end; ++ky) {
      const T* row = x + (y + ky * d.dilation_h) * d.x_row_stride;
      IntVec<T> lane = first;
      for (index_t i = 0; i < channels; ++i, lane += 1) {
        // With strides there are few FMAs for the input that they need: what is new to the next
        // output row is prefetched.
        if (Stride != 1 && end - ky <= d.stride_h)
          for (index_t p = i; p < Columns * d.stride_w; p += channels)
            __builtin_prefetch(row + d.stride_h * d.x_row_stride + p * L);
        index_t kx = 0;
        if constexpr (Stride > 0)
          for (; kx + kTaps <= d.kernel_w; kx += kTaps, w += kTaps * L)
            multiply<T, Columns, kTaps, Stride>(acc, row + kx * L, step, w, lane, edges);
        for (; kx < d.kernel_w; ++kx, w += L) multiply<T, Columns, 1, 0>(acc, row + kx * d.dilation_w * L, step, w, lane, edges);
      }
    }
    weights += d.kernel_h * channels * d.kernel_w * L;
  }
  T* out = d.y + r * d.y_row_stride + column * d.y_column_stride;
  const T* residual = d.residual ? d.residual + (out - d.y) : nullptr;
  const Vec<T> bias = load(d.bias), low = broadcast(d.low), high = broadcast(d.high);
#pragma GCC unroll 14
  for (int c = 0; c < Columns; ++c) {
    Vec<T> v = acc[c] + bias;
    if (residual) v += load(residual + c * d.y_column_stride);
    store(out + c * d.y_column_stride, at_most(at_least(v, low), high));
  }
}

template <class T, int Stride>
void sweep(const GroupedBand<T>& d) {
  IntVec<T> first{};
  for (int l = 0; l < lanes<T>; ++l) first[l] = d.first[l];
  for (index_t r = 0; r < d.rows; ++r) {
    index_t c = 0;
    const auto step = [&]<int Columns>() __attribute__((always_inline)) {
      for (; c + Columns <= d.columns; c += Columns) tile<T, Columns, Stride>(d, first, r, c);
    };
    step.template operator()<kColumns>();
    if constexpr (kColumns == 14) step.template operator()<7>();
    step.template operator()<4>();
    step.template operator()<2>();
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
