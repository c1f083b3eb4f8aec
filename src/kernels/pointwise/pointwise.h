// The instructions of pointwise programs on contiguous memory.
#pragma once

#include "fastconv/instructions.h"
#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct PointwiseKernels {
  // y[i] = instruction(a[i], b[i], c[i]) for i < count; y may be an operand. An instruction of fewer operands does not look at the
  // others. In masks all bits of true elements are set, and none of false ones.
  void (*run[kInstructions])(const T* a, const T* b, const T* c, T* y, index_t count);
  // Masks from bytes and back: any byte but 0 is true, which becomes 1.
  void (*read_mask)(const uint8_t* x, index_t stride, T* y, index_t count);
  void (*write_mask)(const T* x, uint8_t* y, index_t stride, index_t count);
};

FASTCONV_DECLARE_KERNELS(PointwiseKernels, pointwise_kernels)

}  // namespace fastconv
