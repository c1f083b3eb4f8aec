// The micro-kernel under every dense algorithm: a tile of C = A * B held in registers, A broadcast,
// B in vectors.
//
//   direct convolution   rows of A = pixels of the (haloed, blocked) input, B = packed weights, C = blocked output
//   im2col               rows of A = output channels (the weights as they come), B = a packed panel of pixels
//   Winograd             rows of A = tiles, B = transformed weights, one product for each position of the tile
//   linear               rows of A = samples, B = packed weights
//   matmul               A as it comes or packed, B = packed panels of columns
//
// A row of A is not contiguous in the reduction: it is a list of runs (for a convolution one for
// each channel block and kernel row), whose start offsets are the same for all rows.
#pragma once

#include "simd/dispatch.h"

namespace fastconv {

template <class T>
struct GemmTile {
  const T* a;             // row 0 of A
  index_t a_stride;       // elements from row to row
  index_t a_half_stride;  // tiles of two halves: from row 0 to the first row of the second half
  const index_t* offsets; // where each run starts, relative to the row
  index_t runs, run;      // so many runs of `run` elements,
  index_t tail_runs, tail_run;  // then so many of `tail_run` (a last, partial channel block)
  const T* b;             // [k][vectors * lanes], b_stride elements from k to k
  index_t b_stride;
  index_t panel_stride;  // products of one row with several panels of B: from panel to panel
  const T* prefetch;  // what later tiles will read: some cache lines of it are fetched every few steps of the reduction

  T* c;
  index_t c_stride, c_half_stride, c_vector_stride;
  bool accumulate;  // C += A * B: all but the first part of a long reduction

  bool finish;        // then C = min(max(C + bias + residual, low), high)
  const T* bias;      // vectors * lanes elements, or one for each row
  bool bias_of_rows;
  const T* residual;  // strides as C; null for none
  T low, high;
};

// c[row] = sum over k of a[row][k] * x[k]: for few columns, where a tile would leave most of its
// lanes empty. Bound by the reading of A.
template <class T>
struct MatrixVector {
  const T* a;
  index_t a_stride, rows, k;
  const T* x;
  T* c;
  index_t c_stride;
};

template <class T>
struct GemmKernels {
  static constexpr int kMaxRows = 14, kMaxVectors = 2;
  using Function = void (*)(const GemmTile<T>&);

  int max_rows;         // of tiles with two vectors; a tile of two halves has at most so many rows in all
  int max_single_rows;  // of tiles with one vector
  // [halves - 1][rows of a half - 1][vectors - 1]
  Function tile[2][kMaxRows][kMaxVectors];
  // [panels - 1]: one row of A and several panels of B of two vectors each; C of a panel follows
  // that of the one before. Reads from several places at once, and far ahead: for weights that come
  // from memory and are used once.
  static constexpr int kMaxPanels = 4;
  Function panels[kMaxPanels];
  void (*matrix_vector)(const MatrixVector<T>&);
};

FASTCONV_DECLARE_KERNELS(GemmKernels, gemm_kernels)

}  // namespace fastconv
