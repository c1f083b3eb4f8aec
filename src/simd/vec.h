// Vectors as the compiler's own vector type, so that one source serves every instruction set: it becomes SSE2 or NEON at
// 16 bytes, AVX2 at 32, AVX-512 at 64. Arithmetic is written with + - * / and ?: on vectors; a * b + c contracts to one FMA
// where there is one (-ffp-contract=fast).
//
// Rules of every file that includes this one: it is compiled once per ISA with FASTCONV_ISA and FASTCONV_VECTOR_BYTES
// defined; whatever it defines lies in namespace fastconv::FASTCONV_ISA; it includes no standard header that defines inline
// functions or templates, for the linker keeps one copy of such a function for everyone, perhaps the one with AVX-512 in it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifndef FASTCONV_ISA
#error "vec.h is for kernel files, which are compiled once per instruction set"
#endif

#define FASTCONV_INLINE static inline __attribute__((always_inline))

namespace fastconv::FASTCONV_ISA {

template <class T>
struct VecTypes;
template <>
struct VecTypes<float> {
  typedef float type __attribute__((vector_size(FASTCONV_VECTOR_BYTES)));
  typedef float unaligned __attribute__((vector_size(FASTCONV_VECTOR_BYTES), aligned(4), may_alias));
  typedef int32_t integer __attribute__((vector_size(FASTCONV_VECTOR_BYTES)));
};
template <>
struct VecTypes<double> {
  typedef double type __attribute__((vector_size(FASTCONV_VECTOR_BYTES)));
  typedef double unaligned __attribute__((vector_size(FASTCONV_VECTOR_BYTES), aligned(8), may_alias));
  typedef int64_t integer __attribute__((vector_size(FASTCONV_VECTOR_BYTES)));
};

template <class T>
using Vec = typename VecTypes<T>::type;
template <class T>
using IntVec = typename VecTypes<T>::integer;  // signed integers of T's width; also what comparisons give

// Elements in a vector, and so channels in a block of the blocked layout nChw<lanes>c.
template <class T>
inline constexpr int lanes = FASTCONV_VECTOR_BYTES / sizeof(T);

template <class T>
FASTCONV_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename VecTypes<T>::unaligned*>(p);
}
template <class T>
FASTCONV_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename VecTypes<T>::unaligned*>(p) = v;
}
template <class T>
FASTCONV_INLINE Vec<T> broadcast(T s) {
  return Vec<T>{} + s;
}
// The first n lanes, 0 < n <= lanes; the others are zero. Touches no memory beyond them.
template <class T>
FASTCONV_INLINE Vec<T> load_partial(const T* p, int n) {
  Vec<T> v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
template <class T>
FASTCONV_INLINE void store_partial(T* p, Vec<T> v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}

// A NaN in x comes through both: the comparison is false and x is taken.
template <class V>
FASTCONV_INLINE V at_least(V x, V low) {
  return low > x ? low : x;
}
template <class V>
FASTCONV_INLINE V at_most(V x, V high) {
  return high < x ? high : x;
}

}  // namespace fastconv::FASTCONV_ISA
