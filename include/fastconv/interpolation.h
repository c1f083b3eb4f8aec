// What nearest interpolation reads: the one rule, for the host and for CUDA's kernels.
#pragma once

#include "fastconv/types.h"

#ifdef __CUDACC__
#define FASTCONV_HOST_DEVICE __host__ __device__
#else
#define FASTCONV_HOST_DEVICE
#endif

namespace fastconv {

// The input step per output element along one axis: `scale`, or by the sizes where that is 0. In float for every dtype, as
// torch does for float32: a rounding error here picks another pixel.
FASTCONV_HOST_DEVICE inline float nearest_step(index_t in, index_t out, double scale) {
  return scale > 0 ? static_cast<float>(scale) : static_cast<float>(in) / static_cast<float>(out);
}

// floor(i * step), at most in - 1. A float holds i up to 2**24 only.
FASTCONV_HOST_DEVICE inline index_t nearest_index(index_t i, float step, index_t in) {
  const double at = i <= 1 << 24 ? static_cast<float>(i) * step : static_cast<double>(i) * step;
  return at < static_cast<double>(in - 1) ? static_cast<index_t>(at) : in - 1;
}

}  // namespace fastconv
