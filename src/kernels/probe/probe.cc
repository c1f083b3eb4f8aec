#include "kernels/probe/probe.h"

#include "simd/vec.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define FASTCONV_COMPILED_FOR "avx512"
#elif defined(__AVX2__) && defined(__FMA__)
#define FASTCONV_COMPILED_FOR "avx2"
#elif defined(__aarch64__)
#define FASTCONV_COMPILED_FOR "neon"
#else
#define FASTCONV_COMPILED_FOR "baseline"
#endif

FASTCONV_DEFINE_KERNELS(ProbeKernels, probe_kernels, {FASTCONV_COMPILED_FOR, int(sizeof(Vec<T>))})
