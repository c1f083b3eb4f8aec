// Depthwise convolution: groups == in_channels, any channel multiplier. One task is one block of output channels over a
// band of rows; with a multiplier m the input is packed so that lane i holds channel i / m.
#include "conv/band.h"
#include "conv/engine.h"
#include "fastconv/cpu.h"
#include "fastconv/thread_pool.h"
#include "kernels/depthwise/depthwise.h"

namespace fastconv {
namespace {

template <class T>
class Depthwise final : public ConvEngine<T> {
 public:
  Depthwise(const ConvGeometry& g, const ConvOptions& options, const T* weight, const T* bias)
      : ConvEngine<T>(g, options, bias),
        lanes_(pack_kernels<T>().lanes),
        blocks_(ceil_div(g.out_channels, lanes_)),
        packed_(static_cast<std::size_t>(blocks_ * lanes_ * g.taps()), options.arena.get()) {
    std::fill_n(packed_.data(), packed_.size(), T(0));
    for (index_t c = 0; c < g.out_channels; ++c)
      for (index_t tap = 0; tap < g.taps(); ++tap)
        packed_.data()[(c / lanes_ * g.taps() + tap) * lanes_ + c % lanes_] = weight[c * g.taps() + tap];
    in_columns_ = (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1;
    // Bands whose input and sums take about a quarter of L2.
    const index_t budget = static_cast<index_t>(cache_sizes().l2 / 4 / sizeof(T));
    rows_ = g.out_h;
    while (rows_ > 1 && band_size(rows_) > budget) rows_ = ceil_div(rows_, 2);
  }

  void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const override {
    const ConvGeometry& g = this->geometry_;
    index_t rows = rows_;
    const index_t wanted = num_threads() == 1 ? 1 : 3 * num_threads();
    while (out.n * blocks_ * ceil_div(g.out_h, rows) < wanted && rows > 4) rows = ceil_div(rows, 2);
    const index_t bands = ceil_div(g.out_h, rows);
    parallel(out.n * blocks_ * bands, [&](TaskQueue& queue) {
      const FlushDenormals flush(this->flush_denormals());
      Scratch scratch(workspace_bytes());
      for (index_t begin, end; queue.next(begin, end);)
        for (index_t task = begin; task < end; ++task) {
          const index_t row = task % bands * rows;
          one_band(x, residual, out, task / bands / blocks_, task / bands % blocks_, row, std::min(rows, g.out_h - row),
                   scratch.as<T>());
        }
    });
  }

  std::size_t packed_bytes() const override { return packed_.bytes(); }
  std::size_t workspace_bytes() const override { return static_cast<std::size_t>(band_size(rows_)) * sizeof(T); }

 private:
  index_t in_rows(index_t rows) const {
    const ConvGeometry& g = this->geometry_;
    return (rows - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
  }
  index_t band_size(index_t rows) const { return (in_rows(rows) * in_columns_ + rows * this->geometry_.out_w + 1) * lanes_; }

  void one_band(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out, index_t n,
                index_t block, index_t row, index_t rows, T* scratch) const {
    const ConvGeometry& g = this->geometry_;
    const index_t oc = block * lanes_, channels = std::min(lanes_, g.out_channels - oc);
    const index_t multiplier = g.group_out();
    const InputBand band{row * g.stride_h - g.pad_top, in_rows(rows), -g.pad_left, in_columns_};
    if (multiplier == 1) {
      pack_band(x, n, oc, channels, band, lanes_, scratch);
    } else {
      for (index_t c = 0; c < channels; ++c) pack_lane(x, n, (oc + c) / multiplier, band, scratch + c);
    }
    const Activation activation = this->options_.activation;
    const auto blocked = [&](const TensorView<const T>& view) {  // pixels of one row lie together
      return view.block == lanes_ && view.lane == 0 && view.sw == lanes_ && view.sh == out.sh;
    };
    const bool in_place = blocked(out) && (!residual || blocked(*residual));
    DepthwiseBand<T> d{};
    d.x = scratch;
    d.x_row_stride = in_columns_ * lanes_;
    d.rows = rows;
    d.columns = g.out_w;
    d.kernel_h = g.kernel_h;
    d.kernel_w = g.kernel_w;
    d.stride_h = g.stride_h;
    d.stride_w = g.stride_w;
    d.dilation_h = g.dilation_h;
    d.dilation_w = g.dilation_w;
    d.weights = packed_.data() + oc * g.taps();
    if (in_place) {
      d.y = out.channel(n, oc) + row * out.sh;
      d.y_row_stride = out.sh;
      d.y_column_stride = out.sw;
      d.bias = this->bias_.data() + oc;
      d.residual = residual ? residual->channel(n, oc) + row * residual->sh : nullptr;
      d.low = clamp_of<T>(activation).low;
      d.high = clamp_of<T>(activation).high;
      depthwise_kernels<T>().run(d);
      if (!is_clamp(activation))
        for (index_t r = 0; r < rows; ++r) activate_in_place(activation, d.y + r * d.y_row_stride, g.out_w * lanes_);
      return;
    }
    d.y = scratch + band.rows * in_columns_ * lanes_;
    d.y_row_stride = g.out_w * lanes_;
    d.y_column_stride = lanes_;
    d.bias = zeros();
    d.low = clamp_of<T>(Activation::none).low;
    d.high = clamp_of<T>(Activation::none).high;
    depthwise_kernels<T>().run(d);
    finish_band(BandSums<T>{d.y, d.y_row_stride, lanes_, n, oc, channels, row, rows, 0, g.out_w}, this->bias_.data(), residual,
                activation, out);
  }

  // The padding behind the bias.
  const T* zeros() const { return this->bias_.data() + this->geometry_.out_channels; }

  void pack_lane(const TensorView<const T>& x, index_t n, index_t channel, const InputBand& band, T* to) const {
    for (index_t r = 0; r < band.rows; ++r)
      for (index_t c = 0; c < band.columns; ++c) {
        const index_t y = band.y + r, column = band.x + c;
        const bool inside = y >= 0 && y < x.h && column >= 0 && column < x.w;
        to[(r * band.columns + c) * lanes_] = inside ? x.channel(n, channel)[y * x.sh + column * x.sw] : T(0);
      }
  }

  const index_t lanes_, blocks_;
  AlignedArray<T> packed_;  // [block][tap][lanes]
  index_t rows_, in_columns_;
};

}  // namespace

template <class T>
std::unique_ptr<ConvEngine<T>> make_depthwise(const ConvGeometry& g, const ConvOptions& o, const T* weight, const T* bias) {
  return std::make_unique<Depthwise<T>>(g, o, weight, bias);
}
template std::unique_ptr<ConvEngine<float>> make_depthwise(const ConvGeometry&, const ConvOptions&, const float*, const float*);
template std::unique_ptr<ConvEngine<double>> make_depthwise(const ConvGeometry&, const ConvOptions&, const double*, const double*);

}  // namespace fastconv
