// Reductions, cumulative sums and softmax.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct ReduceKernels {
  // Of each row of `count` neighbouring elements. Of none the mean is NaN, and the maximum
  // -infinity.
  void (*rows)(ReduceKind kind, const T* x, index_t rows, index_t count, T* y);
  // Of `count` elements that are `stride` apart, for each of `columns` neighbouring columns.
  void (*columns)(ReduceKind kind, const T* x, index_t count, index_t stride, index_t columns, T* y);

  // The index of the first greatest or least element, NaN before all others, over the same; count >
  // 0.
  void (*argmax_rows)(bool least, const T* x, index_t rows, index_t count, int64_t* y);
  void (*argmax_columns)(bool least, const T* x, index_t count, index_t stride, index_t columns, int64_t* y);

  // (sum |x|^ord)^(1 / ord) over the same.
  void (*norm_rows)(T ord, const T* x, index_t rows, index_t count, T* y);
  void (*norm_columns)(T ord, const T* x, index_t count, index_t stride, index_t columns, T* y);

  // Sums up to each element, without it if `exclusive`, from the last if `reverse`; y is laid out
  // as x.
  void (*cumsum)(const T* x, T* y, index_t count, index_t stride, index_t columns, bool exclusive, bool reverse);

  // exp(x) / sum exp(x), or its logarithm, over the same; y is laid out as x.
  void (*softmax_rows)(const T* x, T* y, index_t rows, index_t count, bool logarithm);
  void (*softmax_columns)(const T* x, T* y, index_t count, index_t stride, index_t columns, bool logarithm);
};

FASTCONV_DECLARE_KERNELS(ReduceKernels, reduce_kernels)

}  // namespace fastconv
