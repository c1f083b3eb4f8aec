// Winograd convolution F(m x m, 3 x 3), blocked so that transformed tiles stay in L2: for a block of tiles the input is
// transformed once, then for each pair of output blocks N * N products of [tiles x channels] by [channels x 2 vectors]
// and the output transform follow one another.
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>

#include "conv/band.h"
#include "conv/engine.h"
#include "conv/probe.h"
#include "fastconv/cpu.h"
#include "fastconv/thread_pool.h"
#include "kernels/gemm/gemm.h"
#include "kernels/winograd/winograd.h"

namespace fastconv {
namespace {

// Channels whose products are summed before they join the total. The output transform takes differences of large sums, so
// that these parts must be shorter than those of direct convolution for the same error: a multiple of all vector widths.
constexpr index_t kChannelsAPart = 48;

// What the weights of an output channel are divided by before they are transformed: 1, unless they are all so small or so large that
// transformed ones would be flushed to zero or overflow; then a power of two.
template <class T>
T scale_of(const T* weight, index_t count) {
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
class Winograd final : public ConvEngine<T> {
 public:
  Winograd(const ConvTask& task, int tile)
      : ConvEngine<T>(task),
        m_(tile),
        positions_((tile + 2) * (tile + 2)),
        lanes_(pack_kernels<T>().lanes),
        in_blocks_(ceil_div(task.geometry.group_in(), lanes_)),
        out_blocks_(ceil_div(task.geometry.group_out(), lanes_)),
        transformed_size_(task.geometry.groups * positions_ * task.geometry.group_in() * out_blocks_ * lanes_) {
    fit_image();
  }

  void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const override {
    const ConvGeometry& g = this->task_.geometry;
    const index_t pairs = ceil_div(out_blocks_, 2), across = ceil_div(tiles_w_, block_w_);
    // Enough tasks for every thread: blocks are divided as long as the weights, which each block reads once, serve many
    // tiles; then output channels, whose parts transform the block's input again.
    const index_t threads = num_threads(), wanted = threads == 1 ? 1 : 3 * threads;
    index_t block_h = block_h_;
    const auto units = [&] { return x.n * g.groups * across * ceil_div(tiles_h_, block_h); };
    while (units() < wanted && block_h > 1 && block_h * block_w_ >= 4 * gemm_kernels<T>().max_rows) block_h = ceil_div(block_h, 2);
    const index_t down = ceil_div(tiles_h_, block_h);
    const index_t parts = units() >= wanted ? 1 : std::min(pairs, threads);
    const T* borrowed = this->borrowed_;
    const Scratch ahead(borrowed ? static_cast<std::size_t>(packed_size()) * sizeof(T) : 0);
    if (borrowed) transform(borrowed, ahead.as<T>());
    parallel(units() * parts, [&](TaskQueue& queue) {
      const FlushDenormals flush(this->flush_denormals());
      Scratch scratch(workspace_bytes());
      Buffers b{};
      b.weights = borrowed ? ahead.as<T>() : this->packed_.data();
      b.v = scratch.as<T>();
      b.m = b.v + positions_ * v_stride(block_h * block_w_);
      b.y = b.m + positions_ * m_stride(block_h * block_w_);
      index_t transformed = -1;
      for (index_t begin, end; queue.next(begin, end);)
        for (index_t task = begin; task < end; ++task) {
          const index_t unit = task / parts, part = task % parts;
          const index_t column = unit % across * block_w_, row = unit / across % down * block_h;
          const index_t group = unit / across / down % g.groups, n = unit / across / down / g.groups;
          const Block block{n, group, row, std::min(block_h, tiles_h_ - row), column, std::min(block_w_, tiles_w_ - column)};
          if (unit != transformed) transform_input(x, block, b);
          transformed = unit;
          for (index_t pair = part * pairs / parts; pair < (part + 1) * pairs / parts; ++pair)
            multiply(block, pair, b, residual, out);
        }
    });
  }

  std::size_t workspace_bytes() const override {
    const index_t tiles = block_h_ * block_w_, columns = m_ * block_w_ + 2;
    const index_t input_phase = (m_ * block_h_ + 2 + m_ + 2) * columns * lanes_;  // band and strip
    const index_t output_phase = positions_ * m_stride(tiles) + m_ * m_ * tiles * lanes_;
    return static_cast<std::size_t>(positions_ * v_stride(tiles) + std::max(input_phase, output_phase)) * sizeof(T);
  }

  double probe(const T* weight) const override {
    return probe_error<T>(this->task_.geometry, m_, weight, [&](const ConvGeometry& g, const auto& x, const auto& y) {
      Winograd plain(*this);
      plain.task_.geometry = g;
      plain.fit_image();
      plain.forget_epilogue();
      plain.run(x, nullptr, y);
    });
  }

 private:
  std::unique_ptr<ConvEngine<T>> clone() const override { return std::make_unique<Winograd>(*this); }
  index_t packed_size() const override { return transformed_size_ + this->task_.geometry.groups * out_blocks_ * lanes_; }
  void pack_weights(const T* weight, T* packed) override { transform(weight, packed); }

  void fit_image() override {
    tiles_h_ = ceil_div(this->task_.geometry.out_h, m_);
    tiles_w_ = ceil_div(this->task_.geometry.out_w, m_);
    // Transformed input and products of a block in about half of L2, but no fewer tiles than fill the registers.
    const index_t bytes = (in_blocks_ + 2) * positions_ * lanes_ * static_cast<index_t>(sizeof(T));
    const index_t tiles = std::max<index_t>(gemm_kernels<T>().max_rows, static_cast<index_t>(cache_sizes().l2 * 6 / 10) / bytes);
    block_w_ = ceil_div(tiles_w_, ceil_div(tiles_w_, tiles));
    block_h_ = std::clamp<index_t>(tiles / block_w_, 1, tiles_h_);
    block_h_ = ceil_div(tiles_h_, ceil_div(tiles_h_, block_h_));
  }

  struct Block {  // of tiles
    index_t n, group, row, rows, column, columns;
    index_t tiles() const { return rows * columns; }
  };
  // v: [xi][channel block][tile][lanes]; m: [xi][tile][vectors of a pair]; y: the output tiles as an image. While the input
  // is transformed, its band and strip lie where m and y will be.
  struct Buffers {
    T *v, *m, *y;
    const T* weights;  // transformed
  };
  // A few lines of padding keep the positions of a tile from falling into one set of the L1 cache.
  index_t v_stride(index_t tiles) const { return in_blocks_ * tiles * lanes_ + 3 * static_cast<index_t>(kAlignment / sizeof(T)); }
  index_t m_stride(index_t tiles) const { return tiles * 2 * lanes_ + static_cast<index_t>(kAlignment / sizeof(T)); }

  bool is_scaled(const T* scale) const {
    return std::any_of(scale, scale + lanes_, [](T s) { return s != 1; });
  }

  int pair_vectors(index_t pair) const { return 2 * pair + 1 < out_blocks_ ? 2 : 1; }

  // [group][pair][xi][channel][vectors of the pair], then the scale of each output channel: [group][block][lanes].
  void transform(const T* weight, T* packed) const {
    const ConvGeometry& g = this->task_.geometry;
    const index_t channels = g.group_in();
    parallel_for(g.groups * out_blocks_, [&](index_t task) {
      const index_t group = task / out_blocks_, block = task % out_blocks_, vectors = pair_vectors(block / 2);
      T* to = packed + (group * out_blocks_ + block / 2 * 2) * lanes_ * channels * positions_ + block % 2 * lanes_;
      constexpr index_t kChannels = 16;  // at a time
      std::vector<T> nine(static_cast<std::size_t>(9 * kChannels * lanes_));
      std::vector<index_t> order(9 * kChannels);
      std::iota(order.begin(), order.end(), index_t{0});
      const T* first = weight + (group * g.group_out() + block * lanes_) * channels * 9;
      const index_t outputs = std::min(lanes_, g.group_out() - block * lanes_);
      T* scale = packed + transformed_size_ + task * lanes_;
      for (index_t l = 0; l < lanes_; ++l) scale[l] = l < outputs ? scale_of(first + l * channels * 9, channels * 9) : T(1);
      const bool scaled = is_scaled(scale);
      for (index_t c = 0; c < channels; c += kChannels) {
        const index_t count = std::min(kChannels, channels - c);
        pack_kernels<T>().pack_weights(first + c * 9, channels * 9, outputs, count * 9, order.data(), nine.data(), lanes_);
        if (scaled)
          for (index_t i = 0; i < count * 9 * lanes_; ++i) nine[i] /= scale[i % lanes_];
        for (index_t i = 0; i < count; ++i)
          winograd_kernels<T>().weight[m_ / 2 - 1]({nine.data() + i * 9 * lanes_, to + (c + i) * vectors * lanes_, channels * vectors * lanes_});
      }
    });
  }

  void transform_input(const TensorView<const T>& x, const Block& block, const Buffers& b) const {
    const ConvGeometry& g = this->task_.geometry;
    const InputBand band{block.row * m_ - g.pad_top, block.rows * m_ + 2, block.column * m_ - g.pad_left, block.columns * m_ + 2};
    T* packed = b.m;
    T* strip = packed + band.rows * band.columns * lanes_;
    const index_t tiles = block.tiles();
    for (index_t cb = 0; cb < in_blocks_; ++cb) {
      const index_t c = cb * lanes_;
      pack_band(x, block.n, block.group * g.group_in() + c, std::min(lanes_, g.group_in() - c), band, lanes_, packed);
      for (index_t r = 0; r < block.rows; ++r)
        winograd_kernels<T>().input[m_ / 2 - 1]({packed + r * m_ * band.columns * lanes_, band.columns * lanes_, block.columns, strip,
                                                 b.v + (cb * tiles + r * block.columns) * lanes_, v_stride(tiles), lanes_});
    }
  }

  void multiply(const Block& block, index_t pair, const Buffers& b, const TensorView<const T>* residual,
                const TensorView<T>& out) const {
    const ConvGeometry& g = this->task_.geometry;
    const GemmKernels<T>& kernels = gemm_kernels<T>();
    const index_t tiles = block.tiles(), channels = g.group_in();
    const int vectors = pair_vectors(pair);
    const T* weights = b.weights + (block.group * out_blocks_ + 2 * pair) * lanes_ * channels * positions_;
    std::vector<index_t> offsets(static_cast<std::size_t>(in_blocks_));
    for (index_t cb = 0; cb < in_blocks_; ++cb) offsets[cb] = cb * tiles * lanes_;
    const index_t parts = ceil_div(in_blocks_, kChannelsAPart / lanes_), tail = channels - (in_blocks_ - 1) * lanes_;
    const index_t row_tiles = ceil_div(tiles, index_t(vectors == 1 ? kernels.max_single_rows : kernels.max_rows));
    GemmTile<T> tile{};
    tile.a_stride = lanes_;
    tile.b_stride = tile.c_stride = vectors * lanes_;
    tile.c_vector_stride = lanes_;
    for (index_t xi = 0; xi < positions_; ++xi)
      for (index_t part = 0; part < parts; ++part) {
        const index_t cb = part * in_blocks_ / parts, end = (part + 1) * in_blocks_ / parts;
        const bool has_tail = end == in_blocks_ && tail < lanes_;
        tile.offsets = offsets.data() + cb;
        tile.runs = end - cb - has_tail;
        tile.run = lanes_;
        tile.tail_runs = has_tail;
        tile.tail_run = tail;
        tile.b = weights + (xi * channels + cb * lanes_) * vectors * lanes_;
        const index_t size = (tile.runs * lanes_ + tile.tail_runs * tail) * vectors * lanes_;
        // The weights of the next part follow; fetched ahead they must leave room in L1 for these and the tiles.
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
    const index_t y_row = block.columns * m_ * lanes_;
    const index_t row = block.row * m_, column = block.column * m_;
    for (int v = 0; v < vectors; ++v) {
      for (index_t r = 0; r < block.rows; ++r)
        winograd_kernels<T>().output[m_ / 2 - 1]({b.m + r * block.columns * vectors * lanes_ + v * lanes_, m_stride(tiles),
                                                  vectors * lanes_, block.columns, b.y + r * m_ * y_row, y_row});
      const index_t oc = (2 * pair + v) * lanes_;
      const T* scale = b.weights + transformed_size_ + block.group * out_blocks_ * lanes_ + oc;
      if (is_scaled(scale))
        for (index_t i = 0; i < block.rows * m_ * y_row; ++i) b.y[i] *= scale[i % lanes_];
      finish_band(BandSums<T>{b.y, y_row, lanes_, block.n, block.group * g.group_out() + oc, std::min(lanes_, g.group_out() - oc),
                              row, std::min(block.rows * m_, g.out_h - row), column, std::min(block.columns * m_, g.out_w - column)},
                  this->bias_.data(), residual, this->task_.activation, out);
    }
  }

  const index_t m_, positions_;  // side of an output tile; positions in an input tile
  const index_t lanes_, in_blocks_, out_blocks_;
  index_t tiles_h_ = 0, tiles_w_ = 0;
  const index_t transformed_size_;  // of the weights
  index_t block_h_, block_w_;  // tiles of a block
};

}  // namespace

template <class T>
std::unique_ptr<ConvEngine<T>> make_winograd(const ConvTask& task, int tile) {
  return std::make_unique<Winograd<T>>(task, tile);
}
template std::unique_ptr<ConvEngine<float>> make_winograd(const ConvTask&, int);
template std::unique_ptr<ConvEngine<double>> make_winograd(const ConvTask&, int);

}  // namespace fastconv
