#include "kernels/pool/pool.h"

#include "simd/sum.h"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T>
void max_pool(const T* x, index_t x_row, T* y, index_t y_row, const PoolWindow* rows, index_t row_count, index_t row_step,
              const PoolWindow* columns, index_t column_count, index_t column_step) {
  constexpr int L = lanes<T>;
  for (index_t i = 0; i < row_count; ++i, y += y_row)
    for (index_t j = 0; j < column_count; ++j) {
      Vec<T> highest = broadcast(T(-__builtin_inf()));
      for (index_t r = rows[i].begin; r < rows[i].end; r += row_step)
        for (index_t c = columns[j].begin; c < columns[j].end; c += column_step) {
          const Vec<T> v = load(x + r * x_row + c * L);
          highest = ((v > highest) | (v != v)) ? v : highest;
        }
      store(y + j * L, highest);
    }
}

template <class T>
void average_pool(const T* x, index_t x_row, T* y, index_t y_row, const PoolWindow* rows, index_t row_count,
                  const PoolWindow* columns, index_t column_count) {
  constexpr int L = lanes<T>;
  for (index_t i = 0; i < row_count; ++i, y += y_row)
    for (index_t j = 0; j < column_count; ++j) {
      Sum<T> total;
      for (index_t r = rows[i].begin; r < rows[i].end; ++r) {
        Vec<T> row{};
        for (index_t c = columns[j].begin; c < columns[j].end; ++c) row += load(x + r * x_row + c * L);
        total.add(row);
      }
      store(y + j * L, total.value() / T(double(rows[i].count) * double(columns[j].count)));
    }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(PoolKernels, pool_kernels, {max_pool<T>, average_pool<T>})
