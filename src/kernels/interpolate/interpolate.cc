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

// `load_part(p, v)` loads the v-th of N vectors at p, `store_part(v, sum)` takes its sum.
template <int N, class T, class Load, class Store>
FASTCONV_INLINE void sum_rows(const T* x, index_t x_row, const WeightedTap* taps, index_t tap_count, Load&& load_part,
                              Store&& store_part) {
  Vec<T> sums[N];
  for (int v = 0; v < N; ++v) sums[v] = load_part(x + taps[0].at * x_row, v) * T(taps[0].weight);
  for (index_t t = 1; t < tap_count; ++t)
    for (int v = 0; v < N; ++v) sums[v] += load_part(x + taps[t].at * x_row, v) * T(taps[t].weight);
  for (int v = 0; v < N; ++v) store_part(v, sums[v]);
}

template <class T>
void filter_rows(const T* x, index_t x_row, const WeightedTap* taps, index_t tap_count, T* y, index_t count) {
  constexpr int L = lanes<T>, N = 4;
  const auto whole = [](const T* p, int v) { return load(p + v * L); };
  const auto put = [&](int v, Vec<T> sum) { store(y + v * L, sum); };
  for (; count >= N * L; count -= N * L, x += N * L, y += N * L) sum_rows<N>(x, x_row, taps, tap_count, whole, put);
  for (; count >= L; count -= L, x += L, y += L) sum_rows<1>(x, x_row, taps, tap_count, whole, put);
  if (count > 0)
    sum_rows<1>(
        x, x_row, taps, tap_count, [&](const T* p, int) { return load_partial(p, static_cast<int>(count)); },
        [&](int, Vec<T> sum) { store_partial(y, sum, static_cast<int>(count)); });
}

template <class T>
void filter_columns(const T* x, const index_t* begins, const WeightedTap* taps, T* y, index_t count) {
  constexpr int L = lanes<T>;
  for (index_t i = 0; i < count; ++i) {
    index_t t = begins[i];
    Vec<T> sum = load(x + taps[t].at * L) * T(taps[t].weight);
    for (++t; t < begins[i + 1]; ++t) sum += load(x + taps[t].at * L) * T(taps[t].weight);
    store(y + i * L, sum);
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(InterpolateKernels, interpolate_kernels, {nearest<T>, bilinear<T>, filter_rows<T>, filter_columns<T>})
