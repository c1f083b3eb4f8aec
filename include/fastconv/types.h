// The few names that kernels share with everyone else. Includes no standard C++ header (see src/simd/vec.h).
#pragma once

#include <stdint.h>

namespace fastconv {

using index_t = int64_t;

enum class DType : uint8_t { f32, f64 };

template <class T>
inline constexpr DType dtype_of = sizeof(T) == 4 ? DType::f32 : DType::f64;

enum class Activation : uint8_t {
  none,
  relu,
  relu6,
  leaky_relu,
  gelu,
  gelu_tanh,
  silu,
  hardswish,
  hardsigmoid,
  sigmoid,
  tanh,
};

}  // namespace fastconv
