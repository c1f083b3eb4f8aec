// The activations on vectors: forms of the definitions in fastconv/activations.h that keep their
// accuracy.
#pragma once

#include "fastconv/activations.h"
#include "simd/math.h"

namespace fastconv::FASTCONV_ISA {

template <class T>
FASTCONV_INLINE Vec<T> zero_to_six(Vec<T> x) {
  return at_most(at_least(x, Vec<T>{}), broadcast(T(6)));
}

template <class T>
FASTCONV_INLINE Vec<T> with_slope(Vec<T> x, Vec<T> slope) {
  return x < T(0) ? x * slope : x;
}

template <Activation::Kind kKind, class T>
FASTCONV_INLINE Vec<T> activated(Vec<T> x, [[maybe_unused]] T first, [[maybe_unused]] T second) {
  using enum Activation::Kind;
  constexpr Activation::Kind a = kKind;
  if constexpr (a == none) return x;
  if constexpr (a == relu) return at_least(x, Vec<T>{});
  if constexpr (a == relu6) return zero_to_six<T>(x);
  if constexpr (a == leaky_relu || a == prelu) return with_slope<T>(x, broadcast(first));
  // Of zeros of either sign the bound, as `minimum` and `maximum` have it.
  if constexpr (a == clip) return x == x ? at_most(broadcast(second), at_least(broadcast(first), x)) : x;
  if constexpr (a == gelu) return x * normal_cdf<T>(x);
  // x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), written as x sigmoid(2 u):
  // nothing cancels.
  if constexpr (a == gelu_tanh)
    return x / (T(1) + exp_normal<T>(T(-1.5957691216057308) * x * (T(1) + T(0.044715) * x * x)));
  if constexpr (a == silu) return x / (T(1) + exp_normal<T>(-x));
  if constexpr (a == hardswish) return x * (zero_to_six<T>(x + T(3)) * T(1.0 / 6));
  if constexpr (a == hardsigmoid) return zero_to_six<T>(x + T(3)) * T(1.0 / 6);
  if constexpr (a == sigmoid) return FASTCONV_ISA::sigmoid<T>(x);
  if constexpr (a == tanh) return FASTCONV_ISA::tanh<T>(x);
  // x tanh(log(1 + e)) = x e (e + 2) / (e (e + 2) + 2) with e = exp(x), which is h h: x h is far
  // from underflow where e is not.
  if constexpr (a == mish) {
    constexpr T kLinear = 20;  // from here on the factor of x rounds to 1
    const Vec<T> h = exp_normal<T>(at_most(x, broadcast(kLinear)) * T(0.5)), e = h * h;
    return x > kLinear ? x : x * h * (h * ((e + T(2)) / (e * (e + T(2)) + T(2))));
  }
}

}  // namespace fastconv::FASTCONV_ISA
