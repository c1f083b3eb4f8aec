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

namespace fastconv::FASTCONV_ISA {
namespace {

// Enough independent chains to hide the latency of an FMA (4 or 5 cycles, two a cycle), few enough
// for 16 registers.
constexpr int kChains = 12;
constexpr int kReadVectors = 8;

template <class T>
void fma(index_t iterations, T* sink) {
  Vec<T> chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = broadcast(T(i));
  const Vec<T> factor = broadcast(T(0.5)), term = broadcast(*sink);
  for (index_t n = 0; n < iterations; ++n)
    for (int i = 0; i < kChains; ++i) chain[i] = chain[i] * factor + term;
  for (int i = 1; i < kChains; ++i) chain[0] += chain[i];
  *sink = chain[0][0];
}

template <class T>
T read(const T* p, index_t n) {
  Vec<T> sum[kReadVectors] = {};
  for (index_t i = 0; i < n; i += kReadVectors * lanes<T>)
    for (int k = 0; k < kReadVectors; ++k) sum[k] += load(p + i + k * lanes<T>);
  for (int k = 1; k < kReadVectors; ++k) sum[0] += sum[k];
  T total = 0;
  for (int k = 0; k < lanes<T>; ++k) total += sum[0][k];
  return total;
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(ProbeKernels, probe_kernels,
                        {FASTCONV_COMPILED_FOR, int(sizeof(Vec<T>)), fma<T>, 2 * kChains * lanes<T>, read<T>,
                         kReadVectors * lanes<T>})
