#include <algorithm>
#include <cstdint>

#include "fastconv/ops.h"
#include "ops/ranges.h"

namespace fastconv {

template <class T>
void take(const T* x, T* y, index_t outer, index_t count, index_t inner, const std::vector<index_t>& indices) {
  const auto taken = static_cast<index_t>(indices.size());
  if (inner == 0) return;
  parallel_ranges(outer * taken, grain_of(inner), [&](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row)
      std::copy_n(x + (row / taken * count + indices[row % taken]) * inner, inner, y + row * inner);
  });
}

template <class T>
void scatter_add(const T* x, const T* updates, T* y, index_t outer, index_t count, index_t inner,
                 const std::vector<index_t>& indices) {
  if (outer == 0 || inner == 0) return;
  const auto added = static_cast<index_t>(indices.size());
  over_columns(outer, count + added, inner, [&](index_t o, index_t column, index_t columns) {
    const index_t first = o * count * inner + column;
    for (index_t i = 0; i < count && x != y; ++i) std::copy_n(x + first + i * inner, columns, y + first + i * inner);
    for (index_t i = 0; i < added; ++i) {
      const T* from = updates + (o * added + i) * inner + column;
      T* to = y + first + indices[i] * inner;
      for (index_t k = 0; k < columns; ++k) to[k] += from[k];
    }
  });
}

#define FASTCONV_INSTANTIATE(T) template void take<T>(const T*, T*, index_t, index_t, index_t, const std::vector<index_t>&);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(double)
FASTCONV_INSTANTIATE(std::uint8_t)
FASTCONV_INSTANTIATE(std::uint16_t)
FASTCONV_INSTANTIATE(std::uint32_t)
FASTCONV_INSTANTIATE(std::uint64_t)
#undef FASTCONV_INSTANTIATE
template void scatter_add<float>(const float*, const float*, float*, index_t, index_t, index_t, const std::vector<index_t>&);
template void scatter_add<double>(const double*, const double*, double*, index_t, index_t, index_t, const std::vector<index_t>&);

}  // namespace fastconv
