// Transposes lanes x lanes elements held in vectors.
#pragma once

#include "simd/vec.h"

// Elements of the concatenation of a and b by constant indices: GCC before 12 has only the first builtin, Clang the second.
#if defined(__clang__)
#define FASTCONV_SHUFFLE(T, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FASTCONV_SHUFFLE(T, a, b, ...) __builtin_shuffle(a, b, IntVec<T>{__VA_ARGS__})
#endif

namespace fastconv::FASTCONV_ISA {

// a0 b0 a1 b1 ... of the lower halves, and of the upper ones.
template <class T>
FASTCONV_INLINE Vec<T> interleave_low(Vec<T> a, Vec<T> b) {
  if constexpr (lanes<T> == 2)
    return FASTCONV_SHUFFLE(T, a, b, 0, 2);
  else if constexpr (lanes<T> == 4)
    return FASTCONV_SHUFFLE(T, a, b, 0, 4, 1, 5);
  else if constexpr (lanes<T> == 8)
    return FASTCONV_SHUFFLE(T, a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  else
    return FASTCONV_SHUFFLE(T, a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
template <class T>
FASTCONV_INLINE Vec<T> interleave_high(Vec<T> a, Vec<T> b) {
  if constexpr (lanes<T> == 2)
    return FASTCONV_SHUFFLE(T, a, b, 1, 3);
  else if constexpr (lanes<T> == 4)
    return FASTCONV_SHUFFLE(T, a, b, 2, 6, 3, 7);
  else if constexpr (lanes<T> == 8)
    return FASTCONV_SHUFFLE(T, a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  else
    return FASTCONV_SHUFFLE(T, a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// rows[i][j] becomes rows[j][i]: interleaving the halves rotates the bits of an element's number (row, lane) by one, and
// log2(lanes) such steps exchange row and lane.
template <class T>
FASTCONV_INLINE void transpose(Vec<T> (&rows)[lanes<T>]) {
  constexpr int L = lanes<T>;
#pragma GCC unroll 4
  for (int step = 1; step < L; step *= 2) {
    Vec<T> next[L];
#pragma GCC unroll 8
    for (int i = 0; i < L / 2; ++i) {
      next[2 * i] = interleave_low<T>(rows[i], rows[i + L / 2]);
      next[2 * i + 1] = interleave_high<T>(rows[i], rows[i + L / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) rows[i] = next[i];
  }
}

}  // namespace fastconv::FASTCONV_ISA
