// The few names that kernels share with everyone else. Includes no standard C++ header (see
// src/simd/vec.h).
#pragma once

#include <stdint.h>

#include "fastconv/activations.h"

namespace fastconv {

using index_t = int64_t;

// What elements are. Kernels compute in f32 and f64; the others can be kept, viewed and moved.
enum class DType : uint8_t { f32, f64, f16, bf16, i8, u8, i32, i64, boolean };

// Elements of 16 bits, as they are stored.
struct float16 {
  uint16_t bits;
};
struct bfloat16 {
  uint16_t bits;
};

template <class T>
struct DTypeOf;  // only for the types that are the elements of a dtype
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<float16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<bfloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<int8_t> {
  static constexpr DType value = DType::i8;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::boolean;
};

template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

// Along one axis, the input of one output element of a pooling: begin, begin + dilation, ... below
// end, and what an average divides by.
struct PoolWindow {
  index_t begin, end, count;
};

// Along one axis, the two input elements that an interpolated one lies between, and the share of
// the second.
struct InterpolationTap {
  index_t low, high;
  double weight;
};

// One input element of several, and its share of the output element.
struct WeightedTap {
  index_t at;
  double weight;
};

// How images are sampled at the places of a grid, in torch's words.
struct GridSampling {
  enum class Mode : uint8_t { bilinear, nearest, bicubic } mode = Mode::bilinear;
  enum class Padding : uint8_t { zeros, border, reflection } padding_mode = Padding::zeros;
  bool align_corners = false;  // whether -1 and 1 are the centres of the pixels at the edges, instead of their outer edges

  bool operator==(const GridSampling&) const = default;
};

// How the elements along an axis become one.
enum class ReduceKind : uint8_t { mean, sum, prod, max, min };

}  // namespace fastconv
