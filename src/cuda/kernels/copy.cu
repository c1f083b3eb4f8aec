// Copies between strides and element types. Where the arrays' neighbours lie in different
// dimensions (NCHW and NHWC), square tiles are turned in shared memory, so that both sides see
// whole lines; else it is an element-by-element kernel.
#include "cuda/kernels/map.cuh"
#include "cuda/ops.h"

namespace fastconv::cuda {
namespace {

struct Identity {
  template <int kLanes, int kInputs>
  __device__ __forceinline__ void operator()(float (&y)[kLanes], const float (&x)[kInputs][kLanes]) const {
#pragma unroll
    for (int i = 0; i < kLanes; ++i) y[i] = x[0][i];
  }
};

constexpr int kTile = 32, kTileRows = 8;
// Below this many elements in one of the dimensions a tile is mostly empty, and lines are shared by
// neighbouring threads anyway.
constexpr index_t kLeastTurned = 8;

// y's neighbours are `y_size` elements in one dimension, x's are `x_size` in another: y(i, j) =
// x(i, j) with y at j * y_step + i and x at i * x_step + j. `rest` steps through all other
// dimensions.
struct Turn {
  index_t y_size, x_size, y_step, x_step;
  FastDivide y_tiles, x_tiles;
};

template <class From, class To>
__global__ void __launch_bounds__(kTile* kTileRows) transpose_kernel(Turn turn, Steps<2> rest, To* y, const From* x) {
  __shared__ float tile[kTile][kTile + 1];  // the extra column: neither rows nor columns meet in a bank
  const std::uint32_t pair = turn.y_tiles.quotient(blockIdx.x), matrix = turn.x_tiles.quotient(pair);
  const index_t first_i = index_t{turn.y_tiles.remainder(blockIdx.x, pair)} * kTile;
  const index_t first_j = index_t{turn.x_tiles.remainder(pair, matrix)} * kTile;
  index_t offset[2];
  rest.offsets(matrix, offset);
  const int column = threadIdx.x % kTile, row = threadIdx.x / kTile;
  float value[kTile / kTileRows];
#pragma unroll
  for (int k = 0; k < kTile / kTileRows; ++k) {
    const index_t i = first_i + row + k * kTileRows, j = first_j + column;
    value[k] = i < turn.y_size && j < turn.x_size ? to_float(x[offset[1] + i * turn.x_step + j]) : 0.f;
  }
#pragma unroll
  for (int k = 0; k < kTile / kTileRows; ++k) tile[row + k * kTileRows][column] = value[k];
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kTile / kTileRows; ++k) {
    const index_t i = first_i + column, j = first_j + row + k * kTileRows;
    if (i < turn.y_size && j < turn.x_size)
      y[offset[0] + j * turn.y_step + i] = from_float<To>(tile[column][row + k * kTileRows]);
  }
}

}  // namespace

template <class From, class To>
void copy(const Strided<const From>& x, const Strided<To>& y, cudaStream_t stream) {
  const Loops<2> loops = collapse<2>(y.rank, y.size, {y.stride, x.stride});
  int across = 0;  // the dimension of x's neighbours
  while (across < loops.rank && loops.stride[1][across] != 1) ++across;
  const bool turned = across > 0 && across < loops.rank && loops.stride[0][0] == 1 && loops.size[0] >= kLeastTurned &&
                      loops.size[across] >= kLeastTurned;
  if (!turned) return map("copy", Identity{}, loops, stream, y.data, x.data);
  for_parts(
      loops,
      [&](const Loops<2>& part, const index_t(&offset)[2]) {
        const index_t y_tiles = (part.size[0] + kTile - 1) / kTile, x_tiles = (part.size[across] + kTile - 1) / kTile;
        const Turn turn{part.size[0],         part.size[across], part.stride[0][across], part.stride[1][0],
                        FastDivide(y_tiles), FastDivide(x_tiles)};
        const Loops<2> rest = part.without(across).without(0);
        launch("transpose", transpose_kernel<From, To>, dim3(static_cast<unsigned>(y_tiles * x_tiles * rest.count())),
               dim3(kTile * kTileRows), 0, stream, turn, Steps<2>(rest), y.data + offset[0], x.data + offset[1]);
      });
}

#define FASTCONV_INSTANTIATE(From, To) \
  template void copy<From, To>(const Strided<const From>&, const Strided<To>&, cudaStream_t);
FASTCONV_INSTANTIATE(std::uint8_t, float)
FASTCONV_INSTANTIATE(std::uint8_t, __half)
FASTCONV_INSTANTIATE(std::uint8_t, __nv_bfloat16)
FASTCONV_INSTANTIATE(float, std::uint8_t)
FASTCONV_INSTANTIATE(__half, std::uint8_t)
FASTCONV_INSTANTIATE(__nv_bfloat16, std::uint8_t)
FASTCONV_INSTANTIATE(float, float)
FASTCONV_INSTANTIATE(float, __half)
FASTCONV_INSTANTIATE(float, __nv_bfloat16)
FASTCONV_INSTANTIATE(__half, float)
FASTCONV_INSTANTIATE(__half, __half)
FASTCONV_INSTANTIATE(__nv_bfloat16, float)
FASTCONV_INSTANTIATE(__nv_bfloat16, __nv_bfloat16)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv::cuda
