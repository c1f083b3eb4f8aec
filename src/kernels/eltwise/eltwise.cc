#include "kernels/eltwise/eltwise.h"

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

struct Add {
  template <class V>
  V operator()(V a, V b) const {
    return a + b;
  }
};
struct Multiply {
  template <class V>
  V operator()(V a, V b) const {
    return a * b;
  }
};

// Elements i, i + 1, ... of a row, or its only one.
template <class T, int column_stride>
FASTCONV_INLINE Vec<T> load_row(const T* row, index_t i) {
  if constexpr (column_stride == 1)
    return load(row + i);
  else
    return broadcast(*row);
}

template <int a_column, int b_column, class T, class F>
void rows_of_vectors(index_t rows, index_t columns, Strided<const T> a, Strided<const T> b, Strided<T> out, F f) {
  constexpr int L = lanes<T>;
  const auto at = [&](const T* p, const T* q, index_t i) {
    return f(load_row<T, a_column>(p, i), load_row<T, b_column>(q, i));
  };
  for (index_t r = 0; r < rows; ++r) {
    const T *p = a.data + r * a.row, *q = b.data + r * b.row;
    T* y = out.data + r * out.row;
    // The last vector overlaps the one before it; it is computed first, for out may be an operand.
    const index_t tail = columns - L;
    const Vec<T> last = at(p, q, tail);
    for (index_t i = 0; i < tail; i += L) store(y + i, at(p, q, i));
    store(y + tail, last);
  }
}

template <class T, class F>
void map(index_t rows, index_t columns, Strided<const T> a, Strided<const T> b, Strided<T> out, F f) {
  if (columns >= lanes<T> && out.column == 1) {
    if (a.column == 1 && b.column == 1) return rows_of_vectors<1, 1>(rows, columns, a, b, out, f);
    if (a.column == 1 && b.column == 0) return rows_of_vectors<1, 0>(rows, columns, a, b, out, f);
    if (a.column == 0 && b.column == 1) return rows_of_vectors<0, 1>(rows, columns, a, b, out, f);
  }
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < columns; ++c)
      out.data[r * out.row + c * out.column] =
          f(a.data[r * a.row + c * a.column], b.data[r * b.row + c * b.column]);
}

template <class T>
void binary(BinaryKind kind, index_t rows, index_t columns, Strided<const T> a, Strided<const T> b, Strided<T> out) {
  return kind == BinaryKind::add ? map(rows, columns, a, b, out, Add{}) : map(rows, columns, a, b, out, Multiply{});
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(EltwiseKernels, eltwise_kernels, {binary<T>})
