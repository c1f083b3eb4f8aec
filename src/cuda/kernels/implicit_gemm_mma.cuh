// Convolution as a product of matrices on tensor cores (mma.sync, sm_80 on). A tile of the sum is
// 64 bytes of a pixel's or an output channel's row, two steps of mma. ldmatrix moves rows of 16
// bytes whatever they hold: for 16-bit elements they are the fragments of m16n8k16, for TF32, as
// 4-byte elements, those of m16n8k8.
#pragma once

#include "cuda/kernels/implicit_gemm.cuh"

namespace fastconv::cuda {

// What is multiplied. kParts: 1, or 2 for x = high + low (3xTF32, see docs/accuracy.md).
struct Tf32 {
  using Element = float;
  static constexpr int kParts = 1;
};
struct SplitTf32 {
  using Element = float;
  static constexpr int kParts = 2;
};
template <class T>
struct Bits16 {
  using Element = T;
  static constexpr int kParts = 1;
};

__device__ __forceinline__ void mma(Tf32, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) { mma_tf32(d, a, b); }
__device__ __forceinline__ void mma(SplitTf32, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) { mma_tf32(d, a, b); }
__device__ __forceinline__ void mma(Bits16<__half>, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  mma_fp16(d, a, b);
}
__device__ __forceinline__ void mma(Bits16<__nv_bfloat16>, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  mma_bf16(d, a, b);
}

inline constexpr int kMmaStages = 4;
template <int kM, int kN, int kParts>
constexpr std::size_t mma_shared_bytes() {
  return larger(std::size_t{kMmaStages} * (kM + kN * kParts) * kRowBytes, std::size_t{kM} * kTileStride<kN> * sizeof(float));
}

// A block is kM x kN sums, a warp kWarpM x kWarpN of them.
template <class Kind, int kM, int kN, int kWarpM, int kWarpN, int kResident, bool kWide>
__global__ void __launch_bounds__(kM* kN / (kWarpM * kWarpN) * 32, kResident)
    implicit_gemm_mma(const __grid_constant__ GemmArguments<typename Kind::Element> a) {
  using T = typename Kind::Element;
  constexpr int kParts = Kind::kParts, kThreads = kM * kN / (kWarpM * kWarpN) * 32;
  constexpr int kXBytes = kM * kRowBytes, kWeightBytes = kN * kRowBytes, kStageBytes = kXBytes + kParts * kWeightBytes;
  constexpr int kRowTiles = kWarpM / 16, kColumnPairs = kWarpN / 16, kElements = kRowBytes / sizeof(T);
  constexpr int kStep = kThreads / kRowChunks;  // rows that are copied at once
  static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0 && kN % kStep == 0);
  unsigned char* const shared = dynamic_shared<unsigned char>();
  const BlockTile block = a.index.block_tile(blockIdx.x);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_row = warp / (kN / kWarpN) * kWarpM, warp_column = warp % (kN / kWarpN) * kWarpN;

  const PixelLoader<T, kM, kThreads, kWide> pixels(a.index, a.x, block.group * a.x_group, block.m * kM);
  const T* const weight = a.weight + block.group * a.weight_group;
  const auto load = [&](int stage, int k_tile) {
    unsigned char* const to = shared + stage * kStageBytes;
    pixels.load(to, k_tile);
    const int chunk = threadIdx.x % kRowChunks, first = threadIdx.x / kRowChunks;
#pragma unroll
    for (int i = 0; i < kParts * kN / kStep; ++i) {
      const int part = i / (kN / kStep), row = first + i % (kN / kStep) * kStep, column = block.n * kN + row;
      const bool valid = column < a.index.n;
      const index_t offset = (static_cast<index_t>(part) * a.index.n + column) * a.weight_stride + k_tile * kElements +
                             chunk * (kElements / kRowChunks);
      cp_async<16>(to + kXBytes + part * kWeightBytes + chunk_offset(row, chunk), valid ? weight + offset : weight, valid);
    }
  };

  // Lane l gives the address of row l % 8 of ldmatrix's matrix l / 8: for x the four quarters of 16
  // rows by two chunks, for weights two chunks of 8 columns and then of the next 8.
  const int x_row = warp_row + lane % 16, x_chunk = lane / 16;
  const int w_row = warp_column + lane % 8 + lane / 16 * 8, w_chunk = lane / 8 % 2;
  float sum[kRowTiles][2 * kColumnPairs][4] = {};
  [[maybe_unused]] float total[kParts == 2 ? kRowTiles : 1][kParts == 2 ? 2 * kColumnPairs : 1][4] = {};
  const auto multiply = [&](int stage, [[maybe_unused]] int count) {
    const unsigned char* const x = shared + stage * kStageBytes;
    const unsigned char* const w = x + kXBytes;
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      std::uint32_t ws[kParts][2 * kColumnPairs][2];
#pragma unroll
      for (int part = 0; part < kParts; ++part)
#pragma unroll
        for (int pair = 0; pair < kColumnPairs; ++pair) {
          std::uint32_t d[4];
          ldmatrix_x4(d, w + part * kWeightBytes + chunk_offset(w_row + 16 * pair, 2 * step + w_chunk));
          ws[part][2 * pair][0] = d[0];
          ws[part][2 * pair][1] = d[1];
          ws[part][2 * pair + 1][0] = d[2];
          ws[part][2 * pair + 1][1] = d[3];
        }
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        std::uint32_t xs[4];
        ldmatrix_x4(xs, x + chunk_offset(x_row + 16 * i, 2 * step + x_chunk));
        if constexpr (kParts == 2) {
          std::uint32_t low[4];
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const float value = __uint_as_float(xs[r]);
            xs[r] = to_tf32(value);
            low[r] = to_tf32(value - __uint_as_float(xs[r]));
          }
#pragma unroll
          for (int j = 0; j < 2 * kColumnPairs; ++j) mma(Kind{}, sum[i][j], low, ws[0][j]);
#pragma unroll
          for (int j = 0; j < 2 * kColumnPairs; ++j) mma(Kind{}, sum[i][j], xs, ws[1][j]);
        } else if constexpr (sizeof(T) == 4) {
#pragma unroll
          for (int r = 0; r < 4; ++r) xs[r] = to_tf32(__uint_as_float(xs[r]));
        }
#pragma unroll
        for (int j = 0; j < 2 * kColumnPairs; ++j) mma(Kind{}, sum[i][j], xs, ws[0][j]);
      }
    }
    // Tensor cores do not round their sums to nearest: 3xTF32 leaves them to it for 32 products
    // only.
    if constexpr (kParts == 2) {
      if (count % 2 == 0) return;
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
        for (int j = 0; j < 2 * kColumnPairs; ++j)
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            total[i][j][r] += sum[i][j][r];
            sum[i][j][r] = 0.f;
          }
    }
  };
  pipeline<kMmaStages>(part_range(a.index.k_tiles, a.index.parts, block.part), load, multiply);

  float* const tile = reinterpret_cast<float*>(shared) + (warp_row + lane / 4) * kTileStride<kN> + warp_column + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
    for (int j = 0; j < 2 * kColumnPairs; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        Vector<float, 2> pair{{sum[i][j][2 * half], sum[i][j][2 * half + 1]}};
        if constexpr (kParts == 2) {
          pair.lane[0] += total[i][j][2 * half];
          pair.lane[1] += total[i][j][2 * half + 1];
        }
        *reinterpret_cast<Vector<float, 2>*>(tile + (16 * i + 8 * half) * kTileStride<kN> + 8 * j) = pair;
      }
  __syncthreads();
  store_tile<kM, kN, kThreads>(a, block, reinterpret_cast<const float*>(shared));
}

template <class Kind, int kTile, int kWarpM, int kWarpN>
void launch_mma_tile(const char* name, GemmArguments<typename Kind::Element>& a, bool wide, cudaStream_t stream) {
  constexpr GemmTile tile = kMmaTiles[kTile];
  static_assert(tile.threads == tile.m * tile.n / (kWarpM * kWarpN) * 32);
  constexpr bool kNarrowToo = kTile == kNarrowTile;
  launch_gemm(name,
              kNarrowToo && !wide ? implicit_gemm_mma<Kind, tile.m, tile.n, kWarpM, kWarpN, tile.resident, !kNarrowToo>
                                  : implicit_gemm_mma<Kind, tile.m, tile.n, kWarpM, kWarpN, tile.resident, true>,
              tile, mma_shared_bytes<tile.m, tile.n, Kind::kParts>(), a, stream);
}

// 3xTF32 has no tile 0, for which 256 threads would need too many registers.
template <class Kind>
void launch_mma(const char* name, GemmArguments<typename Kind::Element>& a, int tile, bool wide, cudaStream_t stream) {
  switch (wide ? tile : kNarrowTile) {
    case 0:
      if constexpr (Kind::kParts == 1) return launch_mma_tile<Kind, 0, 64, 32>(name, a, wide, stream);
      [[fallthrough]];
    case 1: return launch_mma_tile<Kind, 1, 64, 32>(name, a, wide, stream);
    case 2: return launch_mma_tile<Kind, 2, 32, 32>(name, a, wide, stream);
    default: return launch_mma_tile<Kind, 3, 32, 32>(name, a, wide, stream);
  }
}

}  // namespace fastconv::cuda
