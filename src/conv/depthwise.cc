#include "conv/depthwise.h"

#include <cmath>

#include "fastconv/cpu.h"
#include "fastconv/thread_pool.h"

namespace fastconv {
namespace {

// Work is counted in vector operations, of which about 3000 take a microsecond. Less than
// kParallelWork stays on one thread, and nobody takes less than kTaskWork at a time.
constexpr index_t kParallelWork = 1 << 16, kTaskWork = 1 << 13;

constexpr index_t kActivated = 1 << 11;  // elements, about, between which the kernel and an activation take turns

}  // namespace

template <class T>
Depthwise<T>::Depthwise(const ConvTask& task)
    : ConvEngine<T>(task),
      lanes_(pack_kernels<T>().lanes),
      blocks_(ceil_div(task.geometry.out_channels, lanes_)),
      skips_outside_(depthwise_skips_outside(task.geometry.kernel_w, task.geometry.stride_w, task.geometry.dilation_w)) {
  fit_image();
}

template <class T>
void Depthwise<T>::pack_weights(const T* weight, T* packed) {
  const ConvGeometry& g = this->task_.geometry;
  std::fill_n(packed, packed_size(), T(0));
  for (index_t c = 0; c < g.out_channels; ++c)
    for (index_t tap = 0; tap < g.taps(); ++tap) {
      const T w = weight[c * g.taps() + tap];
      packed[(c / lanes_ * g.taps() + tap) * lanes_ + c % lanes_] = w;
      skips_outside_ = skips_outside_ && std::isfinite(w);
    }
  fit_image();
}

template <class T>
std::unique_ptr<ConvEngine<T>> Depthwise<T>::clone() const {
  return std::make_unique<Depthwise>(*this);
}

template <class T>
void Depthwise<T>::fit_image() {
  // Bands whose input and sums take about a quarter of L2.
  const index_t budget = static_cast<index_t>(cache_sizes().l2 / 4 / sizeof(T));
  rows_ = this->task_.geometry.out_h;
  while (rows_ > 1 && band_size(rows_) > budget) rows_ = ceil_div(rows_, 2);
}

template <class T>
void Depthwise<T>::run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const {
  const ConvGeometry& g = this->task_.geometry;
  const bool packs = !reads_in_place(x) || !writes_in_place(residual, out);
  const index_t row_work = g.out_w * (g.taps() + 6), work = out.n * blocks_ * g.out_h * row_work;
  const bool alone = num_threads() == 1 || work < kParallelWork;
  const bool wide = g.out_w >= kWide;
  const index_t threads = num_threads(), wanted = alone ? 1 : 3 * threads, others = out.n * (wide ? 1 : blocks_);
  index_t bands = packs ? ceil_div(g.out_h, rows_) : 1;
  if (others * bands < wanted) bands = divide_rows(g.out_h, bands, ceil_div(wanted, others), threads);
  const index_t tasks = out.n * blocks_ * bands;
  const auto body = [&](TaskQueue& queue) {
    const FlushDenormals flush(this->flush_denormals());
    Scratch scratch(packs ? workspace_bytes() : 0);
    for (index_t begin, end; queue.next(begin, end);)
      for (index_t task = begin; task < end; ++task) {
        const index_t n = task / (bands * blocks_), rest = task % (bands * blocks_);
        const index_t band = wide ? rest / blocks_ : rest % bands, block = wide ? rest % blocks_ : rest / bands;
        const index_t row = band * g.out_h / bands;
        one_band(x, residual, out, n, block, row, (band + 1) * g.out_h / bands - row, scratch.template as<T>());
      }
  };
  parallel(tasks, body, alone ? tasks : ceil_div(kTaskWork, ceil_div(g.out_h, bands) * row_work));
}

template <class T>
DepthwiseBand<T> Depthwise<T>::band(index_t block, const T* x, index_t x_row_stride, const InputBand& held, index_t row,
                                    index_t rows) const {
  const ConvGeometry& g = this->task_.geometry;
  DepthwiseBand<T> d{};
  d.x = x;
  d.x_row_stride = x_row_stride;
  d.x_rows = held.rows;
  d.x_columns = held.columns;
  d.top = held.y - (row * g.stride_h - g.pad_top);
  d.left = held.x + g.pad_left;
  d.rows = rows;
  d.columns = g.out_w;
  d.kernel_h = g.kernel_h;
  d.kernel_w = g.kernel_w;
  d.stride_h = g.stride_h;
  d.stride_w = g.stride_w;
  d.dilation_h = g.dilation_h;
  d.dilation_w = g.dilation_w;
  d.weights = this->packed_.data() + block * lanes_ * g.taps();
  d.bias = this->bias_.data() + block * lanes_;
  d.low = clamp_of<T>(this->task_.activation).low;
  d.high = clamp_of<T>(this->task_.activation).high;
  return d;
}

template <class T>
InputBand Depthwise<T>::input_of(index_t row, index_t rows) const {
  const ConvGeometry& g = this->task_.geometry;
  const index_t first = row * g.stride_h - g.pad_top;
  const index_t last = first + (rows - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
  if (!skips_outside_) return {first, last - first, -g.pad_left, (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1};
  const index_t inside = std::clamp<index_t>(first, 0, g.in_h);
  return {inside, std::clamp<index_t>(last, inside, g.in_h) - inside, 0, g.in_w};
}

template <class T>
index_t Depthwise<T>::band_size(index_t rows) const {
  const ConvGeometry& g = this->task_.geometry;
  const index_t in_rows = (rows - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
  return (std::min(in_rows, skips_outside_ ? g.in_h : in_rows) * input_of(0, rows).columns + rows * g.out_w + 1) * lanes_;
}

template <class T>
bool Depthwise<T>::reads_in_place(const TensorView<const T>& x) const {
  return skips_outside_ && this->task_.geometry.group_out() == 1 && x.block == lanes_ && x.lane == 0 && x.sw == lanes_;
}

template <class T>
bool Depthwise<T>::writes_in_place(const TensorView<const T>* residual, const TensorView<T>& out) const {
  const auto blocked = [&](const auto& view) {  // pixels of one row lie together
    return view.block == lanes_ && view.lane == 0 && view.sw == lanes_ && view.sh == out.sh;
  };
  return blocked(out) && (!residual || blocked(*residual));
}

template <class T>
void Depthwise<T>::rows(index_t block, const T* x, index_t x_row_stride, const InputBand& held, index_t n, index_t row, index_t rows,
                        const TensorView<const T>* residual, const TensorView<T>& out) const {
  // Activations that are no clamp follow while the rows are in L1.
  const Epilogue<T> epilogue = this->epilogue();
  const index_t row_size = out.w * lanes_, step = epilogue.is_clamp() ? rows : 2 * ceil_div(kActivated, 2 * row_size);
  for (index_t end = row + rows; row < end; row += step) {
    DepthwiseBand<T> d = band(block, x, x_row_stride, held, row, std::min(step, end - row));
    d.y = out.channel(n, block * lanes_) + row * out.sh;
    d.y_row_stride = out.sh;
    d.y_column_stride = out.sw;
    d.residual = residual ? residual->channel(n, block * lanes_) + row * residual->sh : nullptr;
    depthwise_kernels<T>().run(d);
    if (epilogue.is_clamp()) continue;
    const bool joined = out.sh == row_size;
    for (index_t r = 0; r < (joined ? 1 : d.rows); ++r)
      epilogue.apply_to_pixels(block * lanes_, lanes_, d.y + r * out.sh, joined ? d.rows * out.w : out.w);
  }
}

template <class T>
void Depthwise<T>::one_band(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out, index_t n,
                            index_t block, index_t row, index_t rows, T* scratch) const {
  const ConvGeometry& g = this->task_.geometry;
  const index_t oc = block * lanes_, channels = std::min(lanes_, g.out_channels - oc);
  InputBand held{0, g.in_h, 0, g.in_w};
  const T* input = x.channel(n, oc / g.group_out());
  index_t input_row_stride = x.sh;
  if (!reads_in_place(x)) {
    held = input_of(row, rows);
    if (g.group_out() == 1)
      pack_band(x, n, oc, channels, held, lanes_, scratch);
    else
      for (index_t c = 0; c < channels; ++c) pack_lane(x, n, (oc + c) / g.group_out(), held, scratch + c);
    input = scratch;
    input_row_stride = held.columns * lanes_;
    scratch += held.rows * input_row_stride;
  }
  if (writes_in_place(residual, out))
    return this->rows(block, input, input_row_stride, held, n, row, rows, residual, out);
  DepthwiseBand<T> d = band(block, input, input_row_stride, held, row, rows);
  d.y = scratch;
  d.y_row_stride = g.out_w * lanes_;
  d.y_column_stride = lanes_;
  d.bias = this->bias_.data() + g.out_channels;  // the zeros behind it
  d.low = clamp_of<T>(Activation::none).low;
  d.high = clamp_of<T>(Activation::none).high;
  depthwise_kernels<T>().run(d);
  finish_band(BandSums<T>{d.y, d.y_row_stride, lanes_, n, oc, channels, row, rows, 0, g.out_w}, this->bias_.data(), residual,
              this->epilogue(), out);
}

template <class T>
void Depthwise<T>::pack_lane(const TensorView<const T>& x, index_t n, index_t channel, const InputBand& band, T* to) const {
  for (index_t r = 0; r < band.rows; ++r)
    for (index_t c = 0; c < band.columns; ++c) {
      const index_t y = band.y + r, column = band.x + c;
      const bool inside = y >= 0 && y < x.h && column >= 0 && column < x.w;
      to[(r * band.columns + c) * lanes_] = inside ? x.channel(n, channel)[y * x.sh + column * x.sw] : T(0);
    }
}

template class Depthwise<float>;
template class Depthwise<double>;

template <class T>
std::unique_ptr<ConvEngine<T>> make_depthwise(const ConvTask& task) {
  return std::make_unique<Depthwise<T>>(task);
}
template std::unique_ptr<ConvEngine<float>> make_depthwise(const ConvTask&);
template std::unique_ptr<ConvEngine<double>> make_depthwise(const ConvTask&);

}  // namespace fastconv
