// Activations on contiguous memory.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct ActivationKernels {
  // y[i] = activation(x[i]); y may be x. `slope` is leaky_relu's.
  void (*apply)(Activation activation, const T* x, T* y, index_t count, T slope);
};

FASTCONV_DECLARE_KERNELS(ActivationKernels, activation_kernels)

}  // namespace fastconv
