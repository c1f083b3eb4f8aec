#include "kernels/reduce/reduce.h"

#include "simd/math.h"
#include "simd/sum.h"

namespace fastconv::FASTCONV_ISA {
namespace {

// Folds: what makes one of two vectors (`of`), of any number one after the other (`take` and
// `value`), and of none (`none`).
template <class T>
struct Add {
  static constexpr T none = 0;
  Sum<T> sum;

  template <class V>
  FASTCONV_MEMBER static V of(V a, V b) { return a + b; }
  FASTCONV_MEMBER static T of_lanes(Vec<T> v) { return sum_lanes<T>(v); }
  FASTCONV_MEMBER void take(Vec<T> v) { sum.add(v); }
  FASTCONV_MEMBER Vec<T> value() const { return sum.value(); }
};

// As sums of parts, for the errors of a compensated sum grow with the square of its length: (n u)^2
// sum |x|, with the unit roundoff u.
template <class T>
struct AddParts : Add<T> {
  static constexpr int part = 1024;
  Sum<T> parts;
  int taken = 0;

  FASTCONV_MEMBER void take(Vec<T> v) {
    this->sum.add(v);
    if (++taken < part) return;
    parts.add(this->sum);
    this->sum = {};
    taken = 0;
  }
  FASTCONV_MEMBER Vec<T> value() const {
    Sum<T> all = parts;
    all.add(this->sum);
    return all.value();
  }
};

template <class T, class Fold>
struct Plain {  // without compensation
  Vec<T> folded = broadcast(Fold::none);

  FASTCONV_MEMBER static T of_lanes(Vec<T> v) {
    T all = v[0];
    for (int i = 1; i < lanes<T>; ++i) all = Fold::of(all, T(v[i]));
    return all;
  }
  FASTCONV_MEMBER void take(Vec<T> v) { folded = Fold::of(folded, v); }
  FASTCONV_MEMBER Vec<T> value() const { return folded; }
};

template <class T>
struct Multiply : Plain<T, Multiply<T>> {
  static constexpr T none = 1;
  template <class V>
  FASTCONV_MEMBER static V of(V a, V b) { return a * b; }
};

// Extremes: whether v goes before `best`, as NaN does.
template <class T>
struct Maximum : Plain<T, Maximum<T>> {
  static constexpr T none = T(-__builtin_inf());
  template <class V>
  FASTCONV_MEMBER static auto beats(V v, V best) { return ((v > best) | (v != v)) & (best == best); }
  template <class V>
  FASTCONV_MEMBER static V of(V a, V b) { return (a > b) | (a != a) ? a : b; }
};

template <class T>
struct Minimum : Plain<T, Minimum<T>> {
  static constexpr T none = T(__builtin_inf());
  template <class V>
  FASTCONV_MEMBER static auto beats(V v, V best) { return ((v < best) | (v != v)) & (best == best); }
  template <class V>
  FASTCONV_MEMBER static V of(V a, V b) { return (a < b) | (a != a) ? a : b; }
};

struct Itself {
  template <class V>
  FASTCONV_MEMBER V operator()(V v) const { return v; }
};

template <class T, class Fold, class Map = Itself>
T fold_row(const T* x, index_t count, Map map = {}) {
  constexpr int L = lanes<T>;
  Fold folds[2];  // two chains of additions hide each other's latency
  index_t i = 0;
  for (; i + 2 * L <= count; i += 2 * L) {
    folds[0].take(map(load(x + i)));
    folds[1].take(map(load(x + i + L)));
  }
  if (i + L <= count) {
    folds[0].take(map(load(x + i)));
    i += L;
  }
  if (const int n = int(count - i)) folds[1].take(first_lanes<T>(n) ? map(load_partial(x + i, n)) : broadcast(Fold::none));
  return Fold::of_lanes(Fold::of(folds[0].value(), folds[1].value()));
}

// Of the vectors at(0), at(1), ...
template <class T, class Fold, class At>
FASTCONV_INLINE Vec<T> fold_column(index_t count, At at) {
  Fold fold;  // of fours: the few roundings of a sum do not add up
  index_t i = 0;
  for (; i + 4 <= count; i += 4) fold.take(Fold::of(Fold::of(at(i), at(i + 1)), Fold::of(at(i + 2), at(i + 3))));
  for (; i < count; ++i) fold.take(at(i));
  return fold.value();
}

// Calls f<Fold>().
template <class T, class F>
FASTCONV_INLINE void with_fold(ReduceKind kind, F f) {
  switch (kind) {
    case ReduceKind::mean: return f.template operator()<Add<T>>();
    case ReduceKind::sum: return f.template operator()<AddParts<T>>();
    case ReduceKind::prod: return f.template operator()<Multiply<T>>();
    case ReduceKind::max: return f.template operator()<Maximum<T>>();
    case ReduceKind::min: return f.template operator()<Minimum<T>>();
  }
}

template <class T>
void divide_means(ReduceKind kind, index_t count, T* y, index_t n) {
  if (kind == ReduceKind::mean)
    for (index_t i = 0; i < n; ++i) y[i] /= T(count);
}

template <class T>
void reduce_rows(ReduceKind kind, const T* x, index_t rows, index_t count, T* y) {
  with_fold<T>(kind, [=]<class Fold>() {
    for (index_t r = 0; r < rows; ++r) y[r] = fold_row<T, Fold>(x + r * count, count);
  });
  divide_means(kind, count, y, rows);
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
void reduce_columns(ReduceKind kind, const T* x, index_t count, index_t stride, index_t columns, T* y) {
  with_fold<T>(kind, [=]<class Fold>() {
    for_strips<T>(columns, [&](index_t c, int n) {
      store_first(y + c, fold_column<T, Fold>(count, [&](index_t i) { return load_first(x + i * stride + c, n); }), n);
    });
  });
  divide_means(kind, count, y, columns);
}

// The extreme of each of a row's parts says in which of them it comes first.
template <class T, class Extreme>
int64_t argmax_of(const T* x, index_t count) {
  constexpr index_t kPart = 256;
  T best = x[0];
  index_t at = 0;
  for (index_t begin = 0; begin < count; begin += kPart) {
    const T top = fold_row<T, Extreme>(x + begin, count - begin < kPart ? count - begin : kPart);
    if (!Extreme::beats(top, best)) continue;
    best = top;
    at = begin;
  }
  while (x[at] != best && (x[at] == x[at] || best == best)) ++at;
  return at;
}

template <class T>
void argmax_rows(bool least, const T* x, index_t rows, index_t count, int64_t* y) {
  for (index_t r = 0; r < rows; ++r)
    y[r] = (least ? argmax_of<T, Minimum<T>> : argmax_of<T, Maximum<T>>)(x + r * count, count);
}

template <class T, class Extreme>
void argmax_columns_of(const T* x, index_t count, index_t stride, index_t columns, int64_t* y) {
  constexpr index_t kPart = 4096;  // indices within a part fit into lanes
  for_strips<T>(columns, [&](index_t c, int n) {
    Vec<T> best = load_first(x + c, n);
    for (int l = 0; l < n; ++l) y[c + l] = 0;
    for (index_t begin = 0; begin < count; begin += kPart) {
      const int size = int(count - begin < kPart ? count - begin : kPart);
      IntVec<T> found = IntVec<T>{} - 1;
      for (int i = 0; i < size; ++i) {
        const Vec<T> v = load_first(x + (begin + i) * stride + c, n);
        const auto better = Extreme::beats(v, best);
        best = better ? v : best;
        found = better ? IntVec<T>{} + i : found;
      }
      for (int l = 0; l < n; ++l)
        if (found[l] >= 0) y[c + l] = begin + found[l];
    }
  });
}

template <class T>
void argmax_columns(bool least, const T* x, index_t count, index_t stride, index_t columns, int64_t* y) {
  (least ? argmax_columns_of<T, Minimum<T>> : argmax_columns_of<T, Maximum<T>>)(x, count, stride, columns, y);
}

// `fold.template operator()<Fold>(map)` folds all elements. They are divided by the greatest, or
// for negative exponents the least, so that no power overflows and none that counts underflows.
template <class T, class F>
FASTCONV_INLINE Vec<T> norm(T ord, F fold) {
  const auto magnitude = [](Vec<T> v) { return absolute<T>(v); };
  if (ord == 0) return fold.template operator()<AddParts<T>>([](Vec<T> v) { return v != T(0) ? broadcast(T(1)) : Vec<T>{}; });
  if (ord == 1) return fold.template operator()<AddParts<T>>(magnitude);
  const Vec<T> unit = ord > 0 ? at_least(fold.template operator()<Maximum<T>>(magnitude), Vec<T>{})
                              : fold.template operator()<Minimum<T>>(magnitude);
  if (__builtin_isinf(ord)) return unit;
  Vec<T> y;
  if (ord == 2) {
    y = fold.template operator()<AddParts<T>>([=](Vec<T> v) { return (v / unit) * (v / unit); });
    for (int l = 0; l < lanes<T>; ++l) y[l] = __builtin_sqrt(y[l]);
  } else {
    y = fold.template operator()<AddParts<T>>([=](Vec<T> v) { return exp<T>(ord * log<T>(absolute<T>(v) / unit)); });
    for (int l = 0; l < lanes<T>; ++l) y[l] = T(__builtin_pow(y[l], 1 / double(ord)));
  }
  return (unit > T(0)) & (unit < T(__builtin_inf())) ? y * unit : unit;
}

template <class T>
void norm_rows(T ord, const T* x, index_t rows, index_t count, T* y) {
  for (index_t r = 0; r < rows; ++r)
    y[r] = norm<T>(ord, [&]<class Fold>(auto map) { return broadcast(fold_row<T, Fold>(x + r * count, count, map)); })[0];
}

template <class T>
void norm_columns(T ord, const T* x, index_t count, index_t stride, index_t columns, T* y) {
  for_strips<T>(columns, [&](index_t c, int n) {
    const Vec<T> v = norm<T>(ord, [&]<class Fold>(auto map) {
      return fold_column<T, Fold>(count, [&](index_t i) { return map(load_first(x + i * stride + c, n)); });
    });
    store_first(y + c, v, n);
  });
}

template <class T>
void cumsum(const T* x, T* y, index_t count, index_t stride, index_t columns, bool exclusive, bool reverse) {
  const index_t first = reverse ? (count - 1) * stride : 0, step = reverse ? -stride : stride;
  for_strips<T>(columns, [&](index_t c, int n) {
    AddParts<T> sum;
    for (index_t i = 0, at = first + c; i < count; ++i, at += step) {
      const Vec<T> v = load_first(x + at, n);
      if (exclusive) store_first(y + at, sum.value(), n);
      sum.take(v);
      if (!exclusive) store_first(y + at, sum.value(), n);
    }
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
                        {reduce_rows<T>, reduce_columns<T>, argmax_rows<T>, argmax_columns<T>, norm_rows<T>, norm_columns<T>, cumsum<T>, softmax_rows<T>,
                         softmax_columns<T>})
