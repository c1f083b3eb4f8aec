// What rounding does to a convolution with given weights.
#pragma once

#include <functional>

#include "fastconv/conv.h"

namespace fastconv {

// Units of roundoff: what is promised on Gaussian data (docs/accuracy.md).
inline constexpr double kProbeLimit = 2e-6 / 0x1p-24;

// The largest error on a few pixels of hard data, in units of the roundoff and of the convolution
// of absolute values. Infinite where outputs are not finite, or weights. `run` computes the
// convolution, without bias and activation, for the geometry that it is given: that of `g` with an
// output of side * side pixels. `weight` is contiguous (out, in / groups, kernel_h, kernel_w).
template <class T>
double probe_error(const ConvGeometry& g, index_t side, const T* weight,
                   const std::function<void(const ConvGeometry&, const TensorView<const T>& x, const TensorView<T>& y)>& run);

}  // namespace fastconv
