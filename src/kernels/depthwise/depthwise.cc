#include "kernels/depthwise/depthwise.h"

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

// The tile of outputs that is kept in registers, together with one kernel row of weights for each
// of its rows.
constexpr int kColumns = 7;
constexpr int kRows = FASTCONV_VECTOR_BYTES == 64 ? 2 : 1;

FASTCONV_INLINE index_t clamped(index_t i, index_t low, index_t high) { return i < low ? low : i > high ? high : i; }

// Sums are bounded and leave.
template <class T, int Columns>
FASTCONV_INLINE void finish(const DepthwiseBand<T>& d, const Vec<T> (&sums)[Columns], T* y, const T* residual, index_t count) {
  const Vec<T> bias = load(d.bias), low = broadcast(d.low), high = broadcast(d.high);
#pragma GCC unroll 7
  for (int c = 0; c < Columns; ++c) {
    if (c == count) break;
    Vec<T> v = sums[c] + bias;
    if (residual) v += load(residual + c * d.y_column_stride);
    store(y + c * d.y_column_stride, at_most(at_least(v, low), high));
  }
}

// ---- 3, 5 and 7 columns wide, stride 1 and 2 ----

// The input under a tile. Its rows and columns count from those that tap (0, 0) of the tile's first
// output reads.
template <class T>
struct Window {
  const T* x;                    // row first_row, column 0; the latter may be outside
  index_t first_row, last_row;   // rows [first_row, last_row) are inside
  unsigned columns;              // bit i: column i is inside
};

// Rows x kColumns outputs, whose input is read once. Where Edge, some columns of it are outside, or
// fewer outputs wanted.
template <class T, int Rows, int Kernel, int Stride, bool Edge>
FASTCONV_INLINE void tile(const DepthwiseBand<T>& d, const Window<T>& window, T* y, const T* residual, index_t count) {
  constexpr int L = lanes<T>;
  Vec<T> sums[Rows][kColumns];
#pragma GCC unroll 2
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 7
    for (int c = 0; c < kColumns; ++c) sums[r][c] = Vec<T>{};
  const index_t step = Rows == 1 ? d.dilation_h * d.x_row_stride : d.x_row_stride;
  const T* x = window.x;
  index_t row = window.first_row;
  [[maybe_unused]] unsigned columns = window.columns;
  // Input rows before `end`, which the tile's output rows First to Last need.
  const auto add_rows = [&]<int First, int Last>(index_t end) __attribute__((always_inline)) {
    for (; row < end; ++row, x += step) {
      if (Edge) asm("" : "+r"(columns));  // or each bit is tested before the loop, and kept on the stack
      Vec<T> weights[Rows][Kernel];
#pragma GCC unroll 2
      for (int r = First; r <= Last; ++r)
#pragma GCC unroll 7
        for (int k = 0; k < Kernel; ++k) weights[r][k] = load(d.weights + ((row - r * d.stride_h) * Kernel + k) * L);
#pragma GCC unroll 19
      for (int i = 0; i < (kColumns - 1) * Stride + Kernel; ++i) {
        if (Edge && !(columns & 1u << i)) continue;
        const Vec<T> v = load(x + i * L);
#pragma GCC unroll 7
        for (int c = 0; c < kColumns; ++c) {
          const int k = i - c * Stride;
          if (k < 0 || k >= Kernel) continue;
#pragma GCC unroll 2
          for (int r = First; r <= Last; ++r) sums[r][c] += v * weights[r][k];
        }
      }
    }
  };
  if constexpr (Rows == 2) {
    const index_t last = window.last_row;
    add_rows.template operator()<0, 0>(d.stride_h < last ? d.stride_h : last);
    add_rows.template operator()<0, 1>(d.kernel_h < last ? d.kernel_h : last);
    add_rows.template operator()<1, 1>(last);
  } else {
    add_rows.template operator()<0, 0>(window.last_row);
  }
#pragma GCC unroll 2
  for (int r = 0; r < Rows; ++r)
    finish(d, sums[r], y + r * d.y_row_stride, residual ? residual + r * d.y_row_stride : nullptr, Edge ? count : kColumns);
}

template <class T, int Rows, int Kernel, int Stride>
void sweep_row(const DepthwiseBand<T>& d, index_t r) {
  constexpr index_t L = lanes<T>, span = (kColumns - 1) * Stride + Kernel;
  const index_t rows = Rows == 1 ? d.kernel_h : d.kernel_h + d.stride_h, step = Rows == 1 ? d.dilation_h : 1;
  const index_t y = r * d.stride_h - d.top;
  Window<T> window;
  window.first_row = clamped((step - 1 - y) / step, 0, rows);
  window.last_row = clamped((d.x_rows - y + step - 1) / step, window.first_row, rows);
  const T* x = d.x + (window.first_row < window.last_row ? (y + window.first_row * step) * d.x_row_stride : 0);
  for (index_t c = 0; c < d.columns; c += kColumns) {
    const index_t left = c * Stride - d.left, count = clamped(d.columns - c, 0, kColumns), needed = (count - 1) * Stride + Kernel;
    const index_t first = clamped(-left, 0, needed), last = clamped(d.x_columns - left, first, needed);
    window.x = x + left * L;
    window.columns = (1u << last) - (1u << first);
    T* to = d.y + r * d.y_row_stride + c * d.y_column_stride;
    const T* residual = d.residual ? d.residual + r * d.y_row_stride + c * d.y_column_stride : nullptr;
    if (first == 0 && last == span)
      tile<T, Rows, Kernel, Stride, false>(d, window, to, residual, count);
    else
      tile<T, Rows, Kernel, Stride, true>(d, window, to, residual, count);
  }
}

template <class T, int Kernel, int Stride>
void sweep(const DepthwiseBand<T>& d) {
  index_t r = 0;
  if constexpr (kRows == 2) {
    if (d.dilation_h == 1 && d.stride_h < d.kernel_h)  // two output rows share rows of the input
      for (; r + 2 <= d.rows; r += 2) sweep_row<T, 2, Kernel, Stride>(d, r);
  }
  for (; r < d.rows; ++r) sweep_row<T, 1, Kernel, Stride>(d, r);
}

// ---- Any other ----

template <class T, int Columns>
FASTCONV_INLINE void haloed_tile(const DepthwiseBand<T>& d, const T* x, T* y, const T* residual) {
  constexpr int L = lanes<T>;
  Vec<T> sums[Columns];
#pragma GCC unroll 7
  for (int c = 0; c < Columns; ++c) sums[c] = Vec<T>{};
  const T* w = d.weights;
  for (index_t ky = 0; ky < d.kernel_h; ++ky) {
    const T* column = x + ky * d.dilation_h * d.x_row_stride;
    for (index_t kx = 0; kx < d.kernel_w; ++kx, w += L, column += d.dilation_w * L) {
      const Vec<T> weight = load(w);
#pragma GCC unroll 7
      for (int c = 0; c < Columns; ++c) sums[c] += load(column + c * d.stride_w * L) * weight;
    }
  }
  finish(d, sums, y, residual, Columns);
}

template <class T>
void sweep_haloed(const DepthwiseBand<T>& d) {
  for (index_t r = 0; r < d.rows; ++r) {
    const T* x = d.x + (r * d.stride_h - d.top) * d.x_row_stride - d.left * lanes<T>;
    T* y = d.y + r * d.y_row_stride;
    const T* residual = d.residual ? d.residual + r * d.y_row_stride : nullptr;
    index_t c = 0;
    const auto step = [&]<int Columns>() __attribute__((always_inline)) {
      for (; c + Columns <= d.columns; c += Columns)
        haloed_tile<T, Columns>(d, x + c * d.stride_w * lanes<T>, y + c * d.y_column_stride,
                                residual ? residual + c * d.y_column_stride : nullptr);
    };
    step.template operator()<kColumns>();
    step.template operator()<4>();
    step.template operator()<1>();
  }
}

template <class T>
void run(const DepthwiseBand<T>& d) {
  if (!depthwise_skips_outside(d.kernel_w, d.stride_w, d.dilation_w)) return sweep_haloed(d);
  const bool two = d.stride_w == 2;
  switch (d.kernel_w) {
    case 3: return two ? sweep<T, 3, 2>(d) : sweep<T, 3, 1>(d);
    case 5: return two ? sweep<T, 5, 2>(d) : sweep<T, 5, 1>(d);
    default: return two ? sweep<T, 7, 2>(d) : sweep<T, 7, 1>(d);
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(DepthwiseKernels, depthwise_kernels, {run<T>})
