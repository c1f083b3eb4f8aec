// Grouped convolution of one vector of output channels that belong to several groups: each input
// vector holds the same few channels of all of them, and is permuted so that every lane gets its
// own group's.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct GroupedBand {
  // What tap (0, 0) of output (0, 0) reads; pixels are `lanes` apart. A part of the input has
  // `width` channels of each group (the last part what is left of `inputs`); the first of those
  // that output lane l needs lies in lane first[l].
  const T* x;
  index_t top, bottom;         // input rows [top, bottom) exist, counted from x's; the others are zeros
  bool zero_left, zero_right;  // the first and the last input column are zeros; only for kernel_w 3, stride_w 1 or 2
  index_t x_row_stride, x_part_stride;
  index_t inputs, width;  // input channels a group: all of them, those of a part
  const int32_t* first;   // lanes
  index_t rows, columns;  // of the output
  index_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  const T* weights;  // [part][kernel row][channel of the part][kernel column][lanes]
  T* y;
  index_t y_row_stride, y_column_stride;
  const T* bias;      // lanes
  const T* residual;  // strides as y; null for none
  T low, high;        // y = min(max(sum + bias + residual, low), high)
};

template <class T>
struct GroupedKernels {
  void (*run)(const GroupedBand<T>&);
};

FASTCONV_DECLARE_KERNELS(GroupedKernels, grouped_kernels)

}  // namespace fastconv
