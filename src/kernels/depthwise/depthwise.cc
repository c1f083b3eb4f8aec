#include "kernels/depthwise/depthwise.h"

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

// Output columns at a time: each loaded weight serves so many FMAs, whose other operand comes from memory.
#if FASTCONV_VECTOR_BYTES == 64
constexpr int kColumns = 14;
#else
constexpr int kColumns = 8;
#endif

// KernelW, StrideW: compile-time values, or 0 for those of the band. They make the inputs' addresses immediate.
template <class T, int Columns, int KernelW, int StrideW>
FASTCONV_INLINE void tile(const DepthwiseBand<T>& d, const T* x, T* y, const T* residual) {
  constexpr int L = lanes<T>;
  const index_t kernel_w = KernelW ? KernelW : d.kernel_w;
  const index_t step = (StrideW ? StrideW : d.stride_w) * L, dilation = (KernelW ? 1 : d.dilation_w) * L;
  Vec<T> acc[Columns];
#pragma GCC unroll 14
  for (int c = 0; c < Columns; ++c) acc[c] = Vec<T>{};
  const T* w = d.weights;
  for (index_t ky = 0; ky < d.kernel_h; ++ky) {
    const T* row = x + ky * d.dilation_h * d.x_row_stride;
#pragma GCC unroll 7
    for (index_t kx = 0; kx < kernel_w; ++kx, w += L) {
      const Vec<T> wv = load(w);
      const T* column = row + kx * dilation;
#pragma GCC unroll 14
      for (int c = 0; c < Columns; ++c) acc[c] += load(column + c * step) * wv;
    }
  }
  const Vec<T> bias = load(d.bias), low = broadcast(d.low), high = broadcast(d.high);
#pragma GCC unroll 14
  for (int c = 0; c < Columns; ++c) {
    Vec<T> v = acc[c] + bias;
    if (residual) v += load(residual + c * d.y_column_stride);
    store(y + c * d.y_column_stride, at_most(at_least(v, low), high));
  }
}

template <class T, int KernelW, int StrideW>
void sweep(const DepthwiseBand<T>& d) {
  constexpr int L = lanes<T>;
  for (index_t r = 0; r < d.rows; ++r) {
    const T* x = d.x + r * d.stride_h * d.x_row_stride;
    T* y = d.y + r * d.y_row_stride;
    const T* residual = d.residual ? d.residual + r * d.y_row_stride : nullptr;
    index_t c = 0;
    const auto step = [&]<int Columns>() __attribute__((always_inline)) {
      for (; c + Columns <= d.columns; c += Columns)
        tile<T, Columns, KernelW, StrideW>(d, x + c * d.stride_w * L, y + c * d.y_column_stride,
                                           residual ? residual + c * d.y_column_stride : nullptr);
    };
    step.template operator()<kColumns>();
    if constexpr (kColumns > 7) step.template operator()<7>();
    step.template operator()<4>();
    step.template operator()<1>();
  }
}

template <class T>
void run(const DepthwiseBand<T>& d) {
  if (d.dilation_w == 1 && (d.stride_w == 1 || d.stride_w == 2)) {
    const bool two = d.stride_w == 2;
    switch (d.kernel_w) {
      case 3: return two ? sweep<T, 3, 2>(d) : sweep<T, 3, 1>(d);
      case 5: return two ? sweep<T, 5, 2>(d) : sweep<T, 5, 1>(d);
      case 7: return two ? sweep<T, 7, 2>(d) : sweep<T, 7, 1>(d);
      default: break;
    }
  }
  sweep<T, 0, 0>(d);
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(DepthwiseKernels, depthwise_kernels, {run<T>})
