// Direct convolution with few channels a group: a vector of output channels spans several groups.
// One task is one vector over a band of rows. Input vectors have the same channels of each of these
// groups: blocked ones as they are where the groups fit them, others packed.
#include <vector>

#include "conv/band.h"
#include "conv/engine.h"
#include "fastconv/cpu.h"
#include "fastconv/thread_pool.h"
#include "kernels/grouped/grouped.h"

namespace fastconv {
namespace {

template <class T>
class Grouped final : public ConvEngine<T> {
 public:
  explicit Grouped(const ConvTask& task)
      : ConvEngine<T>(task),
        lanes_(pack_kernels<T>().lanes) {
    const ConvGeometry& g = task.geometry;
    for (index_t oc = 0; oc < g.out_channels; oc += lanes_) {
      Block block{};
      block.channels = std::min(lanes_, g.out_channels - oc);
      block.group = oc / g.group_out();
      block.groups = (oc + block.channels - 1) / g.group_out() - block.group + 1;
      block.width = std::min(lanes_ / block.groups, g.group_in());
      block.first.resize(static_cast<std::size_t>(lanes_));
      for (index_t l = 0; l < block.channels; ++l)
        block.first[l] = static_cast<std::int32_t>(((oc + l) / g.group_out() - block.group) * block.width);
      parts_ = std::max(parts_, ceil_div(g.group_in(), block.width));
      blocks_.push_back(std::move(block));
    }
    fit_image();
  }

  void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const override {
    const ConvGeometry& g = this->task_.geometry;
    const index_t blocks = std::ssize(blocks_);
    const bool wide = g.out_w >= kWide;
    const index_t threads = num_threads(), wanted = threads == 1 ? 1 : 3 * threads, others = out.n * (wide ? 1 : blocks);
    index_t bands = ceil_div(g.out_h, rows_);
    if (others * bands < wanted) bands = divide_rows(g.out_h, bands, ceil_div(wanted, others), threads);
    parallel(out.n * blocks * bands, [&](TaskQueue& queue) {
      const FlushDenormals flush(this->flush_denormals());
      Scratch scratch(workspace_bytes());
      for (index_t begin, end; queue.next(begin, end);)
        for (index_t task = begin; task < end; ++task) {
          const index_t n = task / (bands * blocks), rest = task % (bands * blocks);
          const index_t band = wide ? rest / blocks : rest % bands, block = wide ? rest % blocks : rest / bands;
          const index_t row = band * g.out_h / bands;
          one_band(x, residual, out, n, block, row, (band + 1) * g.out_h / bands - row, scratch.as<T>());
        }
    });
  }

  std::size_t workspace_bytes() const override { return static_cast<std::size_t>(band_size(rows_)) * sizeof(T); }

 private:
  std::unique_ptr<ConvEngine<T>> clone() const override { return std::make_unique<Grouped>(*this); }
  index_t packed_size() const override { return std::ssize(blocks_) * block_weights(); }
  bool always_packs() const override { return true; }

  // [block][part][kernel row][channel of the part][kernel column][lanes]
  void pack_weights(const T* weight, T* packed) override {
    const ConvGeometry& g = this->task_.geometry;
    std::fill_n(packed, packed_size(), T(0));
    for (index_t c = 0; c < g.out_channels; ++c) {
      const index_t width = blocks_[c / lanes_].width;
      T* to = packed + c / lanes_ * block_weights() + c % lanes_;
      for (index_t part = 0; part < g.group_in(); part += width)
        for (index_t ky = 0; ky < g.kernel_h; ++ky)
          for (index_t i = part; i < std::min(part + width, g.group_in()); ++i)
            for (index_t kx = 0; kx < g.kernel_w; ++kx, to += lanes_)
              *to = weight[((c * g.group_in() + i) * g.kernel_h + ky) * g.kernel_w + kx];
    }
  }

  void fit_image() override {
    const ConvGeometry& g = this->task_.geometry;
    in_columns_ = input_size(g.out_w, g.stride_w, g.kernel_w, g.dilation_w);
    // Bands whose input and sums take about a quarter of L2.
    const index_t budget = static_cast<index_t>(cache_sizes().l2 / 4 / sizeof(T));
    rows_ = g.out_h;
    while (rows_ > 1 && band_size(rows_) > budget) rows_ = ceil_div(rows_, 2);
  }

  // A vector of output channels.
  struct Block {
    index_t channels;       // less than lanes in the last one
    index_t group, groups;  // the first of its groups, and how many they are
    index_t width;          // input channels of each group in a vector
    std::vector<std::int32_t> first;
  };

  static index_t input_size(index_t out, index_t stride, index_t kernel, index_t dilation) {
    return (out - 1) * stride + (kernel - 1) * dilation + 1;
  }
  index_t in_rows(index_t rows) const {
    const ConvGeometry& g = this->task_.geometry;
    return input_size(rows, g.stride_h, g.kernel_h, g.dilation_h);
  }
  index_t band_size(index_t rows) const {
    return (parts_ * in_rows(rows) * in_columns_ + rows * this->task_.geometry.out_w + 1) * lanes_;
  }
  index_t block_weights() const { return this->task_.geometry.group_in() * this->task_.geometry.taps() * lanes_; }

  void one_band(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out, index_t n,
                index_t index, index_t row, index_t rows, T* scratch) const {
    const ConvGeometry& g = this->task_.geometry;
    const Block& block = blocks_[index];
    const index_t oc = index * lanes_;
    GroupedBand<T> d{};
    d.y = read_band(x, n, block, {row * g.stride_h - g.pad_top, in_rows(rows), -g.pad_left, in_columns_}, scratch, d);
    d.inputs = g.group_in();
    d.width = block.width;
    d.first = block.first.data();
    d.rows = rows;
    d.columns = g.out_w;
    d.kernel_h = g.kernel_h;
    d.kernel_w = g.kernel_w;
    d.stride_h = g.stride_h;
    d.stride_w = g.stride_w;
    d.dilation_h = g.dilation_h;
    d.dilation_w = g.dilation_w;
    d.weights = this->packed_.data() + index * block_weights();
    const Epilogue<T> epilogue = this->epilogue();
    const auto blocked = [&](const TensorView<const T>& view) {  // pixels of one row lie together
      return view.block == lanes_ && view.lane == 0 && view.sw == lanes_ && view.sh == out.sh;
    };
    const bool in_place = blocked(out) && (!residual || blocked(*residual));
    if (in_place) {
      d.y = out.channel(n, oc) + row * out.sh;
      d.y_row_stride = out.sh;
      d.bias = this->bias_.data() + oc;
      d.residual = residual ? residual->channel(n, oc) + row * residual->sh : nullptr;
    } else {
      d.y_row_stride = g.out_w * lanes_;
      d.bias = this->bias_.data() + g.out_channels;  // zeros
    }
    d.y_column_stride = lanes_;
    d.low = clamp_of<T>(in_place ? epilogue.activation : Activation::none).low;
    d.high = clamp_of<T>(in_place ? epilogue.activation : Activation::none).high;
    grouped_kernels<T>().run(d);
    if (!in_place)
      finish_band(BandSums<T>{d.y, d.y_row_stride, lanes_, n, oc, block.channels, row, rows, 0, g.out_w}, this->bias_.data(),
                  residual, epilogue, out);
    else if (!epilogue.is_clamp())
      for (index_t r = 0; r < rows; ++r) epilogue.apply_to_pixels(oc, lanes_, d.y + r * d.y_row_stride, g.out_w);
  }

  // Where the kernel finds its input: in x itself, or packed into scratch, of which what is left is
  // returned.
  T* read_band(const TensorView<const T>& x, index_t n, const Block& block, const InputBand& band, T* scratch,
               GroupedBand<T>& d) const {
    const ConvGeometry& g = this->task_.geometry;
    const index_t c0 = block.group * g.group_in(), right = band.x + band.columns - x.w;
    const bool whole = block.width == g.group_in();  // all channels of the groups, which follow one another
    const bool fits = x.block == lanes_ && x.lane == 0 && x.sw == lanes_ && c0 % lanes_ == 0 && (whole || block.width == lanes_);
    const bool edges = g.kernel_w == 3 && g.dilation_w == 1 && g.stride_w <= 2 && band.x >= -1 && right <= 1;
    if (fits && (edges || (band.x >= 0 && right <= 0))) {
      d.x = x.channel(n, c0) + band.y * x.sh + band.x * x.sw;
      d.x_row_stride = x.sh;
      d.x_part_stride = x.sb;
      d.top = -band.y;
      d.bottom = x.h - band.y;
      d.zero_left = band.x < 0;
      d.zero_right = right > 0;
      return scratch;
    }
    d.x = scratch;
    d.x_row_stride = band.columns * lanes_;
    d.x_part_stride = band.rows * d.x_row_stride;
    d.bottom = band.rows;
    for (index_t c = 0; c < g.group_in(); c += block.width, scratch += d.x_part_stride) {
      const index_t groups = whole ? 1 : block.groups;
      const index_t channels = whole ? block.groups * g.group_in() : std::min(block.width, g.group_in() - c);
      for (index_t i = 0; i < groups; ++i)
        pack_band(x, n, c0 + i * g.group_in() + c, channels, band, lanes_, scratch + i * block.width);
    }
    return scratch;
  }

  const index_t lanes_;
  index_t in_columns_ = 0;
  std::vector<Block> blocks_;
  index_t parts_ = 0;  // the most that a block's input has
  index_t rows_ = 1;
};

}  // namespace

template <class T>
std::unique_ptr<ConvEngine<T>> make_grouped(const ConvTask& task) {
  return std::make_unique<Grouped<T>>(task);
}
template std::unique_ptr<ConvEngine<float>> make_grouped(const ConvTask&);
template std::unique_ptr<ConvEngine<double>> make_grouped(const ConvTask&);

}  // namespace fastconv
