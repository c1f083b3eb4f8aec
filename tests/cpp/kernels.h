// The kernels under the convolutions, table by table, for every instruction set that this CPU has.
#pragma once

#include <algorithm>

#include "fastconv/cpu.h"
#include "kernels/depthwise/depthwise.h"
#include "kernels/gemm/gemm.h"
#include "kernels/grouped/grouped.h"
#include "kernels/pack/pack.h"
#include "kernels/winograd/winograd.h"

namespace fastconv {

template <class T>
struct Kernels {
  const GemmKernels<T>& gemm;
  const PackKernels<T>& pack;
  const WinogradKernels<T>& winograd;
  const DepthwiseKernels<T>& depthwise;
  const GroupedKernels<T>& grouped;
  index_t lanes;
};

#define KERNELS_OF(isa)                                                                                                   \
  Kernels<T>{isa::gemm_kernels<T>(),      isa::pack_kernels<T>(),    isa::winograd_kernels<T>(), isa::depthwise_kernels<T>(), \
             isa::grouped_kernels<T>(), isa::pack_kernels<T>().lanes}

// Calls test(kernels) for every instruction set, in float and in double.
template <class Test>
void for_each_isa(Test&& test) {
  const auto both = [&](auto zero) {
    using T = decltype(zero);
    test(KERNELS_OF(baseline));
#if defined(FASTCONV_X86_ISAS)
    for (const Isa isa : supported_isas()) {
      if (isa == Isa::avx2) test(KERNELS_OF(avx2));
      if (isa == Isa::avx512) test(KERNELS_OF(avx512));
    }
#endif
  };
  both(float{});
  both(double{});
}

template <class T>
T clamp(T value, T low, T high) {
  return std::min(std::max(value, low), high);
}

}  // namespace fastconv
