// Between the layouts of callers (any strides) and the packed tiles that kernels read and write.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

// A row of pixels leaves a kernel: out = min(max(in + bias + residual, low), high), channel by
// channel.
template <class T>
struct UnpackRow {
  const T* in;  // [pixel][in_stride], channels contiguous
  index_t in_stride;
  index_t channels;  // at most lanes
  index_t pixels;
  T* out;
  index_t out_channel_stride, out_pixel_stride;
  const T* residual;  // null for none
  index_t residual_channel_stride, residual_pixel_stride;
  const T* bias;  // a whole vector
  T low, high;
};

// Columns of the im2col matrix: out[(k - k0) * width + p] for the k = (channel, kernel row, kernel
// column) in [k0, k1) and `pixels` output pixels from `first` on; the columns up to `width` are
// zero.
template <class T>
struct Im2colPanel {
  const T* x;  // channel 0 of the group
  index_t channel_stride, row_stride, column_stride;
  index_t in_h, in_w, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, out_w;
  index_t first, pixels, k0, k1;
  T* out;
  index_t width;
};

// A tile whose rows are output channels and whose columns are pixels leaves a kernel:
// y[r][i] = min(max(x[r][i] + bias[r] + residual[r][i], low), high).
template <class T>
struct FinishTile {
  const T* x;
  index_t x_stride;
  const T* bias;
  const T* residual;  // null for none
  index_t residual_stride;
  T low, high;
  T* y;
  index_t y_stride;
  index_t rows, columns;
};

template <class T>
struct PackKernels {
  // out[p * out_stride + c] = x[c * channel_stride + p * pixel_stride] for c < channels, p <
  // pixels.
  void (*pack)(const T* x, index_t channel_stride, index_t pixel_stride, index_t channels, index_t pixels, T* out,
               index_t out_stride);
  void (*unpack)(const UnpackRow<T>&);
  void (*im2col)(const Im2colPanel<T>&);
  void (*finish_tile)(const FinishTile<T>&);
  // Weights [channel][k], `stride` between channels, to vectors of output channels: those of k go
  // to out + position[k] * out_stride, zero beyond `channels`.
  void (*pack_weights)(const T* weight, index_t stride, index_t channels, index_t k, const index_t* position, T* out,
                       index_t out_stride);
  void (*scale)(const T* x, double factor, index_t count, T* out);  // out[i] = x[i] * factor, rounded once
  int lanes;
};

FASTCONV_DECLARE_KERNELS(PackKernels, pack_kernels)

}  // namespace fastconv
