// Depthwise convolution of one channel block, any kernel, stride and dilation.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct DepthwiseBand {
  const T* x;  // haloed: what tap (0, 0) of output (0, 0) reads; pixels are `lanes` apart
  index_t x_row_stride;
  index_t rows, columns;  // of the output
  index_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  const T* weights;  // [tap][lanes]
  T* y;
  index_t y_row_stride, y_column_stride;
  const T* bias;      // lanes
  const T* residual;  // strides as y; null for none
  T low, high;        // y = min(max(sum + bias + residual, low), high)
};

template <class T>
struct DepthwiseKernels {
  void (*run)(const DepthwiseBand<T>&);
};

FASTCONV_DECLARE_KERNELS(DepthwiseKernels, depthwise_kernels)

}  // namespace fastconv
