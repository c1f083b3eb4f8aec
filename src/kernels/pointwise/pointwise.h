// Pointwise programs in registers: a few vectors go through all steps before the next ones do.
#pragma once

#include "fastconv/instructions.h"
#include "simd/dispatch.h"

namespace fastconv {

// A step, as kernels run it: a function of the result before it, which is in registers, and of
// operands in memory.
template <class T>
struct PointwiseCode {
  void (*run)() = nullptr;  // what PointwiseKernels::find returns
  T* operands[2] = {};
};

// Steps that compute nothing. The last step is `finish` or `stream`, which writes past the caches,
// to whole cache lines.
enum class PointwiseMove : unsigned char { load, keep, finish, stream };
inline constexpr int kPointwiseMoves = 4;

// How a step finds its operands in memory: bits.
inline constexpr int kSecondSame = 1;  // the second operand (of `load` the first) is the same vector for all elements
inline constexpr int kThirdSame = 2;   // so is the third
inline constexpr int kExchanged = 2;   // of two operands: the first is in memory, the second in registers

template <class T>
struct PointwiseKernels {
  int vector, group;  // elements of a vector, and of what goes through all steps together
  // The function of an instruction, or of a move (kInstructions + move), with these bits.
  void (*(*find)(int operation, int bits))();
  // Elements 0 ... count of the operands, a multiple of `group`. In masks all bits of true elements
  // are set, none of false ones.
  void (*run)(const PointwiseCode<T>* code, index_t count);
  // After `stream`, before other threads read.
  void (*drain)();
  // Masks from bytes and back: any byte but 0 is true, which becomes 1.
  void (*read_mask)(const uint8_t* x, index_t stride, T* y, index_t count);
  void (*write_mask)(const T* x, uint8_t* y, index_t stride, index_t count);
};

FASTCONV_DECLARE_KERNELS(PointwiseKernels, pointwise_kernels)

}  // namespace fastconv
