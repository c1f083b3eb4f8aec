// Convolution as a product of matrices by wgmma, fed by TMA (sm_90a): for large grids on compute
// capability 9.0.
//
// A block is 128 pixels by kN output channels. One thread of its last warp, the producer, has the
// copy engine fill kStages stages of shared memory: for one tap, 128 bytes of the channels of each
// pixel, from an im2col map, and of each output channel's weights. Two warpgroups multiply what has
// arrived, 64 pixels each; two barriers a stage say that it is full, or free again. Two blocks
// share a multiprocessor, so that one multiplies while the other stores: a thread has at most 96
// registers (their 18 warps are five on one of the four partitions of 16384), of which its sums are
// 64; so there is no need to move registers between warps (setmaxnreg).
#include "cuda/kernels/implicit_gemm.cuh"
#include "cuda/tensor_map.h"

namespace fastconv::cuda {
namespace {

constexpr int kM = 128, kConsumers = 256, kConsumerWarps = kConsumers / 32;
constexpr int kPatternBytes = 8 * kSwizzleBytes;  // after which swizzling repeats
constexpr int kStepBytes = 32;                    // of a row that an instruction takes

template <int kN>
constexpr int kStageBytes = (kM + kN) * kSwizzleBytes;
// Both blocks together leave room for the 1024 bytes of each that the system has.
template <int kN>
constexpr int kStages = 98304 / kStageBytes<kN>;
template <int kN>
constexpr std::size_t kSharedBytes = std::size_t{kStages<kN>} * kStageBytes<kN> + kPatternBytes - 128;

// Rows of kSwizzleBytes from a shared address on, a multiple of kPatternBytes but for the steps
// along the rows. PTX ISA, "Matrix descriptor format": the address and the distance of groups of
// eight rows, both without their lowest four bits; 1 for the leading dimension, which swizzled rows
// do not need; 1 for the swizzle of 128 bytes.
__device__ __forceinline__ std::uint64_t matrix_descriptor(unsigned address) {
  return (address & 0x3ffffu) >> 4 | std::uint64_t{1} << 16 | std::uint64_t{kPatternBytes >> 4} << 32 | std::uint64_t{1} << 62;
}

template <class T, int kN>
__global__ void __launch_bounds__(kConsumers + 32, 2)
    implicit_gemm_wgmma(const __grid_constant__ GemmArguments<T> a, const __grid_constant__ CUtensorMap x_map,
                        const __grid_constant__ CUtensorMap weights_map) {
  if constexpr (!kHasWgmma) {
    __trap();  // plans do without it there
  } else {
    constexpr int kXBytes = kM * kSwizzleBytes, kElements = kSwizzleBytes / sizeof(T);
    static_assert(kSharedBytes<kN> >= sizeof(float) * kM * kTileStride<kN> + kPatternBytes - 128);
    __shared__ std::uint64_t full[kStages<kN>], empty[kStages<kN>];
    unsigned char* const unaligned = dynamic_shared<unsigned char>();
    unsigned char* const shared = unaligned + (kPatternBytes - shared_address(unaligned) % kPatternBytes) % kPatternBytes;
    const BlockTile block = a.index.block_tile(blockIdx.x);
    // From lane 0, so that the compiler knows it is one number a warp, and keeps what depends on it
    // in uniform registers.
    const int lane = threadIdx.x % 32, warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);

    if (threadIdx.x == 0) {
#pragma unroll
      for (int stage = 0; stage < kStages<kN>; ++stage) {
        mbarrier_init(&full[stage], 1);
        mbarrier_init(&empty[stage], kConsumerWarps);
      }
      fence_mbarrier_init();
    }
    __syncthreads();

    float sum[kN / 2] = {};
    if (warp == kConsumerWarps) {
      if (lane == 0) {
        const Pixel pixel = a.index.pixel(block.m * kM);
        const int w = pixel.w * a.index.stride_w - a.index.pad_left, h = pixel.h * a.index.stride_h - a.index.pad_top;
        const int channels = static_cast<int>(a.index.channels.divisor), columns = static_cast<int>(a.index.kernel_w.divisor);
        int channel = 0, tap = 0, column = 0, row = 0, stage = 0;
        unsigned parity = 1;
#pragma unroll 1
        for (int i = 0; i < a.index.k_tiles; ++i) {
          unsigned char* const to = shared + stage * kStageBytes<kN>;
          mbarrier_wait(&empty[stage], parity);
          mbarrier_arrive_expect(&full[stage], kStageBytes<kN>);
          tma_load_im2col(to, &x_map, &full[stage], channel, w, h, pixel.n, column * a.index.dilation_w, row * a.index.dilation_h);
          tma_load_tile(to + kXBytes, &weights_map, &full[stage], channel, tap, block.n * kN);
          if (++stage == kStages<kN>) stage = 0, parity ^= 1;
          channel += kElements;
          if (channel < channels) continue;
          channel = 0;
          ++tap;
          if (++column == columns) column = 0, ++row;
        }
      }
      __syncwarp();
    } else {
      const std::uint64_t x = matrix_descriptor(shared_address(shared) + warp / 4 * 64 * kSwizzleBytes);
      const std::uint64_t weights = matrix_descriptor(shared_address(shared) + kXBytes);
      int stage = 0, before = 0;
      unsigned parity = 0;
#pragma unroll 1
      for (int i = 0; i < a.index.k_tiles; ++i) {
        mbarrier_wait(&full[stage], parity);
        wgmma_fence(sum);
#pragma unroll
        for (int step = 0; step < kSwizzleBytes / kStepBytes; ++step) {
          const int offset = (stage * kStageBytes<kN> + step * kStepBytes) >> 4;
          wgmma(T(), sum, x + offset, weights + offset);
        }
        wgmma_commit();
        wgmma_wait<1>(sum);  // the stage before has been read
        if (i > 0 && lane == 0) mbarrier_arrive(&empty[before]);
        before = stage;
        if (++stage == kStages<kN>) stage = 0, parity ^= 1;
      }
      wgmma_wait<0>(sum);
    }

    __syncthreads();  // no stage is needed any more
    if (warp < kConsumerWarps) {
      float* const tile = reinterpret_cast<float*>(shared) + (warp * 16 + lane / 4) * kTileStride<kN> + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < kN / 8; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          *reinterpret_cast<Vector<float, 2>*>(tile + 8 * half * kTileStride<kN> + 8 * j) = {
              {sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1]}};
    }
    __syncthreads();
    if (warp < kConsumerWarps) store_tile<kM, kN, kConsumers>(a, block, reinterpret_cast<const float*>(shared));
  }
}

template <class T, int kTile>
void launch_tile(GemmArguments<T>& a, const CUtensorMap& x_map, const T* weight, cudaStream_t stream) {
  constexpr GemmTile tile = kWgmmaTiles[kTile];
  static_assert(tile.m == kM && tile.threads == kConsumers + 32);
  const index_t channels = a.index.channels.divisor, taps = a.index.k / channels;
  const CUtensorMap weights_map = weight_map<T>(weight, channels, taps, a.index.n, a.weight_stride, tile.n);
  launch_gemm("implicit_gemm_wgmma", implicit_gemm_wgmma<T, tile.n>, tile, kSharedBytes<tile.n>, a, stream, x_map, weights_map);
}

}  // namespace

template <class T>
void launch_gemm_wgmma(const ConvGeometry& geometry, GemmArguments<T> a, int tile, cudaStream_t stream) {
  constexpr int kElements = kSwizzleBytes / sizeof(T);
  const int channels = static_cast<int>(a.index.channels.divisor);
  a.index.k_tiles = a.index.k / channels * ((channels - 1) / kElements + 1);
  const CUtensorMap x_map = im2col_map<T>(geometry, a.x, kM);
  if (tile == 0)
    launch_tile<T, 0>(a, x_map, a.weight, stream);
  else
    launch_tile<T, 1>(a, x_map, a.weight, stream);
}

template void launch_gemm_wgmma(const ConvGeometry&, GemmArguments<float>, int, cudaStream_t);
template void launch_gemm_wgmma(const ConvGeometry&, GemmArguments<__half>, int, cudaStream_t);
template void launch_gemm_wgmma(const ConvGeometry&, GemmArguments<__nv_bfloat16>, int, cudaStream_t);

}  // namespace fastconv::cuda
