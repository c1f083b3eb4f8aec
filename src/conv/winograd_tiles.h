// What Winograd convolutions share: tiles of the input, in blocks whose transforms stay in L2, and
// their products with transformed weights. For a block the input is transformed once; then follow,
// for each pair of vectors of outputs, a product of [tiles x channels] by [channels x 2 vectors]
// for each position of the tile, and the output transform.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <type_traits>
#include <vector>

#include "conv/band.h"
#include "fastconv/cpu.h"
#include "fastconv/memory.h"
#include "fastconv/thread_pool.h"
#include "kernels/gemm/gemm.h"
#include "kernels/winograd/winograd.h"

namespace fastconv {

// Channels whose products are summed before they join the total. The output transform takes
// differences of large sums, so that these parts must be shorter than those of direct convolution
// for the same error: a multiple of all vector widths.
inline constexpr index_t kWinogradChannelsAPart = 48;

// What the weights of an output channel are divided by before they are transformed: 1, unless they
// are all so small or so large that transformed ones would be flushed to zero or overflow; then a
// power of two.
template <class T>
T winograd_scale(const T* weight, index_t count) {
  constexpr int kFar = std::numeric_limits<T>::max_exponent / 2, kMost = std::numeric_limits<T>::max_exponent - 28;
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  Bits bits = 0;  // of the largest magnitude: they compare as the numbers do, in a loop that compilers vectorise
  for (index_t i = 0; i < count; ++i) bits = std::max(bits, std::bit_cast<Bits>(weight[i]) & (~Bits{0} >> 1));
  const T largest = std::bit_cast<T>(bits);
  if (largest == 0 || !std::isfinite(largest)) return 1;
  const int exponent = std::ilogb(largest);
  return std::abs(exponent) < kFar ? T(1) : std::ldexp(T(1), std::clamp(exponent, -kMost, kMost));
}

template <class T>
class WinogradTiles {
 public:
  struct Block {  // of tiles
    index_t n, group, row, rows, column, columns;
    index_t tiles() const { return rows * columns; }
  };
  // v: [xi][channel block][tile][lanes]; m: [xi][tile][vectors of a pair]; y: the output tiles of a
  // vector as an image. While the input is transformed, its band and strip lie where m and y will
  // be.
  struct Buffers {
    T *v, *m, *y;
  };

  // Output tiles of m x m pixels and kernels of r x r, for so many input channels (of a group).
  WinogradTiles(int m, int r, index_t channels)
      : m_(m),
        r_(r),
        kernel_(r == 2 ? WinogradKernels<T>::k2x2 : m / 2 - 1),
        lanes_(pack_kernels<T>().lanes),
        channels_(channels),
        in_blocks_(ceil_div(channels, lanes_)) {}

  index_t side() const { return m_; }
  index_t positions() const { return (m_ + r_ - 1) * (m_ + r_ - 1); }

  // Divides an output of this size into blocks, of no fewer than `least` tiles where the image has
  // them.
  void fit(index_t out_h, index_t out_w, index_t least) {
    tiles_h_ = ceil_div(out_h, m_);
    tiles_w_ = ceil_div(out_w, m_);
    // Transformed input and products of a block in about half of L2.
    const index_t bytes = (in_blocks_ + 2) * positions() * lanes_ * static_cast<index_t>(sizeof(T));
    const index_t tiles = std::max(least, static_cast<index_t>(cache_sizes().l2 * 6 / 10) / bytes);
    block_w_ = ceil_div(tiles_w_, ceil_div(tiles_w_, tiles));
    block_h_ = std::clamp<index_t>(tiles / block_w_, 1, tiles_h_);
    block_h_ = ceil_div(tiles_h_, ceil_div(tiles_h_, block_h_));
  }

  std::size_t workspace_bytes() const {
    const index_t tiles = block_h_ * block_w_, columns = m_ * block_w_ + r_ - 1, side = m_ + r_ - 1;
    const index_t input_phase = (m_ * block_h_ + r_ - 1 + side) * columns * lanes_;  // band and strip
    const index_t output_phase = positions() * m_stride(tiles) + m_ * m_ * tiles * lanes_;
    return static_cast<std::size_t>(positions() * v_stride(tiles) + std::max(input_phase, output_phase)) * sizeof(T);
  }

  // Transforms the blocks of x, the image being padded as in `g`, and calls multiply(block, i,
  // buffers) for each of `items` pairs of output vectors: on several threads.
  template <class F>
  void for_each_block(const ConvGeometry& g, const TensorView<const T>& x, index_t items, bool flush_denormals, const F& multiply) const {
    const index_t across = ceil_div(tiles_w_, block_w_);
    // Enough tasks for every thread: blocks are divided as long as the weights, which each block
    // reads once, serve many tiles; then output channels, whose parts transform the block's input
    // again.
    const index_t threads = num_threads(), wanted = threads == 1 ? 1 : 3 * threads;
    index_t block_h = block_h_;
    const auto units = [&] { return x.n * g.groups * across * ceil_div(tiles_h_, block_h); };
    while (units() < wanted && block_h > 1 && block_h * block_w_ >= 4 * gemm_kernels<T>().max_rows) block_h = ceil_div(block_h, 2);
    const index_t down = ceil_div(tiles_h_, block_h);
    const index_t parts = units() >= wanted ? 1 : std::min(items, threads);
    parallel(units() * parts, [&](TaskQueue& queue) {
      const FlushDenormals flush(flush_denormals);
      Scratch scratch(workspace_bytes());
      Buffers b{};
      b.v = scratch.as<T>();
      b.m = b.v + positions() * v_stride(block_h * block_w_);
      b.y = b.m + positions() * m_stride(block_h * block_w_);
      index_t transformed = -1;
      for (index_t begin, end; queue.next(begin, end);)
        for (index_t task = begin; task < end; ++task) {
          const index_t unit = task / parts, part = task % parts;
          const index_t column = unit % across * block_w_, row = unit / across % down * block_h;
          const index_t group = unit / across / down % g.groups, n = unit / across / down / g.groups;
          const Block block{n, group, row, std::min(block_h, tiles_h_ - row), column, std::min(block_w_, tiles_w_ - column)};
          if (unit != transformed) transform_input(g, x, block, b);
          transformed = unit;
          for (index_t item = part * items / parts; item < (part + 1) * items / parts; ++item) multiply(block, item, b);
        }
    });
  }

  // m = v * weights at these positions: `weights` are [position][channel][vectors].
  void multiply(const Block& block, std::span<const index_t> positions, const T* weights, int vectors, const Buffers& b) const {
    const GemmKernels<T>& kernels = gemm_kernels<T>();
    const index_t tiles = block.tiles();
    std::vector<index_t> offsets(static_cast<std::size_t>(in_blocks_));
    for (index_t cb = 0; cb < in_blocks_; ++cb) offsets[cb] = cb * tiles * lanes_;
    const index_t parts = ceil_div(in_blocks_, kWinogradChannelsAPart / lanes_), tail = channels_ - (in_blocks_ - 1) * lanes_;
    const index_t row_tiles = ceil_div(tiles, index_t(vectors == 1 ? kernels.max_single_rows : kernels.max_rows));
    GemmTile<T> tile{};
    tile.a_stride = lanes_;
    tile.b_stride = tile.c_stride = vectors * lanes_;
    tile.c_vector_stride = lanes_;
    for (const index_t xi : positions) {
      for (index_t part = 0; part < parts; ++part) {
        const index_t cb = part * in_blocks_ / parts, end = (part + 1) * in_blocks_ / parts;
        const bool has_tail = end == in_blocks_ && tail < lanes_;
        tile.offsets = offsets.data() + cb;
        tile.runs = end - cb - has_tail;
        tile.run = lanes_;
        tile.tail_runs = has_tail;
        tile.tail_run = tail;
        tile.b = weights + cb * lanes_ * vectors * lanes_;
        const index_t size = (tile.runs * lanes_ + tile.tail_runs * tail) * vectors * lanes_;
        // The weights of the next part follow; fetched ahead they must leave room in L1 for these
        // and the tiles.
        const bool ahead = 4 * size * static_cast<index_t>(sizeof(T)) <= static_cast<index_t>(cache_sizes().l1d);
        tile.accumulate = part > 0;
        for (index_t i = 0; i < row_tiles; ++i) {
          const index_t begin = i * tiles / row_tiles, stop = (i + 1) * tiles / row_tiles;
          tile.a = b.v + xi * v_stride(tiles) + begin * lanes_;
          tile.prefetch = tile.b + (ahead ? size + i * size / row_tiles : 0);
          tile.c = b.m + xi * m_stride(tiles) + begin * vectors * lanes_;
          kernels.tile[0][stop - begin - 1][vectors - 1](tile);
        }
      }
      weights += channels_ * vectors * lanes_;
    }
  }

  // m = 0 at position xi.
  void clear(const Block& block, index_t xi, int vectors, const Buffers& b) const {
    std::fill_n(b.m + xi * m_stride(block.tiles()), block.tiles() * vectors * lanes_, T(0));
  }

  // y = the output tiles of vector v, times the scale of each channel.
  BandSums<T> transform_output(const Block& block, int v, int vectors, const T* scale, const Buffers& b) const {
    const index_t y_row = block.columns * m_ * lanes_;
    for (index_t r = 0; r < block.rows; ++r)
      winograd_kernels<T>().output[kernel_]({b.m + r * block.columns * vectors * lanes_ + v * lanes_, m_stride(block.tiles()),
                                             vectors * lanes_, block.columns, b.y + r * m_ * y_row, y_row});
    if (is_scaled(scale))
      for (index_t i = 0; i < block.rows * m_ * y_row; ++i) b.y[i] *= scale[i % lanes_];
    BandSums<T> band{};
    band.data = b.y;
    band.row_stride = y_row;
    band.column_stride = lanes_;
    band.n = block.n;
    return band;
  }

  // Transforms the weights of one vector of outputs, `outputs` of them, each [channel][tap]: to
  // [xi][channel][lanes of `vectors`].
  void pack_weights(const T* weight, index_t outputs, int vectors, T* to, T* scale) const {
    const index_t taps = r_ * r_;
    constexpr index_t kChannels = 16;  // at a time
    std::vector<T> all_taps(static_cast<std::size_t>(taps * kChannels * lanes_));
    std::vector<index_t> order(static_cast<std::size_t>(taps * kChannels));
    std::iota(order.begin(), order.end(), index_t{0});
    for (index_t l = 0; l < lanes_; ++l) scale[l] = l < outputs ? winograd_scale(weight + l * channels_ * taps, channels_ * taps) : T(1);
    const bool scaled = is_scaled(scale);
    for (index_t c = 0; c < channels_; c += kChannels) {
      const index_t count = std::min(kChannels, channels_ - c);
      pack_kernels<T>().pack_weights(weight + c * taps, channels_ * taps, outputs, count * taps, order.data(), all_taps.data(), lanes_);
      if (scaled)
        for (index_t i = 0; i < count * taps * lanes_; ++i) all_taps[i] /= scale[i % lanes_];
      for (index_t i = 0; i < count; ++i)
        winograd_kernels<T>().weight[kernel_]({all_taps.data() + i * taps * lanes_, to + (c + i) * vectors * lanes_, channels_ * vectors * lanes_});
    }
  }

 private:
  // A few lines of padding keep the positions of a tile from falling into one set of the L1 cache.
  index_t v_stride(index_t tiles) const { return in_blocks_ * tiles * lanes_ + 3 * static_cast<index_t>(kAlignment / sizeof(T)); }
  index_t m_stride(index_t tiles) const { return tiles * 2 * lanes_ + static_cast<index_t>(kAlignment / sizeof(T)); }

  bool is_scaled(const T* scale) const {
    return std::any_of(scale, scale + lanes_, [](T s) { return s != 1; });
  }

  void transform_input(const ConvGeometry& g, const TensorView<const T>& x, const Block& block, const Buffers& b) const {
    const InputBand band{block.row * m_ - g.pad_top, block.rows * m_ + r_ - 1, block.column * m_ - g.pad_left, block.columns * m_ + r_ - 1};
    T* packed = b.m;
    T* strip = packed + band.rows * band.columns * lanes_;
    const index_t tiles = block.tiles();
    for (index_t cb = 0; cb < in_blocks_; ++cb) {
      const index_t c = cb * lanes_;
      pack_band(x, block.n, block.group * channels_ + c, std::min(lanes_, channels_ - c), band, lanes_, packed);
      for (index_t r = 0; r < block.rows; ++r)
        winograd_kernels<T>().input[kernel_]({packed + r * m_ * band.columns * lanes_, band.columns * lanes_, block.columns, strip,
                                              b.v + (cb * tiles + r * block.columns) * lanes_, v_stride(tiles), lanes_});
    }
  }

  index_t m_, r_, kernel_;  // kernel_: index in WinogradKernels
  index_t lanes_, channels_, in_blocks_;
  index_t tiles_h_ = 0, tiles_w_ = 0;
  index_t block_h_ = 0, block_w_ = 0;  // tiles of a block
};

}  // namespace fastconv
