// A transposed convolution as dense convolutions, one for each phase of its stride.
#pragma once

#include <vector>

#include "fastconv/conv.h"

namespace fastconv {

// Output pixels (row, column), (row + stride_h, column), ... are the convolution `dense` of the
// input, stored `stride` apart.
struct TransposePhase {
  ConvGeometry dense;
  index_t row, column;
  // Which taps (kernel row * kernel_w + column) of the transposed convolution are dense's, in its
  // order. None: no tap reaches these pixels, and `dense` has one tap, of weight zero, beside the
  // image.
  std::vector<index_t> taps;
};
// `geometry` as conv_transpose_geometry gives it.
std::vector<TransposePhase> transpose_phases(const ConvGeometry& geometry);

// Weights of a phase's dense convolution, (out, in / groups, kernel_h, kernel_w), from (in, out /
// groups, kernel_h, kernel_w).
template <class T>
std::vector<T> phase_weight(const ConvGeometry& geometry, const std::vector<index_t>& taps, const T* weight);

// The pixels of `out` that a phase computes, from (row, column) on.
template <class T>
TensorView<T> phase_pixels(const ConvGeometry& geometry, const ConvGeometry& dense, index_t row, index_t column, const TensorView<T>& out);

}  // namespace fastconv
