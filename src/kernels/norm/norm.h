// Normalisation.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct NormKernels {
  // y = (x - mean) * scale + shift, with one number each for all elements; y may be x.
  void (*affine)(const T* x, T* y, index_t count, T mean, T scale, T shift);
  // The same for rows of `channels` neighbouring elements, with a number for each channel, clamped
  // to [low, high].
  void (*affine_channels)(const T* x, T* y, index_t rows, index_t channels, const T* mean, const T* scale, const T* shift, T low,
                          T high);

  // Each row of `count` elements: y = (x - mean) / sqrt(variance + eps) * weight + bias; weight and
  // bias may be null.
  void (*layer_norm)(const T* x, T* y, index_t rows, index_t count, const T* weight, const T* bias, double eps);
  // The same over the channels of each pixel in the blocked layout, whose blocks are x_block and
  // y_block elements apart.
  void (*layer_norm_blocked)(const T* x, index_t x_block, T* y, index_t y_block, index_t pixels, index_t channels,
                             const T* weight, const T* bias, double eps);

  // y = x / (k + scale * sum of x^2 over channels c - before ... c + after)^beta, blocked layout.
  // `buffer` holds before + channels + after + 2 * lanes elements.
  void (*local_response_norm)(const T* x, index_t x_block, T* y, index_t y_block, index_t pixels, index_t channels,
                              index_t before, index_t after, double scale, double beta, double k, T* buffer);
};

FASTCONV_DECLARE_KERNELS(NormKernels, norm_kernels)

}  // namespace fastconv
