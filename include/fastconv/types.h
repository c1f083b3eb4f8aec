// The few names that kernels share with everyone else. Includes no standard C++ header (see src/simd/vec.h).
#pragma once

#include <stdint.h>

#include "fastconv/activations.h"

namespace fastconv {

using index_t = int64_t;

enum class DType : uint8_t { f32, f64 };

template <class T>
inline constexpr DType dtype_of = sizeof(T) == 4 ? DType::f32 : DType::f64;

// Along one axis, the input of one output element of a pooling: begin, begin + dilation, ... below end, and what an average
// divides by.
struct PoolWindow {
  index_t begin, end, count;
};

// Along one axis, the two input elements that an interpolated one lies between, and the share of the second.
struct InterpolationTap {
  index_t low, high;
  double weight;
};

enum class BinaryKind : uint8_t { add, multiply };

}  // namespace fastconv
