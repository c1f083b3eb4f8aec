// Depthwise convolution, NHWC. It is bound by memory: 3x3 in float32 does 9 multiply-adds for each
// 8 bytes, and an H200 moves 21 bytes a clock and multiprocessor while it does 128 multiply-adds.
// (7x7 is the balance point: 49 for 8 bytes.)
//
// The row kernels (3x3, 5x5, 7x7, stride 1 and 2) read each input row of their tile once, by
// asynchronous copies into a ring of rows in shared memory, three rows ahead. A row is then added
// to all output rows it takes part in, whose sums stay in registers, as the weights do. So the
// loads in flight cost no registers, padding is zeros in shared memory and needs no care after
// that, and only the columns and rows between tiles are read twice, from the second-level cache.
#include "cuda/conv.h"
#include "cuda/depthwise.h"
#include "cuda/kernels/images.cuh"
#include "ptx.cuh"

namespace fastconv::cuda {
namespace {

constexpr int kColumns = kDepthwiseColumns, kStages = 4;

struct RowTask {
  DepthwiseTile tile;
  int pad_top, pad_left;
  int chunk_bytes;  // of an asynchronous copy: 4, 8 or 16
  FastDivide channel_tiles, column_tiles, row_tiles;
};

template <class T>
__device__ __forceinline__ void copy_chunk(int bytes, T* shared, const T* global, bool valid) {
  if (bytes == 16)
    cp_async<16>(shared, global, valid);
  else if (bytes == 8)
    cp_async<8>(shared, global, valid);
  else
    cp_async<4>(shared, global, valid);
}

template <int kLanes, class T>
__device__ __forceinline__ void load_bias(const Epilogue<T>& epilogue, int channel, bool exists, float (&bias)[kLanes]) {
#pragma unroll
  for (int v = 0; v < kLanes; ++v) bias[v] = exists && epilogue.bias ? epilogue.bias[channel + v] : 0.f;
}

// Adds bias and residual to the sums of kLanes channels of one pixel, activates and stores them.
template <int kLanes, class T>
__device__ __forceinline__ void finish(float (&sum)[kLanes], const float (&bias)[kLanes], const Epilogue<T>& epilogue,
                                       const Nhwc<T>& y, int n, int row, int column, int channel) {
#pragma unroll
  for (int v = 0; v < kLanes; ++v) sum[v] += bias[v];
  if (epilogue.residual.data) {
    float residual[kLanes];
    load(pixel(epilogue.residual, n, row, column) + channel, residual);
#pragma unroll
    for (int v = 0; v < kLanes; ++v) sum[v] += residual[v];
  }
  activate(epilogue.activation, sum);
  store(pixel(y, n, row, column) + channel, sum);
}

template <class T, int kKernel, int kStride>
__global__ void __launch_bounds__(kDepthwiseThreads, 2)
    depthwise_rows(RowTask task, Nhwc<const T> x, const T* weight, Epilogue<T> epilogue, Nhwc<T> y) {
  constexpr int kLanes = depthwise_lanes(kKernel);
  constexpr int kSums = (kKernel + kStride - 1) / kStride;  // output rows that one input row takes part in, at most
  constexpr int kPeriod = kSums * kStride;                  // input rows after which sums are where they were
  constexpr int kInColumns = (kColumns - 1) * kStride + kKernel;

  const DepthwiseTile tile = task.tile;
  const unsigned strip = task.channel_tiles.quotient(blockIdx.x), band = task.column_tiles.quotient(strip),
                 image = task.row_tiles.quotient(band);
  const int first_channel = static_cast<int>(task.channel_tiles.remainder(blockIdx.x, strip)) * tile.channels;
  const int first_column = static_cast<int>(task.column_tiles.remainder(strip, band)) * tile.groups * kColumns;
  const int first_row = static_cast<int>(task.row_tiles.remainder(band, image)) * tile.rows;
  const int n = static_cast<int>(image);
  const int rows = min(tile.rows, y.h - first_row), in_rows = (rows - 1) * kStride + kKernel;
  const int columns = min(tile.groups * kColumns, y.w - first_column), in_columns = (columns - 1) * kStride + kKernel;
  const int channels = min(tile.channels, y.c - first_channel);

  // The ring: [row % kStages][column][channel].
  T* const ring = dynamic_shared<T>();
  const int ring_row = ((tile.groups * kColumns - 1) * kStride + kKernel) * tile.channels;
  const int chunk = task.chunk_bytes / static_cast<int>(sizeof(T)), chunks = channels / chunk;  // elements; of a pixel
  const int top = first_row * kStride - task.pad_top, left = first_column * kStride - task.pad_left;
  const int threads = static_cast<int>(blockDim.x);
  const int own_pixel = static_cast<int>(threadIdx.x) / chunks, own_chunk = static_cast<int>(threadIdx.x) % chunks;
  const int pixel_step = threads / chunks, chunk_step = threads % chunks;
  const auto fetch_row = [&](int i) {
    if (i < in_rows) {
      const int row = top + i;
      const bool inside = row >= 0 && row < x.h;
      const T* const from = x.data + n * x.sn + row * x.sh + first_channel;
      T* const to = ring + i % kStages * ring_row;
      for (int pixel = own_pixel, c = own_chunk; pixel < in_columns;) {
        const int column = left + pixel;
        const bool valid = inside && column >= 0 && column < x.w;
        copy_chunk(task.chunk_bytes, to + pixel * tile.channels + c * chunk, valid ? from + column * x.sw + c * chunk : x.data,
                   valid);
        pixel += pixel_step;
        c += chunk_step;
        if (c >= chunks) {
          c -= chunks;
          ++pixel;
        }
      }
    }
    cp_async_commit();
  };
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) fetch_row(i);

  const int groups_of_lanes = tile.channels / kLanes;
  const int group = static_cast<int>(threadIdx.x) / groups_of_lanes;
  const int own_channel = (static_cast<int>(threadIdx.x) % groups_of_lanes) * kLanes, channel = first_channel + own_channel;
  const bool writes = own_channel < channels;  // the others compute along, on anything
  float taps[kKernel * kKernel][kLanes], sums[kSums][kColumns][kLanes];
#pragma unroll
  for (int t = 0; t < kKernel * kKernel; ++t) {
    set(taps[t], 0.f);
    if (writes) load(weight + index_t{t} * y.c + channel, taps[t]);
  }
#pragma unroll
  for (int s = 0; s < kSums; ++s)
#pragma unroll
    for (int t = 0; t < kColumns; ++t) set(sums[s][t], 0.f);

  const T* const own = ring + group * kColumns * kStride * tile.channels + own_channel;
  for (int base = 0; base < in_rows; base += kPeriod) {
#pragma unroll
    for (int phase = 0; phase < kPeriod; ++phase) {
      const int i = base + phase;
      if (i >= in_rows) break;
      cp_async_wait<kStages - 2>();
      __syncthreads();  // row i is there for all, and all are done with row i - 1, whose place the next one takes
      fetch_row(i + kStages - 1);
      const T* const row = own + i % kStages * ring_row;
      float in[kInColumns][kLanes];
#pragma unroll
      for (int j = 0; j < kInColumns; ++j) load(row + j * tile.channels, in[j]);
#pragma unroll
      for (int kh = phase % kStride; kh < kKernel; kh += kStride) {
        const int out = base / kStride + (phase - kh) / kStride;
        if (out < 0 || out >= rows) continue;
        float(&sum)[kColumns][kLanes] = sums[((phase - kh) / kStride + kSums) % kSums];
#pragma unroll
        for (int kw = 0; kw < kKernel; ++kw)
#pragma unroll
          for (int t = 0; t < kColumns; ++t)
#pragma unroll
            for (int v = 0; v < kLanes; ++v) sum[t][v] += in[t * kStride + kw][v] * taps[kh * kKernel + kw][v];
      }
      if ((phase - (kKernel - 1)) % kStride == 0 && i >= kKernel - 1) {  // the last row of a window
        const int out_row = first_row + (i - (kKernel - 1)) / kStride;
        float bias[kLanes];
        load_bias(epilogue, channel, writes, bias);
        float(&sum)[kColumns][kLanes] = sums[((phase - (kKernel - 1)) / kStride + kSums) % kSums];
#pragma unroll
        for (int t = 0; t < kColumns; ++t) {
          const int column = group * kColumns + t;
          if (writes && column < columns)
            finish(sum[t], bias, epilogue, y, n, out_row, first_column + column, channel);
          set(sum[t], 0.f);
        }
      }
    }
  }
}

struct Window {
  int kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  int multiplier;  // output channels of an input channel; 1 where kLanes > 1
};

// Everything else, one thread for kLanes channels of a pixel; what windows share comes from the
// first-level cache.
template <class T, int kLanes>
__global__ void __launch_bounds__(kImageThreads) depthwise_any(Window window, Pixels pixels, Nhwc<const T> x, const T* weight,
                                                               Epilogue<T> epilogue, Nhwc<T> y) {
  Position at;
  if (!pixels.locate(at)) return;
  const int from_channel = kLanes > 1 ? at.c : at.c / window.multiplier;
  const int top = at.h * window.stride_h - window.pad_top, left = at.w * window.stride_w - window.pad_left;
  float sum[kLanes], bias[kLanes];
  set(sum, 0.f);
  for (int kh = 0; kh < window.kernel_h; ++kh) {
    const int in_row = top + kh * window.dilation_h;
    const T* const from = pixel(x, at.n, in_row, 0) + from_channel;
    const T* const taps = weight + index_t{kh} * window.kernel_w * y.c + at.c;
#pragma unroll 4
    for (int kw = 0; kw < window.kernel_w; ++kw) {
      const int in_column = left + kw * window.dilation_w;
      float in[kLanes], tap[kLanes];
      set(in, 0.f);  // padding takes part in the arithmetic
      if (in_row >= 0 && in_row < x.h && in_column >= 0 && in_column < x.w) load(from + in_column * x.sw, in);
      load(taps + index_t{kw} * y.c, tap);
#pragma unroll
      for (int v = 0; v < kLanes; ++v) sum[v] += in[v] * tap[v];
    }
  }
  load_bias(epilogue, at.c, true, bias);
  finish(sum, bias, epilogue, y, at.n, at.h, at.w, at.c);
}

template <class T, int kKernel, int kStride>
void run_rows(const ConvGeometry& g, int chunk_bytes, const Nhwc<const T>& x, const T* packed, const Epilogue<T>& epilogue,
              const Nhwc<T>& y, cudaStream_t stream) {
  const DepthwiseTile tile = depthwise_tile(y.n, y.h, y.w, y.c, kKernel, sizeof(T));
  const index_t row_tiles = ceil_div(y.h, tile.rows), column_tiles = ceil_div(y.w, tile.groups * kColumns);
  const index_t channel_tiles = ceil_div(y.c, tile.channels);
  const RowTask task{tile,
                     static_cast<int>(g.pad_top),
                     static_cast<int>(g.pad_left),
                     chunk_bytes,
                     FastDivide(channel_tiles),
                     FastDivide(column_tiles),
                     FastDivide(row_tiles)};
  const index_t in_columns = (tile.groups * kColumns - 1) * kStride + kKernel;
  const std::size_t shared_bytes = static_cast<std::size_t>(kStages * in_columns * tile.channels) * sizeof(T);
  launch("depthwise_rows", depthwise_rows<T, kKernel, kStride>,
         dim3(static_cast<unsigned>(y.n * row_tiles * column_tiles * channel_tiles)),
         dim3(static_cast<unsigned>(tile.threads(depthwise_lanes(kKernel)))), shared_bytes, stream, task, x, packed, epilogue, y);
}

template <int kLanes, class T>
void run_any(const ConvGeometry& g, const Nhwc<const T>& x, const T* packed, const Epilogue<T>& epilogue, const Nhwc<T>& y,
             cudaStream_t stream) {
  const Window window{static_cast<int>(g.kernel_h),   static_cast<int>(g.kernel_w), static_cast<int>(g.stride_h),
                      static_cast<int>(g.stride_w),   static_cast<int>(g.pad_top),  static_cast<int>(g.pad_left),
                      static_cast<int>(g.dilation_h), static_cast<int>(g.dilation_w),
                      static_cast<int>(g.out_channels / g.in_channels)};
  const Pixels pixels(y, kLanes);
  launch("depthwise_any", depthwise_any<T, kLanes>, pixels.blocks(), dim3(kImageThreads), 0, stream, window, pixels, x, packed,
         epilogue, y);
}

// The widest asynchronous copies that all of x's pixels allow, in bytes; 0: none.
template <class T>
int widest_chunk(const Nhwc<const T>& x, int tile_channels) {
  for (const int bytes : {16, 8, 4}) {
    const int elements = bytes / static_cast<int>(sizeof(T));
    if (tile_channels % elements == 0 && lanes_fit(x, elements)) return bytes;
  }
  return 0;
}

}  // namespace

template <class T>
void depthwise_conv2d(const ConvGeometry& g, const Nhwc<const T>& x, const T* packed, const Epilogue<T>& epilogue,
                      const Nhwc<T>& y, cudaStream_t stream) {
  if (y.n == 0 || y.h == 0 || y.w == 0 || y.c == 0) return;
  const int kernel = static_cast<int>(g.kernel_h), stride = static_cast<int>(g.stride_h);
  const auto fits = [&](int lanes) {
    return x.c == y.c && lanes_fit(y, lanes) && aligned(packed, lanes * sizeof(T)) &&
           (!epilogue.residual.data || lanes_fit(epilogue.residual, lanes));
  };
  const bool square = g.kernel_w == kernel && g.stride_w == stride && g.dilation_h == 1 && g.dilation_w == 1;
  if (square && (kernel == 3 || kernel == 5 || kernel == 7) && stride <= 2 && fits(depthwise_lanes(kernel))) {
    const int chunk = widest_chunk(x, depthwise_tile(y.n, y.h, y.w, y.c, kernel, sizeof(T)).channels);
    const auto run = kernel == 3   ? stride == 1 ? run_rows<T, 3, 1> : run_rows<T, 3, 2>
                     : kernel == 5 ? stride == 1 ? run_rows<T, 5, 1> : run_rows<T, 5, 2>
                     : stride == 1 ? run_rows<T, 7, 1>
                                   : run_rows<T, 7, 2>;
    if (chunk > 0) return run(g, chunk, x, packed, epilogue, y, stream);
  }
  if (lanes_fit(x, kFullLanes<T>) && fits(kFullLanes<T>))
    run_any<kFullLanes<T>>(g, x, packed, epilogue, y, stream);
  else
    run_any<1>(g, x, packed, epilogue, y, stream);
}

#define FASTCONV_INSTANTIATE(T)                                                                                       \
  template void depthwise_conv2d<T>(const ConvGeometry&, const Nhwc<const T>&, const T*, const Epilogue<T>&, const Nhwc<T>&, \
                                    cudaStream_t);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(__half)
FASTCONV_INSTANTIATE(__nv_bfloat16)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv::cuda
