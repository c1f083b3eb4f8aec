// Sums and products, element by element.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

// A matrix of `rows` x `columns` elements: element (r, c) lies at data[r * row + c * column].
template <class T>
struct Strided {
  T* data;
  index_t row, column;
};

template <class T>
struct EltwiseKernels {
  // out = a + b or a * b; out may be exactly a or b. Strides of zero repeat an element.
  void (*binary)(BinaryKind kind, index_t rows, index_t columns, Strided<const T> a, Strided<const T> b, Strided<T> out);
};

FASTCONV_DECLARE_KERNELS(EltwiseKernels, eltwise_kernels)

}  // namespace fastconv
