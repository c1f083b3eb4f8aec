// How a convolution becomes products of matrices, decided on the host: shared by plans, packing and
// launches.
#pragma once

#include <cstddef>

#include "cuda/conv.h"

namespace fastconv::cuda {

// A tile of output pixels by output channels that one block computes.
struct GemmTile {
  int m, n, threads;
  int resident;       // blocks on a multiprocessor at a time
  double efficiency;  // of the arithmetic, as predicted; not timed
};
// By ConvPlan::tile. The kernels instantiate exactly these.
inline constexpr GemmTile kFp32Tiles[] = {{128, 128, 256, 1, 0.80}, {128, 64, 128, 2, 0.78}, {64, 64, 128, 3, 0.65}, {128, 32, 128, 3, 0.60}};
inline constexpr GemmTile kMmaTiles[] = {{128, 128, 256, 2, 1.00}, {128, 64, 128, 2, 0.85}, {64, 64, 128, 3, 0.65}, {128, 32, 128, 3, 0.55}};
inline constexpr int kTiles = 4;
// Of the kernel with wgmma: kMmaTiles has the same ones under their numbers, for x that TMA cannot
// read.
inline constexpr GemmTile kWgmmaTiles[] = {{128, 128, 288, 2, 1.00}, {128, 64, 288, 2, 0.80}};
// Those that also exist for channels that cannot be copied 16 bytes at a time.
inline constexpr int kNarrowTile = 2;

// The product of one (combined) group; weights as [group][plane][n_padded][k_padded] for tensor
// cores (planes: high and low parts of 3xTF32), else as [group][k_padded][n_padded].
struct GemmShape {
  index_t groups, channels, n, k, k_padded, n_padded;
  int planes, element_bytes;
  bool tensor_cores;

  index_t group_elements() const { return planes * k_padded * n_padded; }
  std::size_t bytes() const { return static_cast<std::size_t>(groups * group_elements() * element_bytes); }
};
inline constexpr index_t kWinogradPositions = 36, kWinogradTile = 4;

// How many neighbouring groups are multiplied as one with block-diagonal weights.
index_t combined_groups(const ConvGeometry& geometry);
// Of plan's implicit GEMM, or of Winograd's products, one "group" a position of the tile.
GemmShape gemm_shape(const ConvPlan& plan);
// Images that Winograd transforms at a time.
index_t winograd_images(const ConvPlan& plan);

// `geometry` with the strides and dilations that have no effect set to 1. Throws
// std::invalid_argument where a coordinate would pass 30 bits.
ConvGeometry checked_geometry(const ConvGeometry& geometry);

}  // namespace fastconv::cuda
