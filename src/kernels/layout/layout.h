// Between planes (NCHW, any strides) and channel blocks (nChw<lanes>c).
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct LayoutKernels {
  int lanes;  // channels in a block

  // Packs `planes` <= lanes planes of height x width into one block: y[row * y_row + column * lanes
  // + plane]; the other lanes become zero. Strides count elements.
  void (*pack)(const T* x, index_t plane_stride, int planes, index_t height, index_t width, index_t x_row,
               index_t x_column, T* y, index_t y_row);
  // The way back.
  void (*unpack)(const T* x, index_t x_row, int planes, index_t height, index_t width, T* y, index_t plane_stride,
                 index_t y_row, index_t y_column);
};

FASTCONV_DECLARE_KERNELS(LayoutKernels, layout_kernels)

}  // namespace fastconv
