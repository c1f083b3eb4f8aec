// What the implicit GEMM kernels share: pixels on their way into shared memory, finished tiles on
// their way out.
#pragma once

#include "cuda/kernels/epilogue.cuh"
#include "cuda/kernels/implicit_gemm.h"
#include "ptx.cuh"

namespace fastconv::cuda {

// Copies kRows output pixels' windows, one tile of 64 bytes of the sum at a time, as rows of shared
// memory (chunk_offset). Padding, rows after the last pixel and steps after the last one become
// zeros. Each thread keeps to one chunk of all its rows, so that it looks up a tap only once a
// tile.
template <class T, int kRows, int kThreads, bool kWide>
class PixelLoader {
 public:
  static constexpr int kChunk = kChunkBytes / sizeof(T);

  __device__ __forceinline__ PixelLoader(const ConvIndex& index, const Nhwc<const T>& x, index_t group_offset, int first_row)
      : index_(index), x_(x.data + group_offset), row_stride_(x.sh), pixel_stride_(x.sw) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int row = first_row + static_cast<int>(threadIdx.x) / kRowChunks + i * kStep;
      const Pixel pixel = index.pixel(row < index.m ? row : 0);
      h_[i] = row < index.m ? pixel.h * index.stride_h - index.pad_top : kOutside;
      w_[i] = pixel.w * index.stride_w - index.pad_left;
      offset_[i] = pixel.n * x.sn + h_[i] * x.sh + w_[i] * x.sw;
    }
  }

  __device__ __forceinline__ void load(unsigned char* shared, int k_tile) const {
    const int chunk = threadIdx.x % kRowChunks, first = threadIdx.x / kRowChunks;
    const int step = (k_tile * kRowChunks + chunk) * kChunk;
    unsigned char* to = shared + chunk_offset(first, chunk);  // kStep is a multiple of 8: the same place in all rows
    constexpr int kCopies = kWide ? 1 : kChunk;
#pragma unroll
    for (int copy = 0; copy < kCopies; ++copy) {
      const Tap tap = index_.tap(step + copy);
      const bool in_sum = step + copy < index_.k;
      const index_t offset = tap.h * row_stride_ + tap.w * pixel_stride_ + tap.channel;
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const bool valid = in_sum && index_.inside(h_[i] + tap.h, w_[i] + tap.w);
        const T* from = valid ? x_ + offset_[i] + offset : x_;
        unsigned char* at = to + i * kStep * kRowBytes + copy * sizeof(T);
        if constexpr (kWide)
          cp_async<kChunkBytes>(at, from, valid);
        else if constexpr (sizeof(T) == 4)
          cp_async<4>(at, from, valid);
        else  // too small for an asynchronous copy; the barrier before its use orders it as well
          *reinterpret_cast<T*>(at) = valid ? *from : from_float<T>(0.f);
      }
    }
  }

 private:
  static constexpr int kStep = kThreads / kRowChunks, kEach = kRows / kStep;
  static_assert(kStep % 8 == 0 && kRows % kStep == 0);
  static constexpr int kOutside = -(1 << 30);  // stays negative for any tap

  const ConvIndex& index_;
  const T* x_;
  index_t row_stride_, pixel_stride_;
  index_t offset_[kEach];
  int h_[kEach], w_[kEach];
};

// A finished tile lies in shared memory as rows of kN + 8 floats: eight rows of float2, as mma
// leaves them, then fall into different banks.
template <int kN>
inline constexpr int kTileStride = kN + 8;

// Runs of kLanes channels, kRuns at a time, so that as many loads of the residual are under way
// (which may be y: the compiler cannot move them before a store).
template <int kLanes, int kM, int kN, int kThreads, class T>
__device__ __forceinline__ void store_lanes(const GemmArguments<T>& a, const BlockTile& block, const float* tile) {
  constexpr int kAcross = kN / kLanes, kRuns = 4;
  static_assert(kM * kAcross % (kRuns * kThreads) == 0);
  const index_t width = static_cast<index_t>(a.index.n) * static_cast<int>(a.index.groups.divisor);
  const index_t first_channel = static_cast<index_t>(block.group) * a.index.n;
#pragma unroll 1
  for (int first = threadIdx.x; first < kM * kAcross; first += kRuns * kThreads) {
    T* to[kRuns] = {};
    Vector<T, kLanes> residual[kRuns];
#pragma unroll
    for (int run = 0; run < kRuns; ++run) {
      const int i = first + run * kThreads, row = block.m * kM + i / kAcross, column = block.n * kN + i % kAcross * kLanes;
      if (a.index.parts > 1 || row >= a.index.m || column >= a.index.n) continue;
      const Pixel pixel = a.index.pixel(row);
      to[run] = a.y.data + pixel.n * a.y.sn + pixel.h * a.y.sh + pixel.w * a.y.sw + block.group * a.y_group + column;
      residual[run] = load_residual<kLanes>(a.epilogue, pixel.n, pixel.h, pixel.w, first_channel + column);
    }
#pragma unroll
    for (int run = 0; run < kRuns; ++run) {
      using Part = Vector<float, kLanes < 4 ? kLanes : 4>;
      const int i = first + run * kThreads, row = block.m * kM + i / kAcross, column = block.n * kN + i % kAcross * kLanes;
      if (row >= a.index.m || column >= a.index.n) continue;
      const Part* const from = reinterpret_cast<const Part*>(tile + i / kAcross * kTileStride<kN> + i % kAcross * kLanes);
      float v[kLanes];
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) v[lane] = from[lane / 4].lane[lane % 4];
      if (a.index.parts == 1) {
        finish(a.epilogue, first_channel + column, residual[run], v, to[run]);
        continue;
      }
      Part* const part = reinterpret_cast<Part*>(a.partial + (static_cast<index_t>(block.part) * a.index.m + row) * width +
                                                 first_channel + column);
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) part[lane / 4].lane[lane % 4] = v[lane];
    }
  }
}

// Sums of a block, in shared memory, to y or to the partial sums. Neighbouring threads write
// neighbouring channels.
template <int kM, int kN, int kThreads, class T>
__device__ __forceinline__ void store_tile(const GemmArguments<T>& a, const BlockTile& block, const float* tile) {
  if (a.vectors)
    store_lanes<kChunkBytes / sizeof(T), kM, kN, kThreads>(a, block, tile);
  else
    store_lanes<1, kM, kN, kThreads>(a, block, tile);
}

// The main loop: kStages - 1 tiles are on their way while one is multiplied. load(stage, k_tile)
// starts copies, multiply(stage, k_tile - first k_tile) uses what has arrived. One barrier a tile:
// it also says that everyone is done with the stage that is filled next.
template <int kStages, class Load, class Multiply>
__device__ __forceinline__ void pipeline(TileRange range, const Load& load, const Multiply& multiply) {
  const int count = range.end - range.begin;
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (stage < count) load(stage, range.begin + stage);
    cp_async_commit();
  }
  int stage = 0;
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    const int next = i + kStages - 1;
    if (next < count) load(stage == 0 ? kStages - 1 : stage - 1, range.begin + next);
    cp_async_commit();
    multiply(stage, i);
    stage = stage + 1 == kStages ? 0 : stage + 1;
  }
  cp_async_wait<0>();
  __syncthreads();
}

constexpr std::size_t larger(std::size_t a, std::size_t b) { return a > b ? a : b; }

// The grid of tiles of kM x kN, filled into the index, then the launch of `kernel` and, with
// split-K, of the last sum.
template <class T, class... Rest>
void launch_gemm(const char* name, void (*kernel)(GemmArguments<T>, Rest...), const GemmTile& tile, std::size_t shared_bytes,
                 GemmArguments<T>& a, cudaStream_t stream, const Rest&... rest) {
  const int tiles_m = (a.index.m - 1) / tile.m + 1, tiles_n = (a.index.n - 1) / tile.n + 1;
  a.index.tiles_m = FastDivide(tiles_m);
  a.index.tiles_n = FastDivide(tiles_n);
  const unsigned blocks = static_cast<unsigned>(tiles_m) * static_cast<unsigned>(tiles_n) * a.index.groups.divisor *
                          static_cast<unsigned>(a.index.parts);
  launch(name, kernel, dim3(blocks), dim3(static_cast<unsigned>(tile.threads)), shared_bytes, stream, a, rest...);
  if (a.index.parts > 1) launch_split_k_sum(a, stream);
}

}  // namespace fastconv::cuda
