// Sampling images at the places of a grid.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

// What 16 output pixels read: the sum over the taps of weight * x[at]. Tables are [tap][pixel]; 1,
// 4 or 16 taps are in use.
template <class T>
struct alignas(64) SampledPixels {
  static constexpr int kCount = 16;
  T weight[16][kCount];
  T mask[16][kCount];  // all bits are set, or none: the tap lies outside of the image, where there are zeros, and `at` is 0
  index_t at[16][kCount];
  bool whole;  // all taps lie in the image, and those of a row side by side
};

template <class T>
struct SampleKernels {
  // What the pixels at `count` places (horizontal, vertical) read of an image of height x width.
  // The last SampledPixels is full: pixels that are not there read inside of the image.
  void (*find_taps)(const GridSampling& how, const T* places, index_t count, index_t height, index_t width, index_t x_row,
                    index_t x_column, SampledPixels<T>* pixels);
  // Of `channels` planes.
  void (*planes)(GridSampling::Mode mode, const SampledPixels<T>* pixels, index_t count, index_t channels, const T* x,
                 index_t x_plane, index_t x_column, T* y, index_t y_plane, index_t y_column);
  // Of `blocks` channel blocks; y's pixels lie side by side.
  void (*blocks)(GridSampling::Mode mode, const SampledPixels<T>* pixels, index_t count, index_t blocks, const T* x,
                 index_t x_block, T* y, index_t y_block);
};

FASTCONV_DECLARE_KERNELS(SampleKernels, sample_kernels)

}  // namespace fastconv
