// Means and softmax.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct ReduceKernels {
  // Of each row of `count` neighbouring elements; of no elements NaN.
  void (*mean_rows)(const T* x, index_t rows, index_t count, T* y);
  // Of `count` elements that are `stride` apart, for each of `columns` neighbouring columns.
  void (*mean_columns)(const T* x, index_t count, index_t stride, index_t columns, T* y);

  // exp(x) / sum exp(x), or its logarithm, over the same; y is laid out as x.
  void (*softmax_rows)(const T* x, T* y, index_t rows, index_t count, bool logarithm);
  void (*softmax_columns)(const T* x, T* y, index_t count, index_t stride, index_t columns, bool logarithm);
};

FASTCONV_DECLARE_KERNELS(ReduceKernels, reduce_kernels)

}  // namespace fastconv
