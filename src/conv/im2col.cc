// im2col + GEMM on plain NCHW: the weights are the broadcast operand as they come, pixels are the
// vectors. The im2col matrix exists only as panels of two vectors of pixels, a few at a time
// (Chellapilla et al. 2006, "High performance convolutional neural networks for document
// processing", with the blocking of Goto & van de Geijn 2008).
#include "conv/band.h"
#include "conv/engine.h"
#include "fastconv/cpu.h"
#include "fastconv/thread_pool.h"
#include "kernels/gemm/gemm.h"

namespace fastconv {
namespace {

constexpr index_t kFewPixels = 4;

template <class T>
class Im2col final : public ConvEngine<T> {
 public:
  explicit Im2col(const ConvTask& task)
      : ConvEngine<T>(task),
        reduction_(task.geometry.group_in() * task.geometry.taps()),
        panel_width_(GemmKernels<T>::kMaxVectors * pack_kernels<T>().lanes),
        panels_(std::clamp<index_t>(static_cast<index_t>(cache_sizes().l2 / 2 / sizeof(T)) / (reduction_ * panel_width_), 1, 8)) {}

  void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const override {
    const ConvGeometry& g = this->task_.geometry;
    const index_t pixels = g.out_h * g.out_w, rows = g.group_out();
    const index_t band = std::min(panels_ * panel_width_, ceil_div(pixels, panel_width_) * panel_width_);
    const index_t bands = ceil_div(pixels, band);
    const index_t row_tiles = ceil_div(rows, gemm_kernels<T>().max_rows);
    const index_t units = out.n * g.groups * bands;
    // Where there are few bands, output channels are divided as well; each part packs its band
    // again.
    const index_t wanted = 3 * num_threads();
    const index_t parts = num_threads() == 1 || units >= wanted ? 1 : std::min(row_tiles, ceil_div(wanted, units));
    parallel(units * parts, [&](TaskQueue& queue) {
      const FlushDenormals flush(this->flush_denormals());
      Scratch scratch(workspace_bytes());
      T* panels = scratch.as<T>();
      T* rows_copy = panels + panels_ * panel_width_ * reduction_;
      index_t packed_unit = -1;
      for (index_t begin, end; queue.next(begin, end);)
        for (index_t task = begin; task < end; ++task) {
          const index_t unit = task / parts, part = task % parts;
          const index_t n = unit / bands / g.groups, group = unit / bands % g.groups, first = unit % bands * band;
          const index_t count = std::min(band, pixels - first);
          if (unit != packed_unit) pack_panels(x, n, group, first, count, panels);
          packed_unit = unit;
          const index_t row0 = part * row_tiles / parts * gemm_kernels<T>().max_rows;
          const index_t row1 = std::min(rows, (part + 1) * row_tiles / parts * gemm_kernels<T>().max_rows);
          multiply(x, panels, rows_copy, n, group, first, count, row0, row1, residual, out);
        }
    });
  }

  std::size_t workspace_bytes() const override {
    const index_t panels = panels_ * panel_width_ * reduction_;
    return static_cast<std::size_t>(panels + (copies_rows() ? GemmKernels<T>::kMaxRows * copied_row() : 0)) * sizeof(T);
  }

 private:
  std::unique_ptr<ConvEngine<T>> clone() const override { return std::make_unique<Im2col>(*this); }
  index_t packed_size() const override { return this->task_.geometry.out_channels * reduction_; }
  void pack_weights(const T* weight, T* packed) override { std::copy_n(weight, packed_size(), packed); }

  void pack_panels(const TensorView<const T>& x, index_t n, index_t group, index_t first, index_t count, T* panels) const {
    const ConvGeometry& g = this->task_.geometry;
    Im2colPanel<T> panel{};
    panel.channel_stride = x.sb;
    panel.row_stride = x.sh;
    panel.column_stride = x.sw;
    panel.in_h = g.in_h;
    panel.in_w = g.in_w;
    panel.kernel_h = g.kernel_h;
    panel.kernel_w = g.kernel_w;
    panel.stride_h = g.stride_h;
    panel.stride_w = g.stride_w;
    panel.dilation_h = g.dilation_h;
    panel.dilation_w = g.dilation_w;
    panel.pad_top = g.pad_top;
    panel.pad_left = g.pad_left;
    panel.out_w = g.out_w;
    const index_t step_pixels = few_pixels() ? 1 : panel_width_;
    for (index_t p = 0; p < count; p += step_pixels) {
      panel.first = first + p;
      panel.pixels = std::min(step_pixels, count - p);
      if (reads_in_place(x, panel.pixels)) continue;
      panel.width = few_pixels() ? 1 : vectors(panel.pixels) * pack_kernels<T>().lanes;
      // The channels of a blocked x have no common stride.
      const index_t step = x.block == 1 ? g.group_in() : 1;
      for (index_t c = 0; c < g.group_in(); c += step) {
        panel.x = x.channel(n, group * g.group_in() + c);
        panel.k1 = step * g.taps();
        panel.out = panels + p * reduction_ + c * g.taps() * panel.width;
        pack_kernels<T>().im2col(panel);
      }
    }
  }

  // Each pixel is then a column of its own, and the product one of matrix and vector.
  bool few_pixels() const { return this->task_.geometry.out_h * this->task_.geometry.out_w <= kFewPixels; }

  void multiply_few(const T* columns, index_t n, index_t group, index_t first, index_t count, index_t row0, index_t row1,
                    const TensorView<const T>* residual, const TensorView<T>& out) const {
    constexpr index_t kRows = 64;
    T sums[kRows * kFewPixels];
    for (index_t row = row0; row < row1; row += kRows) {
      const index_t rows = std::min(kRows, row1 - row), channel = group * this->task_.geometry.group_out() + row;
      for (index_t p = 0; p < count; ++p)
        gemm_kernels<T>().matrix_vector(
            {this->weights() + channel * reduction_, reduction_, rows, reduction_, columns + p * reduction_, sums + p, count});
      finish(sums, count, n, channel, rows, first, count, residual, out);
    }
  }

  // A 1x1 convolution of few channels needs no panel: its rows are in x, and all of them together
  // stay in the L1 cache.
  bool reads_in_place(const TensorView<const T>& x, index_t pixels) const {
    const ConvGeometry& g = this->task_.geometry;
    return g.taps() == 1 && g.stride_h == 1 && g.stride_w == 1 && g.pad_top == 0 && g.pad_left == 0 && g.out_h == g.in_h &&
           g.out_w == g.in_w && x.block == 1 && x.sw == 1 && x.sh == x.w && pixels == vectors(pixels) * pack_kernels<T>().lanes &&
           reduction_ * panel_width_ * sizeof(T) <= cache_sizes().l1d / 2;
  }
  int vectors(index_t pixels) const { return pixels > pack_kernels<T>().lanes ? 2 : 1; }

  // Rows of weights whose distance is a multiple of a page half fall into the same few sets of the
  // L1 cache; such a tile of rows is copied next to one another, a line apart.
  bool copies_rows() const { return reduction_ * sizeof(T) % 2048 == 0; }
  index_t copied_row() const { return reduction_ + static_cast<index_t>(kAlignment / sizeof(T)); }

  void multiply(const TensorView<const T>& x, const T* panels, T* rows_copy, index_t n, index_t group, index_t first, index_t count, index_t row0,
                index_t row1, const TensorView<const T>* residual, const TensorView<T>& out) const {
    if (few_pixels()) return multiply_few(panels, n, group, first, count, row0, row1, residual, out);
    const GemmKernels<T>& kernels = gemm_kernels<T>();
    alignas(kAlignment) T sums[GemmKernels<T>::kMaxRows * 2 * kAlignment / sizeof(T)];
    GemmTile<T> tile{};
    tile.runs = 1;
    tile.c_vector_stride = pack_kernels<T>().lanes;
    const Clamp<T> clamp = this->epilogue().clamp();
    tile.low = clamp.low;
    tile.high = clamp.high;
    tile.bias_of_rows = true;
    const auto joined = [](const auto& view) { return view.block == 1 && view.sw == 1 && view.sh == view.w; };
    // Whole vectors of pixels go straight to the output, where its rows follow one another.
    const bool whole = joined(out) && (!residual || (joined(*residual) && residual->sb == out.sb)) && this->epilogue().is_clamp() &&
                       !(residual && residual->data == out.data && reduction_ > kReductionPart);  // out would hold partial sums
    for (index_t row = row0, rows; row < row1; row += rows) {
      rows = ceil_div(row1 - row, ceil_div(row1 - row, kernels.max_rows));
      const index_t channel = group * this->task_.geometry.group_out() + row;
      tile.a = this->weights() + channel * reduction_;
      tile.a_stride = reduction_;
      if (copies_rows()) {
        for (index_t r = 0; r < rows; ++r) std::copy_n(tile.a + r * reduction_, reduction_, rows_copy + r * copied_row());
        tile.a = rows_copy;
        tile.a_stride = copied_row();
      }
      for (index_t p = 0; p < count; p += panel_width_) {
        const index_t pixels = std::min(panel_width_, count - p);
        tile.finish = whole && pixels == vectors(pixels) * tile.c_vector_stride;
        tile.c = tile.finish ? out.channel(n, channel) + first + p : sums;
        tile.c_stride = tile.finish ? out.sb : vectors(pixels) * tile.c_vector_stride;
        tile.residual = tile.finish && residual ? residual->channel(n, channel) + first + p : nullptr;
        tile.bias = this->bias_.data() + channel;
        const bool finish_here = tile.finish;
        const T* panel = panels + p * reduction_;
        tile.b_stride = vectors(pixels) * tile.c_vector_stride;
        if (reads_in_place(x, pixels)) {
          panel = x.channel(n, group * this->task_.geometry.group_in()) + first + p;
          tile.b_stride = x.sb;
        }
        for (index_t k = 0; k < reduction_; k += kReductionPart) {
          tile.offsets = &k;
          tile.run = std::min(kReductionPart, reduction_ - k);
          tile.prefetch = tile.b = panel + k * tile.b_stride;
          tile.accumulate = k > 0;
          tile.finish = finish_here && k + tile.run == reduction_;
          kernels.tile[0][rows - 1][vectors(pixels) - 1](tile);
        }
        if (!finish_here) finish(sums, tile.c_stride, n, channel, rows, first + p, pixels, residual, out);
      }
    }
  }

  // A tile of channels x pixels, which may run over several rows of the image.
  void finish(const T* sums, index_t stride, index_t n, index_t channel, index_t channels, index_t first, index_t count,
              const TensorView<const T>* residual, const TensorView<T>& out) const {
    const Epilogue<T> epilogue = this->epilogue();
    const auto planes = [](const auto& view) { return view.block == 1 && view.sw == 1; };
    const auto whole = [&](const auto& view) { return view.sh == out.w; };
    const bool vectors = planes(out) && (!residual || planes(*residual));
    const bool joined = vectors && whole(out) && (!residual || whole(*residual));
    FinishTile<T> f{};
    f.x_stride = stride;
    f.low = epilogue.clamp().low;
    f.high = epilogue.clamp().high;
    f.y_stride = out.sb;
    f.residual_stride = residual ? residual->sb : 0;
    f.rows = vectors ? channels : 1;
    for (index_t c = 0; c < channels; c += f.rows)
      for (index_t p = 0; p < count; p += f.columns) {
        const index_t y = (first + p) / out.w, column = (first + p) % out.w;
        f.columns = joined ? count : vectors ? std::min(count - p, out.w - column) : 1;
        f.x = sums + c * stride + p;
        f.bias = this->bias_.data() + channel + c;
        f.y = out.channel(n, channel + c) + y * out.sh + column * out.sw;
        f.residual = residual ? residual->channel(n, channel + c) + y * residual->sh + column * residual->sw : nullptr;
        pack_kernels<T>().finish_tile(f);
        if (epilogue.is_clamp()) continue;
        for (index_t r = 0; r < f.rows; ++r) epilogue.apply(channel + c + r, f.y + r * f.y_stride, f.columns);
      }
  }

  const index_t reduction_;
  const index_t panel_width_;
  const index_t panels_;  // panels packed at a time: half of L2, so that weights are read once for several
};

}  // namespace

template <class T>
std::unique_ptr<ConvEngine<T>> make_im2col(const ConvTask& task) {
  return std::make_unique<Im2col<T>>(task);
}
template std::unique_ptr<ConvEngine<float>> make_im2col(const ConvTask&);
template std::unique_ptr<ConvEngine<double>> make_im2col(const ConvTask&);

}  // namespace fastconv
