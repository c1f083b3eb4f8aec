// Resizing of channel blocks.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct InterpolateKernels {
  // As the pool kernels: x and y hold `lanes` channels a pixel. Nearest takes each tap's `low`.
  void (*nearest)(const T* x, index_t x_row, T* y, index_t y_row, const InterpolationTap* rows, index_t row_count,
                  const InterpolationTap* columns, index_t column_count);
  void (*bilinear)(const T* x, index_t x_row, T* y, index_t y_row, const InterpolationTap* rows, index_t row_count,
                   const InterpolationTap* columns, index_t column_count);
  // y[e] = the sum over all taps of weight * x[at * x_row + e], for e < count.
  void (*filter_rows)(const T* x, index_t x_row, const WeightedTap* taps, index_t tap_count, T* y, index_t count);
  // Of a row of pixels with `lanes` elements: pixel i of y is the sum over the taps from begins[i]
  // to before begins[i + 1], at least one, of weight * pixel `at` of x.
  void (*filter_columns)(const T* x, const index_t* begins, const WeightedTap* taps, T* y, index_t count);
};

FASTCONV_DECLARE_KERNELS(InterpolateKernels, interpolate_kernels)

}  // namespace fastconv
