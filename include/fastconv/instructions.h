// The instructions of pointwise programs: a row for each. From the rows follow the enumeration, the
// operators of graphs that are one instruction, and Python's names; the CPU's vectors have their
// forms in src/kernels/pointwise/pointwise.cc. Includes no standard C++ header (see
// src/simd/vec.h).
#pragma once

// ROW(name, operands, result): "f" is a float, "m" a mask, true or false.
#define FASTCONV_NAMED_INSTRUCTIONS(ROW) \
  ROW(add, "ff", 'f')                  \
  ROW(subtract, "ff", 'f')             \
  ROW(multiply, "ff", 'f')             \
  ROW(divide, "ff", 'f')               \
  ROW(power, "ff", 'f')                \
  ROW(minimum, "ff", 'f')              \
  ROW(maximum, "ff", 'f')              \
  ROW(clip, "fff", 'f')                \
  ROW(where, "mff", 'f')               \
  ROW(equal, "ff", 'm')                \
  ROW(not_equal, "ff", 'm')            \
  ROW(less, "ff", 'm')                 \
  ROW(less_equal, "ff", 'm')           \
  ROW(greater, "ff", 'm')              \
  ROW(greater_equal, "ff", 'm')        \
  ROW(logical_and, "mm", 'm')          \
  ROW(logical_or, "mm", 'm')           \
  ROW(logical_xor, "mm", 'm')          \
  ROW(logical_not, "m", 'm')           \
  ROW(negative, "f", 'f')              \
  ROW(abs, "f", 'f')                   \
  ROW(sign, "f", 'f')                  \
  ROW(reciprocal, "f", 'f')            \
  ROW(square, "f", 'f')                \
  ROW(sqrt, "f", 'f')                  \
  ROW(rsqrt, "f", 'f')                 \
  ROW(exp, "f", 'f')                   \
  ROW(expm1, "f", 'f')                 \
  ROW(log, "f", 'f')                   \
  ROW(log1p, "f", 'f')                 \
  ROW(erf, "f", 'f')                   \
  ROW(sin, "f", 'f')                   \
  ROW(cos, "f", 'f')                   \
  ROW(floor, "f", 'f')                 \
  ROW(ceil, "f", 'f')                  \
  ROW(round, "f", 'f')                 \
  ROW(trunc, "f", 'f')

// Alone, multiply_add, which rounds once where the CPU can, is op::ScaleShift; the activations
// without parameters (activations.h) are op::Activate.
#define FASTCONV_INSTRUCTIONS(ROW)  \
  FASTCONV_NAMED_INSTRUCTIONS(ROW)  \
  ROW(multiply_add, "fff", 'f')     \
  ROW(relu, "f", 'f')               \
  ROW(relu6, "f", 'f')              \
  ROW(gelu, "f", 'f')               \
  ROW(gelu_tanh, "f", 'f')          \
  ROW(silu, "f", 'f')               \
  ROW(hardswish, "f", 'f')          \
  ROW(hardsigmoid, "f", 'f')        \
  ROW(sigmoid, "f", 'f')            \
  ROW(tanh, "f", 'f')               \
  ROW(mish, "f", 'f')

namespace fastconv {

enum class Instruction : unsigned char {
#define ROW(name, operands, result) name,
  FASTCONV_INSTRUCTIONS(ROW)
#undef ROW
};

#define ROW(name, operands, result) +1
inline constexpr int kInstructions = 0 FASTCONV_INSTRUCTIONS(ROW);
#undef ROW

}  // namespace fastconv
