// What the kernels in use were compiled for, proof that dispatch hands out those of the active
// instruction set; and the loops that measure what a core can do at most.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct ProbeKernels {
  const char* isa;   // by the compiler's own macros, not by what the build system says
  int vector_bytes;
  // Runs fma_flops floating-point operations per iteration, all in registers; *sink keeps them from
  // being optimised away.
  void (*fma)(index_t iterations, T* sink);
  int fma_flops;
  // Reads n elements, a multiple of read_unit, and returns their sum.
  T (*read)(const T* p, index_t n);
  int read_unit;
};

FASTCONV_DECLARE_KERNELS(ProbeKernels, probe_kernels)

}  // namespace fastconv
