// Convolution as a product of matrices in fp32 (FFMA), fused: windows are read where they lie,
// nothing is unrolled in memory (Chetlur et al. 2014, "cuDNN: efficient primitives for deep
// learning"). Two blocks of 128 threads with 8 x 8 sums each fill a multiprocessor's registers: a
// step of the sum then takes 4 loads of 16 bytes for 64 FFMA.
#include "cuda/kernels/implicit_gemm.cuh"

namespace fastconv::cuda {
namespace {

constexpr int kK = kRowBytes / sizeof(float), kStages = 3;
// Products are summed in parts of 128 (see docs/accuracy.md), in registers of their own.
constexpr int kPartTiles = 128 / kK;

template <int kM, int kN>
constexpr std::size_t shared_bytes() {
  return larger(std::size_t{kStages} * (kM + kN) * kRowBytes, std::size_t{kM} * kTileStride<kN> * sizeof(float));
}

// A warp's lanes are 4 rows by 8 columns. A thread has rows 4 apart, and columns in runs of 4 that
// lie 32 apart: both of its operands then come by loads of 16 bytes without bank conflicts.
template <int kM, int kN, int kRows, int kColumns, int kResident, bool kWide>
__global__ void __launch_bounds__(kM* kN / (kRows * kColumns), kResident)
    implicit_gemm_fp32(const __grid_constant__ GemmArguments<float> a) {
  constexpr int kThreads = kM * kN / (kRows * kColumns), kWarpsAcross = kN / (8 * kColumns), kRuns = kColumns / 4;
  constexpr int kXBytes = kM * kRowBytes, kStageBytes = kXBytes + kN * kRowBytes;
  static_assert(4 * kRows % 8 == 0 && kColumns % 4 == 0 && kK * kN / 4 % kThreads == 0);
  unsigned char* const shared = dynamic_shared<unsigned char>();
  const BlockTile block = a.index.block_tile(blockIdx.x);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int first_row = warp / kWarpsAcross * 4 * kRows + lane / 8;
  const int first_column = warp % kWarpsAcross * 8 * kColumns + lane % 8 * 4;

  const PixelLoader<float, kM, kThreads, kWide> pixels(a.index, a.x, block.group * a.x_group, block.m * kM);
  const float* const weight = a.weight + block.group * a.weight_group;
  const auto load = [&](int stage, int k_tile) {
    unsigned char* const to = shared + stage * kStageBytes;
    pixels.load(to, k_tile);
#pragma unroll
    for (int i = 0; i < kK * kN / 4 / kThreads; ++i) {
      const int at = (threadIdx.x + i * kThreads) * 4, k = at / kN, column = block.n * kN + at % kN;
      const bool valid = column < a.weight_stride;
      const index_t offset = static_cast<index_t>(k_tile * kK + k) * a.weight_stride + column;
      cp_async<16>(to + kXBytes + at * sizeof(float), valid ? weight + offset : weight, valid);
    }
  };

  float total[kRows][kColumns] = {}, sum[kRows][kColumns] = {};
  const auto multiply = [&](int stage, int count) {
    const unsigned char* const x = shared + stage * kStageBytes;
    const float* const w = reinterpret_cast<const float*>(x + kXBytes) + first_column;
#pragma unroll
    for (int chunk = 0; chunk < kRowChunks; ++chunk) {
      Vector<float, 4> xs[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i)
        xs[i] = *reinterpret_cast<const Vector<float, 4>*>(x + chunk_offset(first_row + 4 * i, chunk));
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        Vector<float, 4> ws[kRuns];
#pragma unroll
        for (int j = 0; j < kRuns; ++j)
          ws[j] = *reinterpret_cast<const Vector<float, 4>*>(w + (chunk * 4 + k) * kN + j * 32);
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int j = 0; j < kColumns; ++j) sum[i][j] = fmaf(xs[i].lane[k], ws[j / 4].lane[j % 4], sum[i][j]);
      }
    }
    if (count % kPartTiles == kPartTiles - 1) {
#pragma unroll
      for (int i = 0; i < kRows; ++i)
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          total[i][j] += sum[i][j];
          sum[i][j] = 0.f;
        }
    }
  };
  pipeline<kStages>(part_range(a.index.k_tiles, a.index.parts, block.part), load, multiply);

  float* const tile = reinterpret_cast<float*>(shared);
#pragma unroll
  for (int i = 0; i < kRows; ++i)
#pragma unroll
    for (int j = 0; j < kRuns; ++j) {
      Vector<float, 4> run;
#pragma unroll
      for (int k = 0; k < 4; ++k) run.lane[k] = total[i][4 * j + k] + sum[i][4 * j + k];
      *reinterpret_cast<Vector<float, 4>*>(tile + (first_row + 4 * i) * kTileStride<kN> + first_column + j * 32) = run;
    }
  __syncthreads();
  store_tile<kM, kN, kThreads>(a, block, tile);
}

template <int kTile, int kRows, int kColumns>
void launch_tile(GemmArguments<float>& a, bool wide, cudaStream_t stream) {
  constexpr GemmTile tile = kFp32Tiles[kTile];
  static_assert(tile.threads == tile.m * tile.n / (kRows * kColumns));
  constexpr bool kNarrowToo = kTile == kNarrowTile;
  launch_gemm(kNarrowToo && !wide ? "implicit_gemm_fp32 (narrow)" : "implicit_gemm_fp32",
              kNarrowToo && !wide ? implicit_gemm_fp32<tile.m, tile.n, kRows, kColumns, tile.resident, !kNarrowToo>
                                  : implicit_gemm_fp32<tile.m, tile.n, kRows, kColumns, tile.resident, true>,
              tile, shared_bytes<tile.m, tile.n>(), a, stream);
}

}  // namespace

void launch_gemm_fp32(GemmArguments<float> a, int tile, bool wide, cudaStream_t stream) {
  switch (wide ? tile : kNarrowTile) {
    case 0: return launch_tile<0, 8, 8>(a, wide, stream);
    case 1: return launch_tile<1, 8, 8>(a, wide, stream);
    case 2: return launch_tile<2, 4, 8>(a, wide, stream);
    default: return launch_tile<3, 8, 4>(a, wide, stream);
  }
}

}  // namespace fastconv::cuda
