// Stands in for cuda_fp16.h: __half and __half2, arithmetic in float rounded to nearest, ties to
// even.
#pragma once

#include <cuda_runtime.h>

namespace emulation {

inline float half_to_float(std::uint16_t bits) {
  const unsigned sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  const float value = __uint_as_float(magnitude << 13) * 0x1p112f;  // exact, subnormals too
  return __uint_as_float(__float_as_uint(value) | sign);
}
inline std::uint16_t float_to_half(float x) {
  const unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(0x7fffu);
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65520 and more
  if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 leaves the steps of 2^-24 in the last bits, rounded
    const float shifted = __uint_as_float(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (__float_as_uint(shifted) - 0x3f000000u));
  }
  const unsigned odd = magnitude >> 13 & 1u;
  return static_cast<std::uint16_t>(sign | (magnitude - 0x38000000u + 0xfffu + odd) >> 13);
}

}  // namespace emulation

// The type T of 16 bits and its pair T2, converted by to_float(bits) and from_float(x).
#define FASTCONV_16BIT_TYPE(T, T2, to_float, from_float)                                    \
  struct T {                                                                                \
    T() = default;                                                                          \
    T(float x) : bits(from_float(x)) {}                                                     \
    T(double x) : T(static_cast<float>(x)) {}                                               \
    T(int x) : T(static_cast<float>(x)) {}                                                  \
    operator float() const { return to_float(bits); }                                       \
    T& operator+=(T b) { return *this = T(float(*this) + float(b)); }                       \
    T& operator-=(T b) { return *this = T(float(*this) - float(b)); }                       \
    T& operator*=(T b) { return *this = T(float(*this) * float(b)); }                       \
    std::uint16_t bits;                                                                     \
  };                                                                                        \
  inline T operator+(T a, T b) { return T(float(a) + float(b)); }                           \
  inline T operator-(T a, T b) { return T(float(a) - float(b)); }                           \
  inline T operator*(T a, T b) { return T(float(a) * float(b)); }                           \
  inline T operator/(T a, T b) { return T(float(a) / float(b)); }                           \
  inline T operator-(T a) { return T(-float(a)); }                                          \
  inline bool operator<(T a, T b) { return float(a) < float(b); }                           \
  inline bool operator>(T a, T b) { return float(a) > float(b); }                           \
  inline bool operator==(T a, T b) { return float(a) == float(b); }                         \
  inline bool operator!=(T a, T b) { return float(a) != float(b); }                         \
  inline T __hadd(T a, T b) { return a + b; }                                               \
  inline T __hsub(T a, T b) { return a - b; }                                               \
  inline T __hmul(T a, T b) { return a * b; }                                               \
  inline T __hfma(T a, T b, T c) { return T(fmaf(a, b, c)); }                               \
  inline T __hmax(T a, T b) { return T(fmaxf(a, b)); }                                      \
  inline T __hmin(T a, T b) { return T(fminf(a, b)); }                                      \
  inline bool __hisnan(T a) { return float(a) != float(a); }                                \
  struct alignas(4) T2 {                                                                    \
    T x, y;                                                                                 \
  };                                                                                        \
  inline T2 __hadd2(T2 a, T2 b) { return {a.x + b.x, a.y + b.y}; }                          \
  inline T2 __hmul2(T2 a, T2 b) { return {a.x * b.x, a.y * b.y}; }                          \
  inline T2 __hfma2(T2 a, T2 b, T2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; } \
  inline T2 __hmax2(T2 a, T2 b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }

FASTCONV_16BIT_TYPE(__half, __half2, emulation::half_to_float, emulation::float_to_half)
using half = __half;
using half2 = __half2;

inline float __half2float(__half x) { return x; }
inline __half __float2half(float x) { return __half(x); }
inline __half __float2half_rn(float x) { return __half(x); }
inline float2 __half22float2(__half2 x) { return {x.x, x.y}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__half(x), __half(y)}; }
inline __half2 __float22half2_rn(float2 x) { return {__half(x.x), __half(x.y)}; }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half2 __half2half2(__half x) { return {x, x}; }
inline __half2 __float2half2_rn(float x) { return {__half(x), __half(x)}; }
inline __half __low2half(__half2 x) { return x.x; }
inline __half __high2half(__half2 x) { return x.y; }
inline float __low2float(__half2 x) { return x.x; }
inline float __high2float(__half2 x) { return x.y; }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short bits) {
  __half x;
  x.bits = bits;
  return x;
}
