#include "kernels/activation/activation.h"

#include "fastconv/ops.h"
#include "ops/ranges.h"

namespace fastconv {

template <class T>
void activate(const Activation& activation, const T* x, T* y, index_t count) {
  const ActivationKernels<T>& kernels = activation_kernels<T>();
  parallel_ranges(count, kRangeElements, [&](index_t begin, index_t end) {
    kernels.apply(activation.kind, x + begin, y + begin, end - begin, static_cast<T>(activation.a), static_cast<T>(activation.b));
  });
}

template void activate<float>(const Activation&, const float*, float*, index_t);
template void activate<double>(const Activation&, const double*, double*, index_t);

}  // namespace fastconv
