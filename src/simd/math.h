// exp, log and what activations are made of, on vectors, for float and double: branch-free, right
// for NaN, infinities and overflow. Errors against the exact value, measured by
// tests/cpp/math_test.cc on every instruction set, are given in units in the last place (ulp) of T.
// Without fused multiply-add (baseline) they are the larger ones.
//
// The reductions are the textbook ones (J.-M. Muller, Elementary Functions, ch. 11): exp(x) = 2^n
// exp(r) with |r| <= log(2)/2; log(x) = n log(2) + 2 atanh((m - 1) / (m + 1)), m within
// sqrt(1/2)..sqrt(2).
#pragma once

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {

template <class T>
struct MathConstants;
template <>
struct MathConstants<float> {
  typedef uint32_t Unsigned __attribute__((vector_size(FASTCONV_VECTOR_BYTES)));
  static constexpr int mantissa_bits = 23, exponent_bias = 127;
  static constexpr int log_terms = 5;
  static constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, in the low bits
  static constexpr float exp_low = -104.0f, exp_high = 89.0f;  // beyond: 0 and infinity
  static constexpr float tanh_high = 10.0f;    // beyond: 1
  static constexpr float log2e = 1.44269504f;
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;  // n * ln2_high is exact
  static constexpr float min_normal = 1.17549435e-38f, lift = 16777216.0f;  // 2^24 makes subnormals normal
  // 1 + r T(r), T minimax for the relative error of the whole on |r| <= log(2) / 2, error 1.7e-8:
  // least squares on 80 Chebyshev nodes, weights multiplied by the last fit's error until that
  // levelled out (Lawson's algorithm), in 40 digits.
  static constexpr float exp_series[] = {0.001388240357f, 0.008366585999f, 0.04166720333f, 0.1666654312f, 0.4999999814f, 1.0f};
  // sqrt(Phi(-a)) = (1 - t) P(t) with t = 2 a / high - 1, on 0 <= a <= high; the square within
  // 1.4e-8: least squares as above, with the weight 2 sqrt(Phi(-a)).
  static constexpr float normal_high = 5.75f;
  static constexpr float normal_root[] = {-0.007178296335f, -0.01653848961f, 0.01757274382f, 0.04027680308f,
                                          -0.0546531193f, -0.02541925199f, 0.1252563745f, -0.08697446436f,
                                          -0.09838689864f, 0.2201868296f, -0.1596868783f, 0.04494588077f};
  // erf(x) / x as a polynomial in x^2 on |x| <= erf_high, error 1.3e-9: least squares as above.
  static constexpr float erf_high = 1.0f;
  static constexpr float erf_series[] = {7.85384711e-5f, -8.01018931e-4f, 5.18832719e-3f, -2.68538117e-2f,
                                         0.112835851f,   -0.376126258f,   1.12837917f};
};
template <>
struct MathConstants<double> {
  typedef uint64_t Unsigned __attribute__((vector_size(FASTCONV_VECTOR_BYTES)));
  static constexpr int mantissa_bits = 52, exponent_bias = 1023;
  static constexpr int log_terms = 11;
  static constexpr double round = 6755399441055744.0;
  static constexpr double exp_low = -746.0, exp_high = 710.0;
  static constexpr double tanh_high = 22.0;
  static constexpr double log2e = 1.4426950408889634;
  static constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
  static constexpr double min_normal = 2.2250738585072014e-308, lift = 9007199254740992.0;  // 2^53
  // The Taylor series: 1 / (n + 1)!.
  static constexpr double exp_series[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                                          1.0 / 40320,      1.0 / 5040,      1.0 / 720,      1.0 / 120,     1.0 / 24,
                                          1.0 / 6,          1.0 / 2,         1.0};
  static constexpr double normal_tail_high = 37.66;
  // Phi(-a) exp(a^2 / 2) (a + 4) as a polynomial in (a - 4) / (a + 4) on 0 <= a <= 38.7; Chebyshev
  // fit, error 3.6e-17.
  static constexpr double normal_tail[] = {
      -9.54840626183118069e-10, 9.88326679693687314e-11,  1.39086047165493148e-8,   1.44962955879635163e-8,
      -7.63937849452924571e-8,  -1.54153370902797446e-7,  2.63728551845044621e-7,   1.01972390609658342e-6,
      -6.25177612722053254e-7,  -5.91885675479799388e-6,  7.15029307656374749e-7,   0.0000351441712661295079,
      -1.90787378690424456e-6,  -0.000231094816658337311, 0.000133344255335844683,  0.00163081844172815846,
      -0.00347969236237777316,  -0.00754018896558471816,  0.0603965748907064495,    -0.186521857959694349,
      0.38713740074221874,      -0.607896641971891758,    0.75528513041575148};
  // As for float, error 4e-18.
  static constexpr double erf_high = 0.5;
  static constexpr double erf_series[] = {1.47232142632956536e-6, -0.0000148455836257416255, 0.000120533243088927876,
                                          -0.000854829752429001541, 0.00522397737032507174, -0.0268661706327157038,
                                          0.112837916709248125, -0.376126389031834671, 1.12837916709551257};
};

template <class T>
FASTCONV_INLINE IntVec<T> bits(Vec<T> v) {
  return reinterpret_cast<IntVec<T>>(v);
}
template <class T>
FASTCONV_INLINE Vec<T> from_bits(IntVec<T> v) {
  return reinterpret_cast<Vec<T>>(v);
}
template <class T>
FASTCONV_INLINE Vec<T> absolute(Vec<T> x) {
  return from_bits<T>(bits<T>(x) & ~bits<T>(broadcast(T(-0.0))));
}
// |magnitude| with the sign of `sign`.
template <class T>
FASTCONV_INLINE Vec<T> copy_sign(Vec<T> magnitude, Vec<T> sign) {
  const IntVec<T> mask = bits<T>(broadcast(T(-0.0)));
  return from_bits<T>((bits<T>(magnitude) & ~mask) | (bits<T>(sign) & mask));
}

// A function of single elements: where it is one machine instruction, compilers make it one of
// vectors.
template <class T, class F>
FASTCONV_INLINE Vec<T> each(Vec<T> a, F f) {
  Vec<T> y;
  for (int l = 0; l < lanes<T>; ++l) y[l] = f(a[l]);
  return y;
}
template <class T>
FASTCONV_INLINE Vec<T> floor(Vec<T> x) {
  return each<T>(x, [](T v) -> T { return sizeof(T) == 4 ? __builtin_floorf(v) : __builtin_floor(v); });
}
template <class T>
FASTCONV_INLINE Vec<T> round_to_even(Vec<T> x) {
  return each<T>(x, [](T v) -> T { return sizeof(T) == 4 ? __builtin_rintf(v) : __builtin_rint(v); });
}

// The nearest integer, for |x| < 2^(mantissa_bits - 2).
template <class T>
FASTCONV_INLINE Vec<T> nearest(Vec<T> x) {
  constexpr T round = MathConstants<T>::round;
  return (x + round) - round;
}
// 2^n for an integer n in the range of normal exponents.
template <class T>
FASTCONV_INLINE Vec<T> power_of_two(Vec<T> n) {
  using C = MathConstants<T>;
  return from_bits<T>((bits<T>(n + C::round) + C::exponent_bias) << C::mantissa_bits);
}

// A polynomial, the highest power first.
template <class T, int N>
FASTCONV_INLINE Vec<T> polynomial(const T (&coefficients)[N], Vec<T> x) {
  Vec<T> sum = broadcast(coefficients[0]);
#pragma GCC unroll 32
  for (int i = 1; i < N; ++i) sum = sum * x + coefficients[i];
  return sum;
}
// (exp(r) - 1) / r.
template <class T>
FASTCONV_INLINE Vec<T> exp_series(Vec<T> r) {
  return polynomial<T>(MathConstants<T>::exp_series, r);
}

// x = n log(2) + r; power = 2^n where that is a normal number, 0 for the next n below, infinity for
// the next above.
template <class T>
struct Reduced {
  Vec<T> n, r, power;
};
template <class T>
FASTCONV_INLINE Reduced<T> reduce(Vec<T> x) {
  using C = MathConstants<T>;
  constexpr T round = C::round + C::exponent_bias;
  const Vec<T> biased = x * C::log2e + round, n = biased - round;
  return {n, (x - n * C::ln2_high) - n * C::ln2_low, from_bits<T>(bits<T>(biased) << C::mantissa_bits)};
}

// exp(x), within 1.5 ulp, subnormal results included.
template <class T>
FASTCONV_INLINE Vec<T> exp(Vec<T> x) {
  using C = MathConstants<T>;
  const Reduced<T> a = reduce<T>(at_most(at_least(x, broadcast(C::exp_low)), broadcast(C::exp_high)));
  const Vec<T> y = exp_series<T>(a.r) * a.r + T(1);
  const Vec<T> half = nearest<T>(a.n * T(0.5));  // in two steps: 2^n itself may lie outside of the normal range
  return y * power_of_two<T>(half) * power_of_two<T>(a.n - half);
}
// The same in one step: 0 below the normal numbers, infinity above 0.7 times the largest.
template <class T>
FASTCONV_INLINE Vec<T> exp(Reduced<T> x) {
  return (exp_series<T>(x.r) * x.r + T(1)) * x.power;
}
template <class T>
FASTCONV_INLINE Vec<T> exp_normal(Vec<T> x) {
  using C = MathConstants<T>;
  constexpr T ln2 = T(0.6931471805599453);
  return exp<T>(reduce<T>(at_most(at_least(x, broadcast(-C::exponent_bias * ln2)), broadcast((C::exponent_bias + 1) * ln2))));
}

// exp(x) - 1 without cancellation, within 2.5 ulp.
template <class T>
FASTCONV_INLINE Vec<T> expm1(Vec<T> x) {
  using C = MathConstants<T>;
  constexpr T ln2 = T(0.6931471805599453);
  // Two steps for what is large, as in exp: 2^n itself may lie outside of the normal range.
  const Reduced<T> a = reduce<T>(at_most(at_least(x, broadcast(-(C::mantissa_bits + 4) * ln2)), broadcast(C::exp_high)));
  const Vec<T> half = power_of_two<T>(a.n - T(1));
  const Vec<T> y = T(2) * (half * (exp_series<T>(a.r) * a.r) + (half - T(0.5)));
  return x == T(0) ? x : y;  // of -0, too
}

// Natural logarithm, within 2 ulp; of zero -infinity, of negative numbers NaN.
template <class T>
FASTCONV_INLINE Vec<T> log(Vec<T> x) {
  using C = MathConstants<T>;
  const auto subnormal = x < C::min_normal;
  const Vec<T> normal = subnormal ? x * C::lift : x;
  // Shifts of unsigned numbers, and 2^mantissa_bits + e as bits, for AVX2 has neither signed 64-bit
  // shifts nor conversions.
  using Unsigned = typename MathConstants<T>::Unsigned;
  const Unsigned sqrt_half = reinterpret_cast<Unsigned>(broadcast(T(0.70710678118654752)));
  const Unsigned bias = Unsigned{} + C::exponent_bias;
  const Unsigned u = reinterpret_cast<Unsigned>(normal);
  const Unsigned e = (u - sqrt_half + (bias << C::mantissa_bits)) >> C::mantissa_bits;  // n + bias
  const Vec<T> m = reinterpret_cast<Vec<T>>(u - ((e - bias) << C::mantissa_bits));
  const Unsigned magic = (bias + C::mantissa_bits) << C::mantissa_bits;  // 2^mantissa_bits
  Vec<T> n = reinterpret_cast<Vec<T>>(e | magic) - (reinterpret_cast<Vec<T>>(magic) + T(C::exponent_bias));
  n = subnormal ? n - T(C::mantissa_bits + 1) : n;

  const Vec<T> f = m - T(1);
  const Vec<T> s = f / (f + T(2));
  const Vec<T> z = s * s;
  Vec<T> series = broadcast(T(1.0 / (2 * C::log_terms + 1)));
#pragma GCC unroll 16
  for (int i = C::log_terms - 1; i >= 1; --i) series = series * z + T(1.0 / (2 * i + 1));
  // log(m) = 2 s + 2 s z series, where 2 s = f - s f exactly.
  const Vec<T> tail = s * (T(2) * z * series - f) + n * C::ln2_low;
  const Vec<T> y = n * C::ln2_high + (f + tail);
  const Vec<T> infinity = broadcast(T(__builtin_inf()));
  const Vec<T> special = x == T(0) ? -infinity : (x == infinity ? x : infinity - infinity);
  return ((x > T(0)) & (x < infinity)) ? y : special;
}

// log(1 + x), within 3 ulp: what the sum loses is put back (Goldberg 1991, theorem 4).
template <class T>
FASTCONV_INLINE Vec<T> log1p(Vec<T> x) {
  const Vec<T> sum = T(1) + x, lost = x - (sum - T(1));
  const Vec<T> y = log<T>(sum) + lost / sum;
  const Vec<T> infinity = broadcast(T(__builtin_inf()));
  const Vec<T> far = (x == T(-1)) ? -infinity : (x == infinity ? x : y);
  return x == T(0) ? x : far;
}

// x^p for x >= 0, by exp(p log(x)): the error grows with |p log(x)|; for 0.1 <= x <= 20 and p =
// 0.75 within 5 ulp.
template <class T>
FASTCONV_INLINE Vec<T> power(Vec<T> x, T p) {
  return exp<T>(log<T>(x) * p);
}

// 1 / (1 + exp(-x)), within 2.5 ulp, but 0 where that is subnormal.
template <class T>
FASTCONV_INLINE Vec<T> sigmoid(Vec<T> x) {
  return T(1) / (T(1) + exp_normal<T>(-x));
}

// tanh(|x|) = e / (e + 2) with e = exp(2 |x|) - 1, which the reduction gives without cancellation;
// within 3.5 ulp.
template <class T>
FASTCONV_INLINE Vec<T> tanh(Vec<T> x) {
  const Reduced<T> a = reduce<T>(T(2) * at_most(absolute<T>(x), broadcast(MathConstants<T>::tanh_high)));
  const Vec<T> e = a.power * (exp_series<T>(a.r) * a.r) + (a.power - T(1));
  return copy_sign<T>(e / (e + T(2)), x);
}

// Phi(x) = (1 + erf(x / sqrt(2))) / 2, the standard normal distribution. In single precision within
// 5 * 2^-24, but 0 or 1 from |x| = 5.75 on.
template <class T>
  requires(sizeof(T) == 4)
FASTCONV_INLINE Vec<T> normal_cdf(Vec<T> x) {
  using C = MathConstants<T>;
  const Vec<T> t = at_most(absolute<T>(x), broadcast(C::normal_high)) * (2 / C::normal_high) - T(1);
  const Vec<T> root = (T(1) - t) * polynomial<T>(C::normal_root, t);
  return x > T(0) ? T(1) - root * root : root * root;
}
// In double precision within 6 ulp also in the lower tail, but 0 where that is subnormal.
template <class T>
  requires(sizeof(T) == 8)
FASTCONV_INLINE Vec<T> normal_cdf(Vec<T> x) {
  using C = MathConstants<T>;
  const Vec<T> a = at_most(absolute<T>(x), broadcast(C::normal_tail_high));
  // -a^2 / 2 = half_high a_high, which is exact, and a rest (as in Sun's fdlibm).
  const Vec<T> half = T(-0.5) * a;
  const IntVec<T> upper = ~IntVec<T>{} << (C::mantissa_bits + 2) / 2;
  const Vec<T> a_high = from_bits<T>(bits<T>(a) & upper), half_high = from_bits<T>(bits<T>(half) & upper);
  Reduced<T> exponent = reduce<T>(half_high * a_high);
  exponent.r += (half - half_high) * (a + a_high);
  const Vec<T> inverse = T(1) / (a + T(4));
  const Vec<T> tail = exp<T>(exponent) * (polynomial<T>(C::normal_tail, (a - T(4)) * inverse) * inverse);
  return x > T(0) ? T(1) - tail : tail;
}

// erf(x), within 4 ulp.
template <class T>
FASTCONV_INLINE Vec<T> erf(Vec<T> x) {
  using C = MathConstants<T>;
  const Vec<T> a = absolute<T>(x);
  const Vec<T> near = x * polynomial<T>(C::erf_series, x * x);
  const Vec<T> far = copy_sign<T>(T(1) - T(2) * normal_cdf<T>(T(-1.4142135623730951) * a), x);
  return a <= C::erf_high ? near : (x == x ? far : x);
}

}  // namespace fastconv::FASTCONV_ISA
