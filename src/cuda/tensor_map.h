// Tensor maps: what the copies of compute capability 9.0 (TMA) read, and where. Kernels take them
// by value.
#pragma once

#include <cuda.h>

#include "cuda/conv.h"

namespace fastconv::cuda {

// Bytes that a row has in shared memory, whose eight chunks of 16 are swapped as the maps' 128-byte
// swizzle has it.
inline constexpr int kSwizzleBytes = 128;

// Where a window's first tap may lie: from the first pixel plus `lower` to the last pixel plus
// `upper`, across before down.
struct Im2colBox {
  index_t lower[2], upper[2];
};
Im2colBox im2col_box(const ConvGeometry& geometry);
// Why no tensor map can read the windows of a convolution on elements of these bytes, or null.
const char* im2col_limit(const ConvGeometry& geometry, int element_bytes);

// Both are encoded by the driver, for which an earlier call of the run-time on this thread has made
// the device's context current.
//
// Columns of `pixels` window positions, each kSwizzleBytes of its channels, zeros outside of the
// images. x and its strides are multiples of 16 bytes. T is float (rounded to TF32 on the way) or a
// 16-bit type.
template <class T>
CUtensorMap im2col_map(const ConvGeometry& geometry, const Nhwc<const T>& x, int pixels);
// Boxes of `rows` output channels by one tap by kSwizzleBytes of input channels, zeros outside,
// from rows of taps * channels weights that begin `stride` elements apart.
template <class T>
CUtensorMap weight_map(const T* weight, index_t channels, index_t taps, index_t outputs, index_t stride, int rows);

}  // namespace fastconv::cuda
