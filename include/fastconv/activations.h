// The activations: a row for each, with its definition. From the rows follow the enumeration, its
// words (words.h), the reference and the kernels for CUDA; the CPU's vectors have their own forms
// in src/simd/activations.h. Includes no standard C++ header (see src/simd/vec.h).
#pragma once

// Definitions are of x and the parameters a and b, which are of type T, as are results; they use
// exp, erfc, tanh and clamp(x, low, high), which whoever expands them provides. NaN stays NaN.
// Those without parameters are instructions of pointwise programs, too (instructions.h).
#define FASTCONV_PLAIN_ACTIVATIONS(ROW)                                                                 \
  ROW(relu, x < 0 ? T(0) : x)                                                                           \
  ROW(relu6, clamp(x, T(0), T(6)))                                                                      \
  ROW(gelu, T(0.5) * x * erfc(x * T(-0.70710678118654752440)))                                          \
  ROW(gelu_tanh, T(0.5) * x * (T(1) + tanh(T(0.79788456080286535588) * (x + T(0.044715) * x * x * x)))) \
  ROW(silu, x / (T(1) + exp(-x)))                                                                       \
  ROW(hardswish, x * clamp(x + T(3), T(0), T(6)) / T(6))                                                \
  ROW(hardsigmoid, clamp(x + T(3), T(0), T(6)) / T(6))                                                  \
  ROW(sigmoid, T(1) / (T(1) + exp(-x)))                                                                 \
  ROW(tanh, tanh(x))                                                                                    \
  ROW(mish, x / (T(1) + T(2) / (exp(x) * (exp(x) + T(2)))))

#define FASTCONV_NAMED_ACTIVATIONS(ROW) \
  ROW(none, x)                          \
  FASTCONV_PLAIN_ACTIVATIONS(ROW)       \
  ROW(leaky_relu, x < 0 ? x * a : x)

// Those without a word are pointwise operators, until they follow another operator as its
// activation. The slopes of prelu, which are an input of that operator, take turns as a, channel by
// channel.
#define FASTCONV_ACTIVATIONS(ROW)                       \
  FASTCONV_NAMED_ACTIVATIONS(ROW)                       \
  ROW(clip, x <= a ? (b <= a ? b : a) : x >= b ? b : x) \
  ROW(prelu, x < 0 ? x * a : x)

namespace fastconv {

// An activation with its parameters: the slope of leaky_relu, the bounds of clip.
struct Activation {
  enum Kind : unsigned char {
#define ROW(name, definition) name,
    FASTCONV_ACTIVATIONS(ROW)
#undef ROW
  };
  Kind kind;
  double a, b;

  constexpr Activation(Kind kind = none) : Activation(kind, kind == leaky_relu ? 0.01 : 0) {}
  constexpr Activation(Kind kind, double a, double b = 0) : kind(kind), a(a), b(b) {}
  bool operator==(const Activation&) const = default;
};

}  // namespace fastconv
