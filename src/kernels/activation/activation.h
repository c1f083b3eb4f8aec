// Activations on contiguous memory.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct ActivationKernels {
  // y[i] = activation(x[i]); y may be x. a and b are the activation's parameters.
  void (*apply)(Activation::Kind kind, const T* x, T* y, index_t count, T a, T b);
  // prelu in place: of pixels of neighbouring channels, with a slope for each channel.
  void (*prelu)(T* x, index_t pixels, index_t channels, const T* slopes);
};

FASTCONV_DECLARE_KERNELS(ActivationKernels, activation_kernels)

}  // namespace fastconv
