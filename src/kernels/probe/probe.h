// What the kernels in use were compiled for: proof that dispatch hands out those of the active instruction set.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct ProbeKernels {
  const char* isa;   // by the compiler's own macros, not by what the build system says
  int vector_bytes;
};

FASTCONV_DECLARE_KERNELS(ProbeKernels, probe_kernels)

}  // namespace fastconv
