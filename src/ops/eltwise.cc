#include "kernels/eltwise/eltwise.h"

#include <algorithm>

#include "fastconv/ops.h"
#include "kernels/activation/activation.h"
#include "ops/ranges.h"

namespace fastconv {

struct BinaryDimension {
  index_t size, a, b, out;  // strides
};

namespace {

// Drops dimensions of size 1 and joins neighbours that one stride runs through, in all three arrays.
std::vector<BinaryDimension> coalesce(const Shape& shape, const Shape& a, const Shape& b, const Shape& out) {
  std::vector<BinaryDimension> dims;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    const BinaryDimension d{shape[i], a[i], b[i], out[i]};
    if (!dims.empty() && dims.back().a == d.a * d.size && dims.back().b == d.b * d.size && dims.back().out == d.out * d.size) {
      dims.back() = {dims.back().size * d.size, d.a, d.b, d.out};
    } else {
      dims.push_back(d);
    }
  }
  while (dims.size() < 2) dims.insert(dims.begin(), BinaryDimension{1, 0, 0, 0});
  return dims;
}

}  // namespace

template <class T>
void activate(const Activation& activation, const T* x, T* y, index_t count) {
  const ActivationKernels<T>& kernels = activation_kernels<T>();
  parallel_ranges(count, kRangeElements, [&](index_t begin, index_t end) {
    kernels.apply(activation.kind, x + begin, y + begin, end - begin, static_cast<T>(activation.a), static_cast<T>(activation.b));
  });
}

template <class T>
void binary(BinaryKind kind, const Shape& shape, const T* a, const Shape& a_strides, const T* b, const Shape& b_strides,
            T* out, const Shape& out_strides) {
  const index_t count = checked_size(shape, sizeof(T));
  if (count == 0) return;
  const std::vector<BinaryDimension> dims = coalesce(shape, a_strides, b_strides, out_strides);
  const BinaryDimension &row = dims[dims.size() - 2], &column = dims.back();
  const EltwiseKernels<T>& kernels = eltwise_kernels<T>();
  // Long rows are divided, short ones taken several at a time.
  const index_t matrices = count / (row.size * column.size);
  const index_t width = std::min(column.size, kRangeElements), columns = ceil_div(column.size, width);
  const index_t height = std::min(row.size, grain_of(width)), rows = ceil_div(row.size, height);
  parallel_ranges(matrices * rows * columns, grain_of(height * width), [&](index_t begin, index_t end) {
    for (index_t task = begin; task < end; ++task) {
      const index_t r = task / columns % rows * height, c = task % columns * width;
      index_t at_a = r * row.a + c * column.a, at_b = r * row.b + c * column.b, at_out = r * row.out + c * column.out;
      index_t rest = task / (rows * columns);
      for (std::size_t i = dims.size() - 2; i-- > 0; rest /= dims[i].size) {
        const index_t at = rest % dims[i].size;
        at_a += at * dims[i].a;
        at_b += at * dims[i].b;
        at_out += at * dims[i].out;
      }
      kernels.binary(kind, std::min(height, row.size - r), std::min(width, column.size - c), {a + at_a, row.a, column.a},
                     {b + at_b, row.b, column.b}, {out + at_out, row.out, column.out});
    }
  });
}

#define FASTCONV_INSTANTIATE(T)                                                                                        \
  template void activate<T>(const Activation&, const T*, T*, index_t);                                                 \
  template void binary<T>(BinaryKind, const Shape&, const T*, const Shape&, const T*, const Shape&, T*, const Shape&);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(double)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv
