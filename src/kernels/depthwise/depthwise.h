// Depthwise convolution of one channel block, any kernel, stride and dilation.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct DepthwiseBand {
  const T* x;  // [row][column][lanes]; what lies outside counts as zeros
  index_t x_row_stride, x_rows, x_columns;
  index_t top, left;      // tap (0, 0) of output (0, 0) reads row -top, column -left
  index_t rows, columns;  // of the output
  index_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  const T* weights;  // [tap][lanes]
  T* y;
  index_t y_row_stride, y_column_stride;
  const T* bias;      // lanes
  const T* residual;  // strides as y; null for none
  T low, high;        // y = min(max(sum + bias + residual, low), high)
};

// Kernels that find out for themselves which taps are outside of x, and skip them. For all others x
// has a halo of zeros: every tap reads a row and a column that is there.
inline bool depthwise_skips_outside(index_t kernel_w, index_t stride_w, index_t dilation_w) {
  return (kernel_w == 3 || kernel_w == 5 || kernel_w == 7) && (stride_w == 1 || stride_w == 2) && dilation_w == 1;
}

template <class T>
struct DepthwiseKernels {
  void (*run)(const DepthwiseBand<T>&);
};

FASTCONV_DECLARE_KERNELS(DepthwiseKernels, depthwise_kernels)

}  // namespace fastconv
