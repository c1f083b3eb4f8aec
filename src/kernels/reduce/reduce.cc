#include "kernels/reduce/reduce.h"

#include "simd/math.h"
#include "simd/sum.h"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T>
T mean_of(const T* x, index_t count) {
  constexpr int L = lanes<T>;
  Sum<T> sums[2];  // two chains of additions hide each other's latency
  index_t i = 0;
  for (; i + 2 * L <= count; i += 2 * L) {
    sums[0].add(load(x + i));
    sums[1].add(load(x + i + L));
  }
  if (i + L <= count) {
    sums[0].add(load(x + i));
    i += L;
  }
  if (i < count) sums[1].add(load_partial(x + i, int(count - i)));
  return sum_lanes<T>(sums[0].value() + sums[1].value()) / T(count);
}

template <class T>
void mean_rows(const T* x, index_t rows, index_t count, T* y) {
  for (index_t r = 0; r < rows; ++r) y[r] = mean_of(x + r * count, count);
}

// Calls f(column, n) for strips of n <= lanes columns.
template <class T, class F>
FASTCONV_INLINE void for_strips(index_t columns, F f) {
  for (index_t c = 0; c < columns; c += lanes<T>) f(c, columns - c < lanes<T> ? int(columns - c) : lanes<T>);
}
template <class T>
FASTCONV_INLINE Vec<T> load_first(const T* p, int n) {
  return n == lanes<T> ? load(p) : load_partial(p, n);
}
template <class T>
FASTCONV_INLINE void store_first(T* p, Vec<T> v, int n) {
  if (n == lanes<T>)
    store(p, v);
  else
    store_partial(p, v, n);
}

template <class T>
void mean_columns(const T* x, index_t count, index_t stride, index_t columns, T* y) {
  for_strips<T>(columns, [&](index_t c, int n) {
    const auto at = [&](index_t i) { return load_first(x + i * stride + c, n); };
    Sum<T> sum;  // of fours, whose few roundings do not add up
    index_t i = 0;
    for (; i + 4 <= count; i += 4) sum.add((at(i) + at(i + 1)) + (at(i + 2) + at(i + 3)));
    for (; i < count; ++i) sum.add(at(i));
    store_first(y + c, sum.value() / T(count), n);
  });
}

template <class T>
T scalar_max(Vec<T> v) {
  T highest = v[0];
  for (int i = 1; i < lanes<T>; ++i) highest = v[i] > highest ? v[i] : highest;
  return highest;
}

// A NaN may hide from the maxima, but not from the sum of exponentials.
template <class T>
void softmax_row(const T* x, T* y, index_t count, bool logarithm) {
  constexpr int L = lanes<T>;
  const index_t full = count / L * L;
  const int rest = int(count - full);
  const Vec<T> lowest = broadcast(T(-__builtin_inf()));
  Vec<T> highest = lowest;
  for (index_t i = 0; i < full; i += L) highest = at_least(load(x + i), highest);
  if (rest) highest = at_least(first_lanes<T>(rest) ? load_partial(x + full, rest) : lowest, highest);
  const T top = scalar_max<T>(highest);
  Sum<T> sum;
  for (index_t i = 0; i < full; i += L) {
    const Vec<T> e = exp<T>(load(x + i) - top);
    sum.add(e);
    if (!logarithm) store(y + i, e);
  }
  if (rest) {
    const Vec<T> e = exp<T>(load_partial(x + full, rest) - top);
    sum.add(first_lanes<T>(rest) ? e : Vec<T>{});
    if (!logarithm) store_partial(y + full, e, rest);
  }
  const T total = sum_lanes<T>(sum.value());
  if (logarithm) {
    const T log_total = log<T>(broadcast(total))[0];
    for (index_t i = 0; i < full; i += L) store(y + i, (load(x + i) - top) - log_total);
    for (index_t i = full; i < count; ++i) y[i] = (x[i] - top) - log_total;
  } else {
    for (index_t i = 0; i < full; i += L) store(y + i, load(y + i) / total);
    for (index_t i = full; i < count; ++i) y[i] /= total;
  }
}

template <class T>
void softmax_rows(const T* x, T* y, index_t rows, index_t count, bool logarithm) {
  for (index_t r = 0; r < rows; ++r) softmax_row(x + r * count, y + r * count, count, logarithm);
}

template <class T>
void softmax_columns(const T* x, T* y, index_t count, index_t stride, index_t columns, bool logarithm) {
  for_strips<T>(columns, [&](index_t c, int n) {
    Vec<T> top = broadcast(T(-__builtin_inf()));
    for (index_t i = 0; i < count; ++i) top = at_least(load_first(x + i * stride + c, n), top);
    Sum<T> sum;
    for (index_t i = 0; i < count; ++i) {
      const Vec<T> e = exp<T>(load_first(x + i * stride + c, n) - top);
      sum.add(e);
      if (!logarithm) store_first(y + i * stride + c, e, n);
    }
    const Vec<T> total = sum.value(), log_total = log<T>(total);
    for (index_t at = c; at < c + count * stride; at += stride)
      store_first(y + at, logarithm ? (load_first(x + at, n) - top) - log_total : load_first(y + at, n) / total, n);
  });
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(ReduceKernels, reduce_kernels,
                        {mean_rows<T>, mean_columns<T>, softmax_rows<T>, softmax_columns<T>})
