// The transforms of Winograd convolution F(4x4, 3x3) in fp32 (Lavin & Gray 2016, "Fast algorithms
// for convolutional neural networks"); the 36 products between them are those of
// implicit_gemm_fp32. A thread transforms one channel of one tile, all in registers: neighbouring
// threads have neighbouring channels, and 36 loads each are under way at a time. Both transforms
// wait for memory, not for arithmetic: about 320 FMA to 288 bytes.
#include "cuda/kernels/epilogue.cuh"
#include "cuda/kernels/implicit_gemm.h"
#include "kernels/winograd/matrices.h"

namespace fastconv::cuda {
namespace {

constexpr int kThreads = 128, kSide = 6, kM = 4;

// Tiles in the order image, row, column; channels are the fastest index of all.
struct TileIndex {
  FastDivide channels, tiles_w, image_tiles;
  int count;  // tiles times channels
  int h, w;   // of the image that tiles cover
  int pad_top, pad_left;

  struct Position {
    int channel, tile, n, h, w;
  };
  __device__ __forceinline__ Position at(int i) const {
    Position p;
    p.tile = channels.quotient(i);
    p.channel = channels.remainder(i, p.tile);
    p.n = image_tiles.quotient(p.tile);
    const int rest = image_tiles.remainder(p.tile, p.n), row = tiles_w.quotient(rest);
    p.h = row * kM;
    p.w = tiles_w.remainder(rest, row) * kM;
    return p;
  }
};

// v[xi][tile][channel] = B^T d B
__global__ void __launch_bounds__(kThreads)
    winograd_input(const __grid_constant__ TileIndex index, const Nhwc<const float> x, float* const v) {
  constexpr WinogradMatrices<kM> matrices = winograd_matrices<kM>();
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= index.count) return;
  const TileIndex::Position p = index.at(i);
  const int top = p.h - index.pad_top, left = p.w - index.pad_left;
  float d[kSide][kSide];
#pragma unroll
  for (int r = 0; r < kSide; ++r)
#pragma unroll
    for (int c = 0; c < kSide; ++c) {
      const int h = top + r, w = left + c;
      const bool inside = h >= 0 && h < index.h && w >= 0 && w < index.w;
      d[r][c] = inside ? __ldg(x.data + p.n * x.sn + h * x.sh + w * x.sw + p.channel) : 0.f;
    }
#pragma unroll
  for (int c = 0; c < kSide; ++c) {
    float column[kSide];
#pragma unroll
    for (int r = 0; r < kSide; ++r) {
      float sum = 0.f;
#pragma unroll
      for (int k = 0; k < kSide; ++k)
        if (matrices.bt[r][k] != 0) sum = fmaf(static_cast<float>(matrices.bt[r][k]), d[k][c], sum);
      column[r] = sum;
    }
#pragma unroll
    for (int r = 0; r < kSide; ++r) d[r][c] = column[r];
  }
#pragma unroll
  for (int r = 0; r < kSide; ++r)
#pragma unroll
    for (int c = 0; c < kSide; ++c) {
      float sum = 0.f;
#pragma unroll
      for (int k = 0; k < kSide; ++k)
        if (matrices.bt[c][k] != 0) sum = fmaf(static_cast<float>(matrices.bt[c][k]), d[r][k], sum);
      v[static_cast<index_t>(r * kSide + c) * index.count + i] = sum;
    }
}

// y = epilogue(A^T m A), from m[xi][tile][channel]
__global__ void __launch_bounds__(kThreads)
    winograd_output(const __grid_constant__ TileIndex index, const float* const m, const __grid_constant__ Epilogue<float> epilogue,
                    const Nhwc<float> y) {
  constexpr WinogradMatrices<kM> matrices = winograd_matrices<kM>();
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= index.count) return;
  const TileIndex::Position p = index.at(i);
  float rows[kM][kSide];
#pragma unroll
  for (int c = 0; c < kSide; ++c) {
    float column[kSide];
#pragma unroll
    for (int r = 0; r < kSide; ++r) column[r] = __ldg(m + static_cast<index_t>(r * kSide + c) * index.count + i);
#pragma unroll
    for (int r = 0; r < kM; ++r) {
      float sum = 0.f;
#pragma unroll
      for (int k = 0; k < kSide; ++k)
        if (matrices.at[r][k] != 0) sum = fmaf(static_cast<float>(matrices.at[r][k]), column[k], sum);
      rows[r][c] = sum;
    }
  }
  const float bias = epilogue.bias ? __ldg(epilogue.bias + p.channel) : 0.f;
  const Nhwc<const float>& residual = epilogue.residual;
  float out[kM * kM];
#pragma unroll
  for (int r = 0; r < kM; ++r)
#pragma unroll
    for (int c = 0; c < kM; ++c) {
      float sum = 0.f;
#pragma unroll
      for (int k = 0; k < kSide; ++k)
        if (matrices.at[c][k] != 0) sum = fmaf(static_cast<float>(matrices.at[c][k]), rows[r][k], sum);
      sum += bias;
      const int h = p.h + r, w = p.w + c;
      if (residual.data && h < index.h && w < index.w)
        sum += residual.data[p.n * residual.sn + h * residual.sh + w * residual.sw + p.channel];
      out[r * kM + c] = sum;
    }
  activate_lanes(epilogue.activation, out);
#pragma unroll
  for (int r = 0; r < kM; ++r)
#pragma unroll
    for (int c = 0; c < kM; ++c) {
      const int h = p.h + r, w = p.w + c;
      if (h < index.h && w < index.w) y.data[p.n * y.sn + h * y.sh + w * y.sw + p.channel] = out[r * kM + c];
    }
}

TileIndex tile_index(const WinogradShape& shape, index_t channels, index_t h, index_t w) {
  TileIndex index;
  index.channels = FastDivide(static_cast<int>(channels));
  index.tiles_w = FastDivide(static_cast<int>(shape.tiles_w));
  index.image_tiles = FastDivide(static_cast<int>(shape.tiles_h * shape.tiles_w));
  index.count = static_cast<int>(shape.tiles() * channels);
  index.h = static_cast<int>(h);
  index.w = static_cast<int>(w);
  index.pad_top = static_cast<int>(shape.geometry.pad_top);
  index.pad_left = static_cast<int>(shape.geometry.pad_left);
  return index;
}

}  // namespace

void launch_winograd_input(const WinogradShape& shape, const Nhwc<const float>& x, float* v, cudaStream_t stream) {
  const TileIndex index = tile_index(shape, shape.geometry.in_channels, shape.geometry.in_h, shape.geometry.in_w);
  launch("winograd_input", winograd_input, dim3((index.count - 1) / kThreads + 1), dim3(kThreads), 0, stream, index, x, v);
}

void launch_winograd_output(const WinogradShape& shape, const float* m, const Epilogue<float>& epilogue, const Nhwc<float>& y,
                            cudaStream_t stream) {
  const TileIndex index = tile_index(shape, shape.geometry.out_channels, shape.geometry.out_h, shape.geometry.out_w);
  launch("winograd_output", winograd_output, dim3((index.count - 1) / kThreads + 1), dim3(kThreads), 0, stream, index, m, epilogue, y);
}

}  // namespace fastconv::cuda
