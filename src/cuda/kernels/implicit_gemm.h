// Launches of the implicit GEMM kernels.
#pragma once

#include "cuda/conv_gemm.h"
#include "cuda/kernels/conv_index.h"

namespace fastconv::cuda {

// One product for each of index.groups. Group g's x begins g * x_group elements after the first's,
// its y g * y_group.
template <class T>
struct GemmArguments {
  ConvIndex index;
  Nhwc<const T> x;
  const T* weight;
  index_t weight_group;  // elements of a group
  int weight_stride;     // k_padded with tensor cores, else n_padded
  index_t x_group, y_group;
  Nhwc<T> y;
  Epilogue<T> epilogue;
  float* partial;  // with index.parts > 1 unfinished sums go here, as [part][pixel][group * n + column]
  bool vectors;    // y, residual and partial take 16 bytes at a time
};

// Fills in the grid's part of arguments.index for one of kFp32Tiles or kMmaTiles, and launches.
// `wide`: x can be copied 16 bytes at a time.
void launch_gemm_fp32(GemmArguments<float> arguments, int tile, bool wide, cudaStream_t stream);
void launch_gemm_tf32(GemmArguments<float> arguments, int tile, bool wide, bool split, cudaStream_t stream);
template <class T>
void launch_gemm_16bit(GemmArguments<T> arguments, int tile, bool wide, cudaStream_t stream);

// The same for one of kWgmmaTiles, on devices with Limits::wgmma: `arguments` are of one group and
// one part, x is aligned to 16 bytes, and im2col_limit() has nothing against it.
template <class T>
void launch_gemm_wgmma(const ConvGeometry& geometry, GemmArguments<T> arguments, int tile, cudaStream_t stream);

// y = epilogue(sum of arguments.partial over the parts, in their order).
template <class T>
void launch_split_k_sum(const GemmArguments<T>& arguments, cudaStream_t stream);

// F(4x4, 3x3): what lies between the images and the 36 products. Tiles are numbered by image, row,
// column.
struct WinogradShape {
  ConvGeometry geometry;
  index_t images, tiles_h, tiles_w;

  index_t tiles() const { return images * tiles_h * tiles_w; }
};
void launch_winograd_input(const WinogradShape& shape, const Nhwc<const float>& x, float* v, cudaStream_t stream);
void launch_winograd_output(const WinogradShape& shape, const float* m, const Epilogue<float>& epilogue, const Nhwc<float>& y,
                            cudaStream_t stream);

}  // namespace fastconv::cuda
