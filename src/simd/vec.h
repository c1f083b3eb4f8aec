// Vectors as the compiler's own vector type, so that one source serves every instruction set: it
// becomes SSE2 or NEON at 16 bytes, AVX2 at 32, AVX-512 at 64. Arithmetic is written with + - * /
// and ?: on vectors; a * b + c contracts to one FMA where there is one (-ffp-contract=fast).
//
// Rules of every file that includes this one: it is compiled once per ISA with FASTCONV_ISA and
// FASTCONV_VECTOR_BYTES defined; whatever it defines lies in namespace fastconv::FASTCONV_ISA; it
// includes no standard header that defines inline functions or templates, for the linker keeps one
// copy of such a function for everyone, perhaps the one with AVX-512 in it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifndef FASTCONV_ISA
#error "vec.h is for kernel files, which are compiled once per instruction set"
#endif

#if FASTCONV_VECTOR_BYTES > 16
#include <immintrin.h>  // masked loads and stores, which the vector type cannot say; all of it is always_inline
#endif

#define FASTCONV_INLINE static inline __attribute__((always_inline))
#define FASTCONV_MEMBER inline __attribute__((always_inline))  // for member functions

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
// To a multiple of the vector's size, past the caches. Before other threads read it,
// `drain_stores`.
template <class T>
FASTCONV_INLINE void store_past_caches(T* p, Vec<T> v) {
#if FASTCONV_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4) _mm512_stream_ps(p, (__m512)v);
  else _mm512_stream_pd(p, (__m512d)v);
#elif FASTCONV_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == 4) _mm256_stream_ps(p, (__m256)v);
  else _mm256_stream_pd(p, (__m256d)v);
#else
  store(p, v);
#endif
}
FASTCONV_INLINE void drain_stores() {
#if FASTCONV_VECTOR_BYTES > 16
  _mm_sfence();
#endif
}
template <class T>
FASTCONV_INLINE Vec<T> broadcast(T s) {
  return s - Vec<T>{};  // unlike s + 0 this keeps the sign of -0, and compilers see that it is s
}
// 0, 1, 2, ...
template <class T>
FASTCONV_INLINE IntVec<T> lane_indices() {
  IntVec<T> v{};
  for (int i = 0; i < lanes<T>; ++i) v[i] = i;
  return v;
}
// All bits set in the first n lanes, none in the others.
template <class T>
FASTCONV_INLINE IntVec<T> first_lanes(int n) {
  return lane_indices<T>() < IntVec<T>{} + n;
}
// Whether all bits are set in all lanes of a mask, such as comparisons give.
template <class T>
FASTCONV_INLINE bool all_lanes(IntVec<T> mask) {
#if FASTCONV_VECTOR_BYTES == 64
  return _mm512_movepi32_mask((__m512i)mask) == 0xffff;
#elif FASTCONV_VECTOR_BYTES == 32
  return _mm256_movemask_epi8((__m256i)mask) == -1;
#else
  bool all = true;
  for (int l = 0; l < lanes<T>; ++l) all &= mask[l] != 0;
  return all;
#endif
}
// The first n lanes, 0 <= n <= lanes; the others are zero. Touches no memory beyond them.
template <class T>
FASTCONV_INLINE Vec<T> load_partial(const T* p, int n) {
#if FASTCONV_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p);
  else return (Vec<T>)_mm512_maskz_loadu_pd(__mmask8((1u << n) - 1), p);
#elif FASTCONV_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm256_maskload_ps(p, (__m256i)first_lanes<T>(n));
  else return (Vec<T>)_mm256_maskload_pd(p, (__m256i)first_lanes<T>(n));
#else
  Vec<T> v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}
template <class T>
FASTCONV_INLINE void store_partial(T* p, Vec<T> v, int n) {
#if FASTCONV_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v);
  else _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), (__m512d)v);
#elif FASTCONV_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == 4) _mm256_maskstore_ps(p, (__m256i)first_lanes<T>(n), (__m256)v);
  else _mm256_maskstore_pd(p, (__m256i)first_lanes<T>(n), (__m256d)v);
#else
  for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// Lane l becomes lane from[l]. (A mask of ones, for GCC 12 warns of the intrinsics that have none.)
template <class T>
FASTCONV_INLINE Vec<T> permute(Vec<T> v, IntVec<T> from) {
#if FASTCONV_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_permutexvar_ps(__mmask16(-1), (__m512i)from, (__m512)v);
  else return (Vec<T>)_mm512_maskz_permutexvar_pd(__mmask8(-1), (__m512i)from, (__m512d)v);
#elif FASTCONV_VECTOR_BYTES == 32
  IntVec<float> halves = (IntVec<float>)from;
  if constexpr (sizeof(T) == 8) halves = (IntVec<float>)(2 * from + ((2 * from + 1) << 32));
  return (Vec<T>)_mm256_permutevar8x32_ps((__m256)v, (__m256i)halves);
#else
  Vec<T> permuted{};
  for (int l = 0; l < lanes<T>; ++l) permuted[l] = v[from[l]];
  return permuted;
#endif
}

// A NaN in x comes through both: the comparison is false and x is taken. That is what max and min
// of x86 do, which compilers see but for AVX-512 (there with a mask of ones as above).
template <class V>
FASTCONV_INLINE V at_least(V x, V low) {
#if FASTCONV_VECTOR_BYTES == 64
  if constexpr (sizeof(x[0]) == 4) return (V)_mm512_maskz_max_ps(__mmask16(-1), (__m512)low, (__m512)x);
  else return (V)_mm512_maskz_max_pd(__mmask8(-1), (__m512d)low, (__m512d)x);
#else
  return low > x ? low : x;
#endif
}
template <class V>
FASTCONV_INLINE V at_most(V x, V high) {
#if FASTCONV_VECTOR_BYTES == 64
  if constexpr (sizeof(x[0]) == 4) return (V)_mm512_maskz_min_ps(__mmask16(-1), (__m512)high, (__m512)x);
  else return (V)_mm512_maskz_min_pd(__mmask8(-1), (__m512d)high, (__m512d)x);
#else
  return high < x ? high : x;
#endif
}

// Makes the compiler hold v in a register here, and load nothing ahead of here that comes later: it
// would otherwise spill the accumulators of large register tiles.
template <class V>
FASTCONV_INLINE void keep_in_register(V& v) {
#if defined(__x86_64__)
  asm volatile("" : "+v"(v) : : "memory");
#elif defined(__aarch64__)
  asm volatile("" : "+w"(v) : : "memory");
#else
  asm volatile("" : : : "memory");
#endif
}

template <int... I>
struct Indices {};
template <int N, int... I>
struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <int... I>
struct MakeIndices<0, I...> {
  using type = Indices<I...>;
};

// The sum of the lanes, pairwise.
template <int Distance, class V, int... I>
FASTCONV_INLINE V add_rotated(V v, Indices<I...>) {
  return v + __builtin_shufflevector(v, v, (I + Distance) % int(sizeof...(I))...);
}
template <class T, int Distance = lanes<T> / 2>
FASTCONV_INLINE T sum_lanes(Vec<T> v) {
  if constexpr (Distance == 0)
    return v[0];
  else
    return sum_lanes<T, Distance / 2>(add_rotated<Distance>(v, typename MakeIndices<lanes<T>>::type{}));
}

// One exchange of Eklundh's transposition: lanes whose index has bit `Distance` set in `a` change
// places with those that have it clear in `b`.
template <int Distance, class V, int... I>
FASTCONV_INLINE void exchange(V& a, V& b, Indices<I...>) {
  constexpr int n = sizeof...(I);
  const V low = __builtin_shufflevector(a, b, (I & Distance ? n + I - Distance : I)...);
  b = __builtin_shufflevector(a, b, (I & Distance ? n + I : I + Distance)...);
  a = low;
}
template <int Distance, class V, int N>
FASTCONV_INLINE void transpose_stages(V (&rows)[N]) {
  if constexpr (Distance > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i)
      if (!(i & Distance)) exchange<Distance>(rows[i], rows[i + Distance], typename MakeIndices<N>::type{});
    transpose_stages<Distance / 2>(rows);
  }
}
// Transposes the square of lanes<T> x lanes<T> elements.
template <class T>
FASTCONV_INLINE void transpose(Vec<T> (&rows)[lanes<T>]) {
  transpose_stages<lanes<T> / 2>(rows);
}

}  // namespace fastconv::FASTCONV_ISA
