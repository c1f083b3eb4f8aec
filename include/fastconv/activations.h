// The activations: a row for each, with its definition. From the rows follow the enumeration, its words (words.h), the reference
// and the kernels for CUDA; the CPU's vectors have their own forms in src/kernels/activation/activation.cc.
// Includes no standard C++ header (see src/simd/vec.h).
#pragma once

// Definitions are of x and slope, which are of type T, as are results; they use exp, erfc, tanh and clamp(x, low, high), which
// whoever expands them provides. NaN stays NaN.
#define FASTCONV_ACTIVATIONS(ROW)                                                                    \
  ROW(none, x)                                                                                       \
  ROW(relu, x < 0 ? T(0) : x)                                                                        \
  ROW(relu6, clamp(x, T(0), T(6)))                                                                   \
  ROW(leaky_relu, x < 0 ? x * slope : x)                                                             \
  ROW(gelu, T(0.5) * x * erfc(x * T(-0.70710678118654752440)))                                       \
  ROW(gelu_tanh, T(0.5) * x * (T(1) + tanh(T(0.79788456080286535588) * (x + T(0.044715) * x * x * x)))) \
  ROW(silu, x / (T(1) + exp(-x)))                                                                    \
  ROW(hardswish, x * clamp(x + T(3), T(0), T(6)) / T(6))                                             \
  ROW(hardsigmoid, clamp(x + T(3), T(0), T(6)) / T(6))                                               \
  ROW(sigmoid, T(1) / (T(1) + exp(-x)))                                                              \
  ROW(tanh, tanh(x))                                                                                 \
  ROW(mish, x / (T(1) + T(2) / (exp(x) * (exp(x) + T(2)))))

namespace fastconv {

enum class Activation : unsigned char {
#define ROW(name, definition) name,
  FASTCONV_ACTIVATIONS(ROW)
#undef ROW
};

}  // namespace fastconv
