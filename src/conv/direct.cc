// Direct convolution on the blocked layout: pixels are broadcast, output channels are the vectors,
// and the reduction runs over (channel block, kernel row, kernel column, channel) without any copy
// of the input but its zero-haloed band. After Georganas et al. 2018, "Anatomy of high-performance
// deep learning convolutions on SIMD architectures".
#include <optional>
#include <vector>

#include "conv/band.h"
#include "conv/engine.h"
#include "conv/pointwise_depthwise.h"
#include "fastconv/cpu.h"
#include "fastconv/thread_pool.h"
#include "kernels/gemm/gemm.h"

namespace fastconv {
namespace {

// Where a kernel finds the input: packed band or the caller's own blocked tensor.
template <class T>
struct Source {
  const T* data;  // pixel that output (0, 0) of the band starts from
  index_t block_stride, row_stride, pixel_stride;
};

// A part with more products than this is summed in several calls of a register tile, each of whole
// runs.
constexpr index_t kLongestPart = 160;

// The runs of a part of the reduction: so many of `run` products, then so many of `tail_run`.
struct Runs {
  const index_t* offsets;
  index_t full, run, tails, tail_run;

  index_t count() const { return full + tails; }
  index_t products(index_t runs) const { return std::min(runs, full) * run + std::max<index_t>(0, runs - full) * tail_run; }
  // How many are summed at a time.
  index_t together() const {
    return products(count()) <= kLongestPart ? count() : std::max<index_t>(1, kLongestPart / std::max(full ? run : 0, tails ? tail_run : 0));
  }
  // Gives the tile the runs [begin, end).
  template <class T>
  void set(index_t begin, index_t end, GemmTile<T>& tile) const {
    tile.offsets = offsets + begin;
    tile.runs = std::min(end, full) - std::min(begin, full);
    tile.run = run;
    tile.tail_runs = std::max(end, full) - std::max(begin, full);
    tile.tail_run = tail_run;
  }
};

template <class T>
class Direct final : public ConvEngine<T>, public Pointwise<T> {
 public:
  explicit Direct(const ConvTask& task)
      : ConvEngine<T>(task),
        lanes_(pack_kernels<T>().lanes),
        reduction_(task.geometry.group_in() * task.geometry.taps()),
        in_block_(std::min<index_t>(task.geometry.group_in(), lanes_)),
        in_blocks_(ceil_div(task.geometry.group_in(), in_block_)),
        tail_(task.geometry.group_in() - (in_blocks_ - 1) * in_block_),
        out_blocks_(ceil_div(task.geometry.group_out(), lanes_)),
        blocks_a_part_(std::max<index_t>(1, kReductionPart / (in_block_ * task.geometry.taps()))) {}

  void run(const TensorView<const T>& x_given, const TensorView<const T>* residual_given,
           const TensorView<T>& out_given) const override {
    TensorView<const T> x = x_given;
    TensorView<T> out = out_given;
    std::optional<TensorView<const T>> residual;
    if (residual_given) residual = *residual_given;
    ConvGeometry g = this->task_.geometry;
    if (g.kernel_h == 1 && g.pad_top == 0 && g.pad_bottom == 0 && g.stride_h > 1) {  // the rows between are never read
      x.sh *= g.stride_h;
      x.h = g.in_h = g.out_h;
      g.stride_h = 1;
    }
    if (g.kernel_w == 1 && g.pad_left == 0 && g.pad_right == 0 && g.stride_w > 1) {
      x.sw *= g.stride_w;
      x.w = g.in_w = g.out_w;
      g.stride_w = 1;
    }
    const bool pointwise = g.taps() == 1 && g.pad_top == 0 && g.pad_bottom == 0 && g.pad_left == 0 && g.pad_right == 0;
    if (pointwise && g.in_h == 1 && g.in_w == 1 && x.n > 1) {  // a linear layer: samples are the pixels
      const auto fold = [](auto& view) {
        view.w = view.n;
        view.sw = view.sn;
        view.n = 1;
      };
      g.in_w = g.out_w = x.n;
      g.stride_w = 1;
      fold(x);
      fold(out);
      if (residual) fold(*residual);
    }
    execute(g, x, residual ? &*residual : nullptr, out);
  }

  bool computes_pieces() const override {
    const ConvGeometry& g = this->task_.geometry;
    return g.taps() == 1 && g.groups == 1 && g.stride_h == 1 && g.stride_w == 1 && g.pad_top == 0 && g.pad_bottom == 0 &&
           g.pad_left == 0 && g.pad_right == 0 && in_block_ == lanes_;
  }

  void pair_rows(const TensorView<const T>& x, index_t n, index_t pair, index_t row, index_t rows, T* out) const override {
    const ConvGeometry& g = this->task_.geometry;
    const Source<T> source{x.channel(n, 0) + row * x.sh, x.sb, x.sh, x.sw};
    TensorView<T> piece = blocked_view<T>(nullptr, 1, g.out_channels, rows, g.out_w, lanes_);
    piece.data = out - 2 * pair * piece.sb;
    const BandSums<T> band{nullptr, 0, 0, 0, 0, 0, 0, rows, 0, g.out_w};
    multiply(g, source, this->packed_.data(), nullptr, 0, pair, pair + 1, band, nullptr, piece);
  }

  std::size_t workspace_bytes() const override {
    const ConvGeometry& g = this->task_.geometry;
    const Extent packed = largest_band(false), read = largest_band(true);
    return std::max(workspace_bytes(g, packed.rows, packed.columns, false),
                    workspace_bytes(g, read.rows, read.columns, true));
  }

 private:
  std::unique_ptr<ConvEngine<T>> clone() const override { return std::make_unique<Direct>(*this); }
  index_t packed_size() const override { return this->task_.geometry.groups * out_blocks_ * lanes_ * reduction_; }
  void prepare() override { order_reduction(); }
  void pack_weights(const T* weight, T* packed) override { pack_all(weight, packed); }

  // Packed weights are [group][pair of output blocks][k][vectors of the pair]; k runs in the order
  // in which kernels read the input: channel block, kernel row, kernel column, channel in its
  // block. Parts of the reduction are contiguous in both orders.
  index_t part_begin(index_t block) const { return block * in_block_ * this->task_.geometry.taps(); }
  index_t part_end(index_t block) const { return std::min(part_begin(block + blocks_a_part_), reduction_); }

  void order_reduction() {
    const ConvGeometry& g = this->task_.geometry;
    position_.resize(static_cast<std::size_t>(reduction_));
    for (index_t c = 0, k = 0; c < g.group_in(); ++c) {
      const index_t block = c / in_block_, width = block == in_blocks_ - 1 ? tail_ : in_block_;
      const index_t first = part_begin(block) - part_begin(block / blocks_a_part_ * blocks_a_part_);
      for (index_t tap = 0; tap < g.taps(); ++tap, ++k) position_[k] = first + tap * width + c % in_block_;
    }
  }

  // One part (that starts with channel block `part`) of the weights of one pair: [k][vectors of the
  // pair].
  void pack_part(const T* weight, index_t group, index_t pair, index_t part, T* to) const {
    const index_t vectors = pair_vectors(pair), begin = part_begin(part), count = part_end(part) - begin;
    for (index_t v = 0; v < vectors; ++v) {
      const index_t first = (2 * pair + v) * lanes_;
      pack_kernels<T>().pack_weights(weight + (group * this->task_.geometry.group_out() + first) * reduction_ + begin, reduction_,
                                     std::min(lanes_, this->task_.geometry.group_out() - first), count, position_.data() + begin,
                                     to + v * lanes_, vectors * lanes_);
    }
  }

  void pack_all(const T* weight, T* packed) const {
    const index_t pairs = ceil_div(out_blocks_, 2);
    const auto pack_pair = [&](index_t task) {
      const index_t group = task / pairs, pair = task % pairs;
      T* to = packed + (group * out_blocks_ + 2 * pair) * lanes_ * reduction_;
      for (index_t part = 0; part < in_blocks_; part += blocks_a_part_)
        pack_part(weight, group, pair, part, to + part_begin(part) * pair_vectors(pair) * lanes_);
    };
    constexpr index_t kWorthThreads = 16384;
    if (packed_size() >= kWorthThreads) return parallel_for(this->task_.geometry.groups * pairs, pack_pair);
    for (index_t task = 0; task < this->task_.geometry.groups * pairs; ++task) pack_pair(task);
  }

  int pair_vectors(index_t pair) const { return 2 * pair + 1 < out_blocks_ ? 2 : 1; }

  static index_t input_size(index_t out, index_t stride, index_t kernel, index_t dilation) {
    return (out - 1) * stride + (kernel - 1) * dilation + 1;
  }

  // Bytes of the input that a band of output pixels reads. A stride of 1x1 kernels leaves pixels
  // out.
  static std::size_t band_bytes(const ConvGeometry& g, index_t rows, index_t columns) {
    const index_t pixels = g.taps() == 1 ? rows * columns
                                         : input_size(rows, g.stride_h, g.kernel_h, g.dilation_h) *
                                               input_size(columns, g.stride_w, g.kernel_w, g.dilation_w);
    return static_cast<std::size_t>(g.group_in() * pixels) * sizeof(T);
  }

  // Pairs of output blocks that take a part of the reduction before the next one's turn: several
  // where a band of x, read in place, exceeds the cache, and where the weights of one pixel are
  // streamed.
  static index_t pairs_together(const ConvGeometry& g, index_t rows, index_t columns, bool in_place) {
    if (rows * columns == 1) return GemmKernels<T>::kMaxPanels;
    return in_place && band_bytes(g, rows, columns) > cache_sizes().l2 / 2 ? kPairs : 1;
  }

  std::size_t workspace_bytes(const ConvGeometry& g, index_t rows, index_t columns, bool in_place) const {
    const index_t pairs = pairs_together(g, rows, columns, in_place);
    const index_t in = in_place ? 0 : in_blocks_ * in_block_ * input_size(rows, g.stride_h, g.kernel_h, g.dilation_h) *
                                          input_size(columns, g.stride_w, g.kernel_w, g.dilation_w);
    return static_cast<std::size_t>(ceil_div(in, lanes_) * lanes_ + part_size() + pairs * 2 * lanes_ * rows * columns + lanes_) * sizeof(T);
  }

  index_t part_size() const { return this->task_.one_call ? 2 * lanes_ * std::min(part_begin(blocks_a_part_), reduction_) : 0; }

  struct Extent {
    index_t rows, columns;
  };

  // The largest band that takes no more than about half of L2. More of a 1x1 convolution that reads
  // x where it is: then several pairs of output blocks take each part of the reduction, and only
  // that part has to stay (see pairs_together).
  Extent largest_band(bool in_place) const {
    const ConvGeometry& g = this->task_.geometry;
    const std::size_t budget = in_place && g.taps() == 1 ? 2 * cache_sizes().l2 : cache_sizes().l2 / 2;
    Extent band{g.out_h, g.out_w};
    const auto too_large = [&] {
      const std::size_t sums = static_cast<std::size_t>(2 * lanes_ * band.rows * band.columns) * sizeof(T);
      return band_bytes(g, band.rows, band.columns) + sums > budget;
    };
    while (band.rows > 1 && too_large()) band.rows = ceil_div(band.rows, 2);
    while (band.columns > 112 && too_large()) band.columns = ceil_div(band.columns, 2);
    return band;
  }

  void execute(const ConvGeometry& g, const TensorView<const T>& x, const TensorView<const T>* residual,
               const TensorView<T>& out) const {
    const index_t threads = num_threads(), pairs = ceil_div(out_blocks_, 2);
    // Pixels that are less than a cache line and no neighbours are packed: each pair would fetch
    // the lines, and use a part of them.
    const bool apart = x.sw != lanes_ && g.taps() == 1 && pairs >= kWorthPacking && sizeof(T) * lanes_ < 64;
    const bool in_place = !apart && g.pad_top == 0 && g.pad_bottom == 0 && g.pad_left == 0 && g.pad_right == 0 && x.block == lanes_ &&
                          x.lane == 0 && in_block_ == lanes_ && (g.groups == 1 || g.group_in() % lanes_ == 0);
    const Extent most = largest_band(in_place);
    index_t columns = g.out_w == this->task_.geometry.out_w ? most.columns : std::min<index_t>(g.out_w, 256);
    // Enough tasks for every thread: rows are divided first where images are wide, output channels
    // where they are small; both where that leaves too few. Signals have one row: their columns are
    // divided where there are too few output channels.
    const index_t wanted = threads == 1 ? 1 : 3 * threads;
    if (g.out_h == 1 && g.taps() > 1) {
      const index_t least = ceil_div(wanted, std::max<index_t>(1, x.n * g.groups * pairs));
      columns = std::min(columns, std::max(kLeastColumns, ceil_div(g.out_w, least)));
    }
    const index_t across = ceil_div(g.out_w, columns);
    index_t bands = ceil_div(g.out_h, std::min(most.rows, g.out_h));
    const index_t others = x.n * g.groups * across * (g.out_w >= kWide ? 1 : pairs);
    if (others * bands < wanted) bands = divide_rows(g.out_h, bands, ceil_div(wanted, others), threads);
    const index_t rows = ceil_div(g.out_h, bands), units = x.n * g.groups * bands * across;
    const index_t together = pairs_together(g, rows, columns, in_place);
    const index_t step = rows * columns == 1 ? together : 1, steps = ceil_div(pairs, step);  // of pairs, in tasks
    const index_t parts = units >= wanted ? 1 : std::min(steps, ceil_div(wanted, units));
    const std::size_t bytes = workspace_bytes(g, rows, columns, in_place);
    // Borrowed weights are packed first, unless each is used in one band or two: then part by part
    // where they are used, which spares the trip through memory.
    const bool pack_ahead = this->borrowed_ && x.n * bands * across > 2;
    const Scratch ahead(pack_ahead ? static_cast<std::size_t>(packed_size()) * sizeof(T) : 0);
    if (pack_ahead) pack_all(this->borrowed_, ahead.as<T>());
    const T* weights = pack_ahead ? ahead.as<T>() : this->packed_.data();
    parallel(units * parts, [&](TaskQueue& queue) {
      const FlushDenormals flush(this->flush_denormals());
      Scratch scratch(bytes);
      T* sums = scratch.as<T>();
      T* packed_part = sums + together * 2 * lanes_ * rows * columns;
      T* packed_input = packed_part + part_size();
      index_t packed_unit = -1;
      for (index_t begin, end; queue.next(begin, end);)
        for (index_t task = begin; task < end; ++task) {
          const index_t unit = task / parts, part = task % parts;
          const index_t column = unit % across * columns, band_index = unit / across % bands, row = band_index * g.out_h / bands;
          const index_t group = unit / across / bands % g.groups, n = unit / across / bands / g.groups;
          const index_t band_rows = (band_index + 1) * g.out_h / bands - row, band_columns = std::min(columns, g.out_w - column);
          Source<T> source;
          const index_t y = row * g.stride_h - g.pad_top, left = column * g.stride_w - g.pad_left;
          if (in_place) {
            source = {x.channel(n, group * g.group_in()) + y * x.sh + left * x.sw, x.sb, x.sh, x.sw};
          } else {
            const InputBand band{y, input_size(band_rows, g.stride_h, g.kernel_h, g.dilation_h), left,
                                 input_size(band_columns, g.stride_w, g.kernel_w, g.dilation_w)};
            if (unit != packed_unit) pack_band(x, n, group * g.group_in(), g.group_in(), band, in_block_, packed_input);
            packed_unit = unit;
            source = {packed_input, band.rows * band.columns * in_block_, band.columns * in_block_, in_block_};
          }
          const BandSums<T> band{sums, 0, 0, n, 0, 0, row, band_rows, column, band_columns};
          const index_t end_pair = std::min(pairs, (part + 1) * steps / parts * step);
          for (index_t pair = part * steps / parts * step; pair < end_pair; pair += together)
            multiply(g, source, weights, packed_part, group, pair, std::min(pair + together, end_pair), band, residual, out);
        }
    });
  }

  // Where a pair of output blocks leaves its sums over a band, and how they are swept.
  struct Pair {
    GemmTile<T> tile;
    int vectors;
    index_t rows, columns, a_row_stride, c_row_stride;
    bool in_place;  // in the result itself
    bool fetch;     // what the sums will overwrite
  };

  // The pairs [begin, end) over a band.
  void multiply(const ConvGeometry& g, const Source<T>& source, const T* weights, T* packed_part, index_t group, index_t begin,
                index_t end, const BandSums<T>& band, const TensorView<const T>* residual, const TensorView<T>& out) const {
    Pair pairs[kPairs];
    const index_t size = 2 * lanes_ * band.rows * band.columns;
    for (index_t i = begin; i < end; ++i) pairs[i - begin] = place(g, source, group, i, band, band.data + (i - begin) * size, residual, out);
    std::vector<index_t> offsets;
    const bool stream = weights && band.rows * band.columns == 1 && pair_vectors(begin) == 2;
    if (stream && pair_vectors(end - 1) == 1) {
      multiply(g, source, weights, packed_part, group, end - 1, end, band, residual, out);
      --end;
    }
    for (index_t block = 0; block < in_blocks_; block += blocks_a_part_) {
      const index_t stop = std::min(block + blocks_a_part_, in_blocks_);
      const Runs runs = runs_of(g, source, block, stop, offsets);
      // Calls f(elements of its weights, whether it is the last) for each stretch of runs that is
      // summed at a time.
      const auto for_each_sum = [&](Pair& p, const T* b, const auto& f) {
        const index_t count = runs.count(), step = runs.together();
        for (index_t first = 0, last; first < count; first = last) {
          last = std::min(first + step, count);
          runs.set(first, last, p.tile);
          p.tile.b = b + runs.products(first) * p.tile.b_stride;
          p.tile.accumulate = block > 0 || first > 0;
          p.tile.finish = p.in_place && stop == in_blocks_ && last == count;
          f((runs.products(last) - runs.products(first)) * p.tile.b_stride, last == count);
        }
      };
      const auto part_of = [&](index_t pair, index_t first) {
        return weights + ((group * out_blocks_ + 2 * pair) * reduction_ + part_begin(first) * pair_vectors(pair)) * lanes_;
      };
      if (stream) {
        pairs[0].tile.panel_stride = 2 * lanes_ * reduction_;
        for_each_sum(pairs[0], part_of(begin, block), [&](index_t, bool) { gemm_kernels<T>().panels[end - begin - 1](pairs[0].tile); });
        continue;
      }
      for (index_t i = begin; i < end; ++i) {
        Pair& p = pairs[i - begin];
        if (!weights) pack_part(this->borrowed_, group, i, block, packed_part);
        const T* next = nullptr;
        if (weights && i + 1 < end) next = part_of(i + 1, block);
        else if (weights && stop < in_blocks_) next = part_of(begin, stop);
        else if (weights && 2 * end < out_blocks_) next = part_of(end, 0);
        for_each_sum(p, weights ? part_of(i, block) : packed_part,
                     [&](index_t size, bool last) { sweep(p, last || !weights ? next : p.tile.b + size, size); });
      }
    }
    for (index_t i = begin; i < end; ++i) finish(g, group, i, pairs[i - begin], band, residual, out);
  }

  Pair place(const ConvGeometry& g, const Source<T>& source, index_t group, index_t pair, const BandSums<T>& band, T* sums,
             const TensorView<const T>* residual, const TensorView<T>& out) const {
    const index_t oc = group * g.group_out() + 2 * pair * lanes_;
    const auto same_layout = [&](const TensorView<const T>& view) {
      return view.block == lanes_ && view.lane == 0 && view.sb == out.sb && view.sh == out.sh && view.sw == out.sw;
    };
    const bool aliased = residual && residual->data == out.data && (reduction_ > part_end(0) || reduction_ > kLongestPart);  // out would hold partial sums
    Pair p{};
    p.vectors = pair_vectors(pair);
    p.in_place = same_layout(out) && (g.groups == 1 || g.group_out() % lanes_ == 0) && (!residual || same_layout(*residual)) && !aliased;
    GemmTile<T>& tile = p.tile;
    if (p.in_place) {
      const Clamp<T> clamp = this->epilogue().clamp();
      tile.c = out.channel(band.n, oc) + band.y * out.sh + band.x * out.sw;
      p.c_row_stride = out.sh;
      tile.c_stride = out.sw;
      tile.c_vector_stride = out.sb;
      tile.residual = residual ? residual->channel(band.n, oc) + band.y * residual->sh + band.x * residual->sw : nullptr;
      tile.bias = this->bias_.data() + oc;
      tile.low = clamp.low;
      tile.high = clamp.high;
      // Pixels that lie apart, as those of a phase of a transposed convolution do: the hardware
      // does not foresee where the next ones go.
      p.fetch = out.sw > lanes_;
    } else {
      tile.c = sums;
      tile.c_stride = lanes_;
      p.c_row_stride = band.columns * lanes_;
      tile.c_vector_stride = band.rows * band.columns * lanes_;
    }
    tile.b_stride = p.vectors * lanes_;
    tile.a = source.data;
    tile.a_stride = source.pixel_stride * g.stride_w;
    p.a_row_stride = source.row_stride * g.stride_h;
    // Rows whose pixels follow one another at the same distance are one long row.
    p.rows = band.rows;
    p.columns = band.columns;
    if (p.a_row_stride == p.columns * tile.a_stride && p.c_row_stride == p.columns * tile.c_stride) {
      p.columns *= p.rows;
      p.rows = 1;
    }
    return p;
  }

  // What the register tiles could not do.
  void finish(const ConvGeometry& g, index_t group, index_t pair, const Pair& p, BandSums<T> band,
              const TensorView<const T>* residual, const TensorView<T>& out) const {
    const Epilogue<T> epilogue = this->epilogue();
    const GemmTile<T>& tile = p.tile;
    const auto channel = [&](int v) { return group * g.group_out() + (2 * pair + v) * lanes_; };
    if (p.in_place) {
      if (epilogue.is_clamp()) return;
      const bool apart = tile.c_stride != lanes_;  // pixels that are samples lie a whole image apart
      const index_t runs = apart ? p.columns : 1, run = apart ? 1 : p.columns;
      for (int v = 0; v < p.vectors; ++v)
        for (index_t r = 0; r < p.rows; ++r)
          for (index_t i = 0; i < runs; ++i)
            epilogue.apply_to_pixels(channel(v), lanes_, tile.c + v * tile.c_vector_stride + r * p.c_row_stride + i * tile.c_stride, run);
      return;
    }
    band.data = tile.c;
    band.column_stride = lanes_;
    band.row_stride = band.columns * lanes_;
    for (int v = 0; v < p.vectors; ++v) {
      band.oc = channel(v);
      band.channels = std::min(lanes_, g.group_out() - (2 * pair + v) * lanes_);
      finish_band(band, this->bias_.data(), residual, epilogue, out);
      band.data += tile.c_vector_stride;
    }
  }

  // The runs of the reduction over channel blocks [begin, end). A full block's columns of one
  // kernel row are contiguous unless dilated; a partial block's are not.
  Runs runs_of(const ConvGeometry& g, const Source<T>& source, index_t begin, index_t end, std::vector<index_t>& offsets) const {
    offsets.clear();
    const bool joined = g.dilation_w == 1 && source.pixel_stride == in_block_;
    const bool has_tail = end == in_blocks_ && tail_ < in_block_;
    for (index_t block = begin; block < end; ++block) {
      const bool split = !joined || (has_tail && block == end - 1);
      for (index_t ky = 0; ky < g.kernel_h; ++ky)
        for (index_t kx = 0; kx < (split ? g.kernel_w : 1); ++kx)
          offsets.push_back(block * source.block_stride + ky * g.dilation_h * source.row_stride + kx * g.dilation_w * source.pixel_stride);
    }
    const index_t tails = has_tail ? g.taps() : 0;
    return {offsets.data(), static_cast<index_t>(offsets.size()) - tails, joined ? g.kernel_w * in_block_ : in_block_, tails, tail_};
  }

  // All pixels of the band, in register tiles: of one row, or of two rows where rows are short.
  // `next` are the weights that are needed next, about `size` of them: each tile fetches its share
  // into the cache.
  void sweep(const Pair& p, const T* next, index_t size) const {
    GemmTile<T> tile = p.tile;
    const index_t rows = p.rows, columns = p.columns;
    const GemmKernels<T>& kernels = gemm_kernels<T>();
    const T* a = tile.a;
    T* c = tile.c;
    const T* residual = tile.residual;
    const auto at = [&](index_t row, index_t column) {
      tile.a = a + row * p.a_row_stride + column * tile.a_stride;
      const index_t out = row * p.c_row_stride + column * tile.c_stride;
      tile.c = c + out;
      tile.residual = residual ? residual + out : nullptr;
    };
    const index_t max_rows = p.vectors == 1 ? kernels.max_single_rows : kernels.max_rows;
    index_t row = 0;
    if (2 * columns <= max_rows) {
      tile.a_half_stride = p.a_row_stride;
      tile.c_half_stride = p.c_row_stride;
      for (; row + 2 <= rows; row += 2) {
        at(row, 0);
        tile.prefetch = next ? next + row * size / rows : tile.b;
        kernels.tile[1][columns - 1][p.vectors - 1](tile);
      }
    }
    const index_t tiles = ceil_div(columns, max_rows);
    for (; row < rows; ++row)
      for (index_t i = 0; i < tiles; ++i) {
        const index_t begin = i * columns / tiles, end = (i + 1) * columns / tiles;
        at(row, begin);
        if (p.fetch)
          for (int v = 0; v < p.vectors; ++v)
            for (index_t j = 0; j < end - begin; ++j) fetch_to_write(tile.c + v * tile.c_vector_stride + j * tile.c_stride);
        tile.prefetch = next ? next + (row * tiles + i) * size / (rows * tiles) + (rows * tiles == 1 ? size : 0) : tile.b;
        kernels.tile[0][end - begin - 1][p.vectors - 1](tile);
      }
  }

  static constexpr index_t kLeastColumns = 64;  // of signals, that are worth a task of their own
  static constexpr index_t kPairs = 4;         // at most, that take a part of the reduction together
  static constexpr index_t kWorthPacking = 8;  // pairs that read the same input

  const index_t lanes_, reduction_;
  const index_t in_block_, in_blocks_, tail_;  // channels a block, blocks, channels of the last block
  const index_t out_blocks_;
  const index_t blocks_a_part_;  // channel blocks whose products are summed before they join the total
  std::vector<index_t> position_;  // of weight k within its packed part
};

}  // namespace

template <class T>
std::unique_ptr<ConvEngine<T>> make_direct(const ConvTask& task) {
  if (spans_groups(task.geometry, pack_kernels<T>().lanes)) return make_grouped<T>(task);
  return std::make_unique<Direct<T>>(task);
}
template std::unique_ptr<ConvEngine<float>> make_direct(const ConvTask&);
template std::unique_ptr<ConvEngine<double>> make_direct(const ConvTask&);

}  // namespace fastconv
