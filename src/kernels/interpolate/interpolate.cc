#include "kernels/interpolate/interpolate.h"

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T>
void nearest(const T* x, index_t x_row, T* y, index_t y_row, const InterpolationTap* rows, index_t row_count,
             const InterpolationTap* columns, index_t column_count) {
  constexpr int L = lanes<T>;
  for (index_t i = 0; i < row_count; ++i, y += y_row) {
    const T* row = x + rows[i].low * x_row;
    for (index_t j = 0; j < column_count; ++j) store(y + j * L, load(row + columns[j].low * L));
  }
}

template <class T>
void bilinear(const T* x, index_t x_row, T* y, index_t y_row, const InterpolationTap* rows, index_t row_count,
              const InterpolationTap* columns, index_t column_count) {
  constexpr int L = lanes<T>;
  for (index_t i = 0; i < row_count; ++i, y += y_row) {
    const T *low = x + rows[i].low * x_row, *high = x + rows[i].high * x_row;
    const T vertical = T(rows[i].weight), rest = T(1 - rows[i].weight);
    for (index_t j = 0; j < column_count; ++j) {
      const index_t left = columns[j].low * L, right = columns[j].high * L;
      const T share = T(columns[j].weight), other = T(1 - columns[j].weight);
      const Vec<T> top = load(low + left) * other + load(low + right) * share;
      const Vec<T> bottom = load(high + left) * other + load(high + right) * share;
      store(y + j * L, top * rest + bottom * vertical);
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(InterpolateKernels, interpolate_kernels, {nearest<T>, bilinear<T>})
