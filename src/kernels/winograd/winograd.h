// The transforms of Winograd convolution, one vector of channels at a time. xi counts the N * N
// positions of a tile.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

// A row of tiles of the input: v[xi][tile] = B^T d B.
template <class T>
struct WinogradInput {
  const T* x;  // haloed; pixels are `lanes` apart, tiles M pixels
  index_t x_row_stride;
  index_t tiles;
  T* strip;  // scratch: N * (M * tiles + N - M) vectors
  T* v;
  index_t v_xi_stride, v_tile_stride;
};

// A row of tiles of the output: y = A^T m A, M rows of M * tiles pixels.
template <class T>
struct WinogradOutput {
  const T* m;
  index_t m_xi_stride, m_tile_stride;
  index_t tiles;
  T* y;
  index_t y_row_stride;  // pixels are `lanes` apart
};

// u[xi][lanes] = G g G^T for `lanes` output channels of one input channel, computed in double.
template <class T>
struct WinogradWeight {
  const T* weight;  // [taps][lanes]
  T* u;
  index_t u_xi_stride;
};

template <class T>
struct WinogradKernels {
  // [M / 2 - 1] for M = 2, 4, 6 and kernels of 3x3; [k2x2] for M = 3 and kernels of 2x2.
  static constexpr int k2x2 = 3;
  void (*input[4])(const WinogradInput<T>&);
  void (*output[4])(const WinogradOutput<T>&);
  void (*weight[4])(const WinogradWeight<T>&);
};

FASTCONV_DECLARE_KERNELS(WinogradKernels, winograd_kernels)

}  // namespace fastconv
