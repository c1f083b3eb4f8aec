// Around the seven products of Strassen's algorithm. With the input channels of a 1x1 convolution
// in an upper and a lower half (1, 2), likewise its output channels, and its pixels in pairs (1:
// the left one, 2: the right one):
//
//   m0 = (w11 + w22) (x11 + x22)    m3 = w22 (x21 - x11)    m5 = (w21 - w11) (x11 + x12)
//   m1 = (w21 + w22) x11            m4 = (w11 + w12) x22    m6 = (w12 - w22) (x21 + x22)
//   m2 = w11 (x12 - x22)
//
//   y11 = m0 + m3 - m4 + m6    y12 = m2 + m4    y21 = m1 + m3    y22 = m0 - m1 + m2 + m5
//
// Weights of different output channels meet, so those of each are first divided by a power of two
// near the mean of their absolute values: otherwise a channel would get rounding errors in
// proportion to its partner. After Ballard et al. 2016, "Improving the numerical stability of fast
// matrix multiplication".
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

inline constexpr int kStrassenProducts = 7;

// The right factors, for one vector of channels of each half: v[product][pair]. A last pixel
// without a partner gets zeros.
template <class T>
struct StrassenInput {
  const T* x;  // a vector of the upper half; pixels are x_stride apart
  index_t x_half, x_stride;
  index_t pixels;
  T* v;
  index_t v_stride;  // from product to product; pairs are `lanes` apart
};

// The left factors, for one vector of output channels of each half.
template <class T>
struct StrassenWeight {
  const T *w11, *w12, *w21, *w22;  // [channel][lanes]
  index_t channels;                // of input, in each half
  T* u;                            // [product][channel][u_row]
  index_t u_stride, u_row;
  T *scale, *scale_half;  // what sums are to be multiplied by: what the weights were divided by, 0 where all of them are 0
};

// The sums, for one vector of output channels of each half: y = min(max(sum * scale + bias +
// residual, low), high).
template <class T>
struct StrassenOutput {
  const T* m;  // [product][pair]
  index_t m_stride;
  index_t pixels;
  T* y;  // a vector of the upper half
  index_t y_half, y_stride;
  const T* residual;  // strides as y; null for none
  const T *scale, *scale_half, *bias, *bias_half;  // a vector each
  T low, high;
};

template <class T>
struct StrassenKernels {
  void (*input)(const StrassenInput<T>&);
  void (*weight)(const StrassenWeight<T>&);
  void (*output)(const StrassenOutput<T>&);
};

FASTCONV_DECLARE_KERNELS(StrassenKernels, strassen_kernels)

}  // namespace fastconv
