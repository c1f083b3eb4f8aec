// Resizing of one channel block.
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
};

FASTCONV_DECLARE_KERNELS(InterpolateKernels, interpolate_kernels)

}  // namespace fastconv
