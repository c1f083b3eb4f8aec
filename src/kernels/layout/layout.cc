#include "kernels/layout/layout.h"

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T, bool full>
FASTCONV_INLINE void pack_tile(const T* x, index_t plane_stride, int planes, T* y) {
  constexpr int L = lanes<T>;
  Vec<T> rows[L];
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i) rows[i] = full || i < planes ? load(x + i * plane_stride) : Vec<T>{};
  transpose<T>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i) store(y + i * L, rows[i]);
}

template <class T, bool full>
FASTCONV_INLINE void unpack_tile(const T* x, int planes, T* y, index_t plane_stride) {
  constexpr int L = lanes<T>;
  Vec<T> rows[L];
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i) rows[i] = load(x + i * L);
  transpose<T>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i)
    if (full || i < planes) store(y + i * plane_stride, rows[i]);
}

template <class T, bool full>
void pack_row(const T* x, index_t plane_stride, int planes, index_t width, T* y) {
  constexpr int L = lanes<T>;
  for (index_t w = 0; w + L < width; w += L) pack_tile<T, full>(x + w, plane_stride, planes, y + w * L);
  pack_tile<T, full>(x + width - L, plane_stride, planes, y + (width - L) * L);  // may overlap the one before
}

template <class T, bool full>
void unpack_row(const T* x, int planes, index_t width, T* y, index_t plane_stride) {
  constexpr int L = lanes<T>;
  for (index_t w = 0; w + L < width; w += L) unpack_tile<T, full>(x + w * L, planes, y + w, plane_stride);
  unpack_tile<T, full>(x + (width - L) * L, planes, y + width - L, plane_stride);
}

template <class T>
void pack(const T* x, index_t plane_stride, int planes, index_t height, index_t width, index_t x_row, index_t x_column,
          T* y, index_t y_row) {
  constexpr int L = lanes<T>;
  if (x_column == 1 && x_row == width && y_row == width * L) {
    width *= height;
    height = 1;
  }
  for (index_t h = 0; h < height; ++h, x += x_row, y += y_row) {
    if (x_column == 1 && width >= L) {
      if (planes == L)
        pack_row<T, true>(x, plane_stride, planes, width, y);
      else
        pack_row<T, false>(x, plane_stride, planes, width, y);
      continue;
    }
    for (index_t w = 0; w < width; ++w) {
      const T* from = x + w * x_column;
      T* to = y + w * L;
      int i = 0;
      for (; i < planes; ++i) to[i] = from[i * plane_stride];
      for (; i < L; ++i) to[i] = T(0);
    }
  }
}

template <class T>
void unpack(const T* x, index_t x_row, int planes, index_t height, index_t width, T* y, index_t plane_stride,
            index_t y_row, index_t y_column) {
  constexpr int L = lanes<T>;
  if (y_column == 1 && y_row == width && x_row == width * L) {
    width *= height;
    height = 1;
  }
  for (index_t h = 0; h < height; ++h, x += x_row, y += y_row) {
    if (y_column == 1 && width >= L) {
      if (planes == L)
        unpack_row<T, true>(x, planes, width, y, plane_stride);
      else
        unpack_row<T, false>(x, planes, width, y, plane_stride);
      continue;
    }
    for (index_t w = 0; w < width; ++w)
      for (int i = 0; i < planes; ++i) y[w * y_column + i * plane_stride] = x[w * L + i];
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(LayoutKernels, layout_kernels, {lanes<T>, pack<T>, unpack<T>})
