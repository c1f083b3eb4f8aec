// sin and cos on vectors, within 1.6 ulp in single and 1.2 ulp in double precision (measured by
// tests/cpp/math_test.cc).
//
// x = n pi/2 + r with |r| <= pi/4 (Cody and Waite; J.-M. Muller, Elementary Functions, ch. 11),
// pi/2 being a sum of parts of 33 bits, so that their products with n are exact; then polynomials
// of r^2.
#pragma once

#include "simd/math.h"

namespace fastconv::FASTCONV_ISA {

template <class T>
struct SineConstants {
  static constexpr double two_over_pi = 0.63661977236758134308;
  static constexpr double half_pi[] = {1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.478427660348229e-32};
  static constexpr double round = 6755399441055744.0;  // as MathConstants::round, in double precision
  static constexpr T limit = T(1 << 16);  // of |x|: beyond it, elements are computed one at a time
};
// (sin(r) / r - 1) / r^2 and (cos(r) - 1 + r^2 / 2) / r^4 as polynomials in r^2, the highest power
// first: least squares on 80 Chebyshev nodes, reweighted as for exp in math.h. Relative errors
// 3.6e-9 and 9.6e-11, then 3.4e-18 and 4.7e-20.
template <class T>
struct SineSeries;
template <>
struct SineSeries<float> {
  static constexpr float sine[] = {-0.0001951723045f, 0.008332177648f, -0.1666665494f};
  static constexpr float cosine[] = {2.443837199e-5f, -0.001388736684f, 0.04166664685f};
};
template <>
struct SineSeries<double> {
  static constexpr double sine[] = {1.5896794655160991e-10, -2.50507580962655742e-8, 2.75573136917818777e-6,
                                    -0.000198412698298073576, 0.00833333333332241297, -0.16666666666666632};
  static constexpr double cosine[] = {-1.13596463937882465e-11, 2.08757232435128908e-9, -2.75573143520914909e-7,
                                      0.0000248015872894812483, -0.00138888888888741222, 0.0416666666666665995};
};

// x = n pi/2 + r + rest; n in the low bits of `quadrant`.
template <class T>
struct Quadrant {
  Vec<T> r, rest;
  IntVec<T> quadrant;
};

FASTCONV_INLINE Quadrant<double> quadrant_of(Vec<double> x) {
  using C = SineConstants<double>;
  const Vec<double> biased = x * C::two_over_pi + C::round, n = biased - C::round;
  const Vec<double> first = x - n * C::half_pi[0], second = n * C::half_pi[1];  // both exact
  const Vec<double> r = first - second, back = r - first;
  const Vec<double> lost = (first - (r - back)) - (second + back);  // Knuth's sum of two numbers
  const Vec<double> rest = (lost - n * C::half_pi[2]) - n * C::half_pi[3];
  const Vec<double> sum = r + rest;
  return {sum, (r - sum) + rest, bits<double>(biased)};
}

#if defined(__FMA__)
// x - n half_pi_parts[0] is exact where it is rounded once: a multiple of 2^-24 below 1.
FASTCONV_INLINE Quadrant<float> quadrant_of(Vec<float> x) {
  constexpr float half_pi_parts[] = {1.57079637f, -4.37113883e-8f, -1.71512489e-15f};
  constexpr float round = MathConstants<float>::round;
  const Vec<float> biased = x * float(SineConstants<float>::two_over_pi) + round, n = biased - round;
  return {((x - n * half_pi_parts[0]) - n * half_pi_parts[1]) - n * half_pi_parts[2], Vec<float>{}, bits<float>(biased)};
}
#else
// In double precision, where two parts are enough.
FASTCONV_INLINE Quadrant<float> quadrant_of(Vec<float> x) {
  using C = SineConstants<float>;
  typedef float Half __attribute__((vector_size(FASTCONV_VECTOR_BYTES / 2)));
  Half half[2];
  __builtin_memcpy(half, &x, sizeof(x));
  typedef int32_t HalfInteger __attribute__((vector_size(FASTCONV_VECTOR_BYTES / 2)));
  HalfInteger quadrant[2];
  for (int i = 0; i < 2; ++i) {
    const Vec<double> wide = __builtin_convertvector(half[i], Vec<double>);
    const Vec<double> biased = wide * C::two_over_pi + C::round, n = biased - C::round;
    half[i] = __builtin_convertvector((wide - n * C::half_pi[0]) - n * C::half_pi[1], Half);
    quadrant[i] = __builtin_convertvector(bits<double>(biased), HalfInteger);
  }
  Quadrant<float> y{};
  __builtin_memcpy(&y.r, half, sizeof(y.r));
  __builtin_memcpy(&y.quadrant, quadrant, sizeof(y.quadrant));
  return y;
}

#endif

// sin(x + shift pi/2).
template <int shift, class T>
FASTCONV_INLINE Vec<T> shifted_sine(Vec<T> x) {
  using C = SineConstants<T>;
  const IntVec<T> is_far = absolute<T>(x) > C::limit;
  const Quadrant<T> q = quadrant_of(is_far ? Vec<T>{} : x);
  const Vec<T> z = q.r * q.r;
  const Vec<T> sine = q.r + (q.r * z * polynomial<T>(SineSeries<T>::sine, z) + q.rest);
  const Vec<T> half = T(0.5) * z, about = T(1) - half;
  const Vec<T> cosine = about + (((T(1) - about) - half) + (z * z * polynomial<T>(SineSeries<T>::cosine, z) - q.r * q.rest));
  const IntVec<T> quadrant = q.quadrant + shift;
  const Vec<T> y = (quadrant & 1) != 0 ? cosine : sine;
  Vec<T> result = (quadrant & 2) != 0 ? -y : y;
  if constexpr (shift == 0) result = x == T(0) ? x : result;  // of -0, too
  int far = 0;
  for (int l = 0; l < lanes<T>; ++l) far |= static_cast<int>(is_far[l]);
  if (__builtin_expect(far != 0, 0))
    for (int l = 0; l < lanes<T>; ++l)
      if (is_far[l]) result[l] = shift ? __builtin_cos(double(x[l])) : __builtin_sin(double(x[l]));
  return result;
}

template <class T>
FASTCONV_INLINE Vec<T> sin(Vec<T> x) {
  return shifted_sine<0, T>(x);
}
template <class T>
FASTCONV_INLINE Vec<T> cos(Vec<T> x) {
  return shifted_sine<1, T>(x);
}

}  // namespace fastconv::FASTCONV_ISA
