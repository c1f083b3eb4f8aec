#include "kernels/reduce/reduce.h"

#include "fastconv/ops.h"
#include "ops/planes.h"

namespace fastconv {
template <class T>
void mean(const T* x, T* y, index_t outer, index_t count, index_t inner) {
  const ReduceKernels<T>& kernels = reduce_kernels<T>();
  if (outer == 0 || inner == 0) return;
  if (inner == 1)
    parallel_ranges(outer, grain_of(count), [&](index_t begin, index_t end) {
      kernels.mean_rows(x + begin * count, end - begin, count, y + begin);
    });
  else
    over_columns(outer, count, inner, [&](index_t o, index_t column, index_t columns) {
      kernels.mean_columns(x + o * count * inner + column, count, inner, columns, y + o * inner + column);
    });
}

template <class T>
void softmax(const T* x, T* y, index_t outer, index_t count, index_t inner, bool logarithm) {
  const ReduceKernels<T>& kernels = reduce_kernels<T>();
  if (outer == 0 || inner == 0 || count == 0) return;
  if (inner == 1)
    parallel_ranges(outer, grain_of(count), [&](index_t begin, index_t end) {
      kernels.softmax_rows(x + begin * count, y + begin * count, end - begin, count, logarithm);
    });
  else
    over_columns(outer, count, inner, [&](index_t o, index_t column, index_t columns) {
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
        kernels.mean_rows(from, 1, pixels, means);
      else
        kernels.mean_columns(from, pixels, x.block, x.block, means);
      for (index_t c = first; c < std::min(x.c, first + x.block); ++c) *y.channel(n, c) = means[c - first];
    }
  });
}

#define FASTCONV_INSTANTIATE(T)                                                 \
  template void mean<T>(const T*, T*, index_t, index_t, index_t);               \
  template void softmax<T>(const T*, T*, index_t, index_t, index_t, bool);      \
  template void global_avg_pool2d<T>(const TensorView<const T>&, const TensorView<T>&);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(double)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv
