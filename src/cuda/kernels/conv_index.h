// The index arithmetic of convolution as a product of matrices, for kernels and for tests on the
// host. A row of the product is an output pixel, a column an output channel of one group, and the
// sum runs over taps and the group's input channels, channels fastest: y[m][n] = sum over k of x(m,
// k) * w[k][n].
#pragma once

#include <cuda_runtime.h>

#include "cuda/fast_divide.h"

namespace fastconv::cuda {

// A whole number of tiles from a sum's `tiles`: part `part` of `parts`, whose sizes differ by at
// most one.
struct TileRange {
  int begin, end;
};
__host__ __device__ inline TileRange part_range(int tiles, int parts, int part) {
  const int each = tiles / parts, longer = tiles % parts;
  const int begin = part * each + (part < longer ? part : longer);
  return {begin, begin + each + (part < longer ? 1 : 0)};
}

// What one thread block computes: a tile of the product, over a part of the sum.
struct BlockTile {
  int m, n, group, part;
};
// Where an output pixel lies.
struct Pixel {
  int n, h, w;
};
// What step k of the sum reads, relative to the first pixel of a window.
struct Tap {
  int h, w, channel;
};

struct ConvIndex {
  int m = 0, n = 0, k = 0;  // sizes of one group's product
  int in_h = 0, in_w = 0;
  int stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0, dilation_h = 1, dilation_w = 1;
  bool pointwise = false;  // a single tap: k counts channels
  int parts = 1, k_tiles = 0;
  FastDivide channels, kernel_w, out_w, out_pixels, tiles_m, tiles_n, groups;

  // Tiles of the same rows follow one another: their x comes from L2, and weights mostly do anyway.
  __host__ __device__ BlockTile block_tile(unsigned block) const {
    BlockTile tile;
    int rest = tiles_n.quotient(static_cast<int>(block));
    tile.n = tiles_n.remainder(static_cast<int>(block), rest);
    const int above = tiles_m.quotient(rest);
    tile.m = tiles_m.remainder(rest, above);
    tile.part = groups.quotient(above);
    tile.group = groups.remainder(above, tile.part);
    return tile;
  }
  __host__ __device__ Pixel pixel(int row) const {
    Pixel pixel;
    pixel.n = out_pixels.quotient(row);
    const int rest = out_pixels.remainder(row, pixel.n);
    pixel.h = out_w.quotient(rest);
    pixel.w = out_w.remainder(rest, pixel.h);
    return pixel;
  }
  __host__ __device__ Tap tap(int step) const {
    if (pointwise) return {0, 0, step};
    const int tap = channels.quotient(step), row = kernel_w.quotient(tap);
    return {row * dilation_h, kernel_w.remainder(tap, row) * dilation_w, channels.remainder(step, tap)};
  }
  __host__ __device__ bool inside(int h, int w) const {
    return static_cast<unsigned>(h) < static_cast<unsigned>(in_h) && static_cast<unsigned>(w) < static_cast<unsigned>(in_w);
  }
};

// Tiles of x and of weights lie in shared memory as rows of 64 bytes, four chunks of 16. Chunks
// trade places so that the same chunk of eight consecutive rows falls into eight different groups
// of four banks: an access of 16 bytes by each of eight lanes, as 128-bit loads and ldmatrix make
// them, has no bank conflict.
inline constexpr int kRowBytes = 64, kChunkBytes = 16, kRowChunks = 4;
__host__ __device__ constexpr int chunk_offset(int row, int chunk) {
  return row * kRowBytes + (chunk ^ (row >> 1 & 3)) * kChunkBytes;
}

}  // namespace fastconv::cuda
