// Pooling of one channel block.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct PoolKernels {
  // x[row * x_row + column * lanes] is input element (row, column); y's rows are y_row apart.
  // Output row i is over the input rows of rows[i], output column j over the columns of columns[j].
  // A NaN in a window is the result; a window without elements gives -infinity.
  void (*max)(const T* x, index_t x_row, T* y, index_t y_row, const PoolWindow* rows, index_t row_count, index_t row_step,
              const PoolWindow* columns, index_t column_count, index_t column_step);
  void (*average)(const T* x, index_t x_row, T* y, index_t y_row, const PoolWindow* rows, index_t row_count,
                  const PoolWindow* columns, index_t column_count);
};

FASTCONV_DECLARE_KERNELS(PoolKernels, pool_kernels)

}  // namespace fastconv
