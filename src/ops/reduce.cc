#include "kernels/reduce/reduce.h"

#include <cmath>
#include <limits>

#include "fastconv/ops.h"
#include "ops/planes.h"
#include "ops/ranges.h"

namespace fastconv {
namespace {

// rows(begin, end) for ranges of rows of `count` neighbouring elements, or columns(o, column,
// columns) as over_columns calls it.
template <class Rows, class Columns>
void over_middle(index_t outer, index_t count, index_t inner, Rows&& rows, Columns&& columns) {
  if (outer == 0 || inner == 0) return;
  if (inner == 1)
    parallel_ranges(outer, grain_of(count), rows);
  else
    over_columns(outer, count, inner, columns);
}

// The same for results of shape (outer, inner), with the arguments that kernels take.
template <class T, class Y, class Rows, class Columns>
void reduce_middle(const T* x, Y* y, index_t outer, index_t count, index_t inner, Rows&& rows, Columns&& columns) {
  over_middle(
      outer, count, inner, [&](index_t begin, index_t end) { rows(x + begin * count, end - begin, count, y + begin); },
      [&](index_t o, index_t column, index_t width) {
        columns(x + o * count * inner + column, count, inner, width, y + o * inner + column);
      });
}

// The nearest exponent that T has and that is as this one: finite or not, zero or not.
template <class T>
T exponent(double ord) {
  using Limits = std::numeric_limits<T>;
  const double magnitude = std::abs(ord);
  if (magnitude == 0 || std::isinf(ord)) return static_cast<T>(ord);
  return static_cast<T>(std::copysign(std::clamp<double>(magnitude, Limits::min(), Limits::max()), ord));
}

}  // namespace

template <class T>
void reduce(ReduceKind kind, const T* x, T* y, index_t outer, index_t count, index_t inner) {
  const ReduceKernels<T>& kernels = reduce_kernels<T>();
  reduce_middle(
      x, y, outer, count, inner, [&](auto... args) { kernels.rows(kind, args...); },
      [&](auto... args) { kernels.columns(kind, args...); });
}

template <class T>
void argmax(bool least, const T* x, std::int64_t* y, index_t outer, index_t count, index_t inner) {
  const ReduceKernels<T>& kernels = reduce_kernels<T>();
  reduce_middle(
      x, y, outer, count, inner, [&](auto... args) { kernels.argmax_rows(least, args...); },
      [&](auto... args) { kernels.argmax_columns(least, args...); });
}

template <class T>
void norm(double ord, const T* x, T* y, index_t outer, index_t count, index_t inner) {
  const ReduceKernels<T>& kernels = reduce_kernels<T>();
  const T p = exponent<T>(ord);
  reduce_middle(
      x, y, outer, count, inner, [&](auto... args) { kernels.norm_rows(p, args...); },
      [&](auto... args) { kernels.norm_columns(p, args...); });
}

template <class T>
void cumsum(const T* x, T* y, index_t outer, index_t count, index_t inner, bool exclusive, bool reverse) {
  const ReduceKernels<T>& kernels = reduce_kernels<T>();
  over_middle(
      outer, count, inner,
      [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) kernels.cumsum(x + r * count, y + r * count, count, 1, 1, exclusive, reverse);
      },
      [&](index_t o, index_t column, index_t columns) {
        const index_t at = o * count * inner + column;
        kernels.cumsum(x + at, y + at, count, inner, columns, exclusive, reverse);
      });
}

template <class T>
void softmax(const T* x, T* y, index_t outer, index_t count, index_t inner, bool logarithm) {
  const ReduceKernels<T>& kernels = reduce_kernels<T>();
  if (count == 0) return;
  over_middle(
      outer, count, inner,
      [&](index_t begin, index_t end) {
        kernels.softmax_rows(x + begin * count, y + begin * count, end - begin, count, logarithm);
      },
      [&](index_t o, index_t column, index_t columns) {
        const index_t at = o * count * inner + column;
        kernels.softmax_columns(x + at, y + at, count, inner, columns, logarithm);
      });
}

template <class T>
void global_avg_pool2d(const TensorView<const T>& x, const TensorView<T>& y) {
  check_layout(x, "x");
  check_layout(y, "out");
  const index_t pixels = x.h * x.w, groups = ceil_div(x.c, x.block);
  if ((x.w > 1 && x.sw != x.block) || (x.h > 1 && x.sh != x.w * x.block))
    throw std::logic_error("global_avg_pool2d: x must have contiguous planes");
  const ReduceKernels<T>& kernels = reduce_kernels<T>();
  parallel_ranges(x.n * groups, grain_of(pixels * x.block), [&](index_t begin, index_t end) {
    for (index_t task = begin; task < end; ++task) {
      const index_t n = task / groups, group = task % groups, first = group * x.block;
      const T* from = x.data + n * x.sn + group * x.sb;
      T means[64 / sizeof(T)];
      if (x.block == 1)
        kernels.rows(ReduceKind::mean, from, 1, pixels, means);
      else
        kernels.columns(ReduceKind::mean, from, pixels, x.block, x.block, means);
      for (index_t c = first; c < std::min(x.c, first + x.block); ++c) *y.channel(n, c) = means[c - first];
    }
  });
}

#define FASTCONV_INSTANTIATE(T)                                                 \
  template void reduce<T>(ReduceKind, const T*, T*, index_t, index_t, index_t); \
  template void argmax<T>(bool, const T*, std::int64_t*, index_t, index_t, index_t); \
  template void norm<T>(double, const T*, T*, index_t, index_t, index_t);       \
  template void cumsum<T>(const T*, T*, index_t, index_t, index_t, bool, bool); \
  template void softmax<T>(const T*, T*, index_t, index_t, index_t, bool);      \
  template void global_avg_pool2d<T>(const TensorView<const T>&, const TensorView<T>&);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(double)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv
