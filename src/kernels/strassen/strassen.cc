#include "kernels/strassen/strassen.h"

#include "simd/math.h"
#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T>
void input(const StrassenInput<T>& s) {
  constexpr int L = lanes<T>;
  const auto pair = [&](index_t p, Vec<T> x12, Vec<T> x22) __attribute__((always_inline)) {
    const T* x = s.x + p * s.x_stride;
    const Vec<T> x11 = load(x), x21 = load(x + s.x_half);
    T* v = s.v + p / 2 * L;
    store(v, x11 + x22);
    store(v + s.v_stride, x11);
    store(v + 2 * s.v_stride, x12 - x22);
    store(v + 3 * s.v_stride, x21 - x11);
    store(v + 4 * s.v_stride, x22);
    store(v + 5 * s.v_stride, x11 + x12);
    store(v + 6 * s.v_stride, x21 + x22);
  };
  index_t p = 0;
  for (; p + 2 <= s.pixels; p += 2) {
    const T* right = s.x + (p + 1) * s.x_stride;
    pair(p, load(right), load(right + s.x_half));
  }
  if (p < s.pixels) pair(p, Vec<T>{}, Vec<T>{});
}

// The largest power of two that is not above v, within limits that keep its inverse safe.
template <class T>
FASTCONV_INLINE Vec<T> leading_power(Vec<T> v) {
  constexpr T largest = sizeof(T) == 4 ? T(0x1p126) : T(0x1p1022);  // its inverse is normal
  const Vec<T> power = (Vec<T>)((IntVec<T>)v & (IntVec<T>)broadcast(T(__builtin_inf())));
  return at_most(at_least(power, broadcast(1 / largest)), broadcast(largest));
}

template <class T>
void weight(const StrassenWeight<T>& s) {
  constexpr int L = lanes<T>;
  const T each = T(1) / T(2 * s.channels);
  Vec<T> mean1{}, mean2{};
  for (index_t k = 0; k < s.channels; ++k) {
    mean1 += absolute<T>(load(s.w11 + k * L)) * each + absolute<T>(load(s.w12 + k * L)) * each;
    mean2 += absolute<T>(load(s.w21 + k * L)) * each + absolute<T>(load(s.w22 + k * L)) * each;
  }
  const Vec<T> scale1 = leading_power<T>(mean1), scale2 = leading_power<T>(mean2);
  store(s.scale, mean1 == 0 ? Vec<T>{} : scale1);
  store(s.scale_half, mean2 == 0 ? Vec<T>{} : scale2);
  const Vec<T> inverse1 = 1 / scale1, inverse2 = 1 / scale2;
  for (index_t k = 0; k < s.channels; ++k) {
    const Vec<T> w11 = load(s.w11 + k * L) * inverse1, w12 = load(s.w12 + k * L) * inverse1;
    const Vec<T> w21 = load(s.w21 + k * L) * inverse2, w22 = load(s.w22 + k * L) * inverse2;
    T* u = s.u + k * s.u_row;
    store(u, w11 + w22);
    store(u + s.u_stride, w21 + w22);
    store(u + 2 * s.u_stride, w11);
    store(u + 3 * s.u_stride, w22);
    store(u + 4 * s.u_stride, w11 + w12);
    store(u + 5 * s.u_stride, w21 - w11);
    store(u + 6 * s.u_stride, w12 - w22);
  }
}

template <class T>
void output(const StrassenOutput<T>& s) {
  constexpr int L = lanes<T>;
  const Vec<T> scale1 = load(s.scale), scale2 = load(s.scale_half), bias1 = load(s.bias), bias2 = load(s.bias_half);
  const Vec<T> low = broadcast(s.low), high = broadcast(s.high);
  const auto finish = [&](index_t at, Vec<T> sum, Vec<T> scale, Vec<T> bias) __attribute__((always_inline)) {
    Vec<T> y = sum * scale + bias;
    if (s.residual) y += load(s.residual + at);
    store(s.y + at, at_most(at_least(y, low), high));
  };
  for (index_t p = 0; p < s.pixels; p += 2) {
    const T* m = s.m + p / 2 * L;
    const auto product = [&](int i) __attribute__((always_inline)) { return load(m + i * s.m_stride); };
    const Vec<T> m0 = product(0), m1 = product(1), m2 = product(2), m3 = product(3), m4 = product(4);
    const index_t at = p * s.y_stride;
    finish(at, (m0 + product(6)) + (m3 - m4), scale1, bias1);
    finish(at + s.y_half, m1 + m3, scale2, bias2);
    if (p + 1 == s.pixels) break;
    finish(at + s.y_stride, m2 + m4, scale1, bias1);
    finish(at + s.y_half + s.y_stride, (m0 + product(5)) + (m2 - m1), scale2, bias2);
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(StrassenKernels, strassen_kernels, {input<T>, weight<T>, output<T>})
