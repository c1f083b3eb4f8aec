// Transposed convolution by Winograd's F(3 x 3, 2 x 2), all phases of the stride together. Where
// the kernel is larger than the stride, but not more than twice as large, each phase sums one or
// two taps an axis, and all phases read the same windows of 2x2 pixels: so one transformed input
// serves them all. A phase with one tap an axis takes but three of the four products along it:
// without the second tap that of infinity is zero, without the first that of 0.
#include "conv/transpose_winograd.h"

#include <algorithm>

#include "conv/probe.h"

namespace fastconv {
namespace {

constexpr int kTile = 3, kSide = kTile + 1;

// Along one axis: output j of the phase has the window j + shift, of which it uses the taps
// [first_tap, first_tap + taps).
struct AxisWindows {
  index_t first_tap, shift;
};

// `pad`, of the windows, is the largest of all phases: window i has the pixels i - pad and i - pad
// + 1.
AxisWindows axis_windows(index_t pad, index_t phase_pad, index_t taps) {
  const index_t before = pad - phase_pad, first_tap = taps == 1 ? std::min<index_t>(before, 1) : 0;
  return {first_tap, before - first_tap};
}

// Positions along an axis whose products are not zero.
index_t first_position(index_t first_tap) { return first_tap; }
index_t end_position(index_t first_tap, index_t taps) { return first_tap + taps == 2 ? kSide : kSide - 1; }

TransposeWindows transpose_windows(const std::vector<TransposePhase>& phases) {
  TransposeWindows w;
  index_t pad_h = phases[0].dense.pad_top, pad_w = phases[0].dense.pad_left;
  for (const TransposePhase& phase : phases) {
    pad_h = std::max(pad_h, phase.dense.pad_top);
    pad_w = std::max(pad_w, phase.dense.pad_left);
  }
  w.dense = phases[0].dense;
  w.dense.kernel_h = w.dense.kernel_w = 2;
  w.dense.dilation_h = w.dense.dilation_w = 1;
  w.dense.pad_top = pad_h;
  w.dense.pad_left = pad_w;
  for (const TransposePhase& phase : phases) {
    const ConvGeometry& g = phase.dense;
    const AxisWindows rows = axis_windows(pad_h, g.pad_top, g.kernel_h), columns = axis_windows(pad_w, g.pad_left, g.kernel_w);
    w.dense.out_h = std::max(w.dense.out_h, g.out_h + rows.shift);
    w.dense.out_w = std::max(w.dense.out_w, g.out_w + columns.shift);
    TransposeWindows::Phase p{rows.first_tap, columns.first_tap, rows.shift, columns.shift, {}};
    for (index_t i = first_position(rows.first_tap); i < end_position(rows.first_tap, g.kernel_h); ++i)
      for (index_t j = first_position(columns.first_tap); j < end_position(columns.first_tap, g.kernel_w); ++j)
        p.positions.push_back(i * kSide + j);
    w.phases.push_back(std::move(p));
  }
  w.dense.pad_bottom = w.dense.out_h + 1 - w.dense.in_h - pad_h;
  w.dense.pad_right = w.dense.out_w + 1 - w.dense.in_w - pad_w;
  return w;
}

}  // namespace

template <class T>
bool TransposeWinograd<T>::pays(const std::vector<TransposePhase>& phases, Accuracy accuracy) {
  constexpr index_t kChannels = 32;
  constexpr index_t kTiles = 25;  // with fewer the weights, which are larger than those of the convolution, take longer to read than they save
  const ConvGeometry& any = phases[0].dense;
  if (accuracy == Accuracy::exact || any.groups != 1 || any.in_channels < kChannels || any.out_channels < kChannels) return false;
  index_t macs = 0, products = 0;
  for (const TransposePhase& phase : phases) {
    const ConvGeometry& g = phase.dense;
    const auto serves = [](index_t taps, index_t dilation) { return taps == 1 || (taps == 2 && dilation == 1); };
    if (phase.taps.empty() || !serves(g.kernel_h, g.dilation_h) || !serves(g.kernel_w, g.dilation_w)) return false;
    macs += g.out_h * g.out_w * g.taps();
  }
  const TransposeWindows windows = transpose_windows(phases);
  for (const TransposeWindows::Phase& phase : windows.phases) products += static_cast<index_t>(phase.positions.size());
  const index_t tiles = ceil_div(windows.dense.out_h, kTile) * ceil_div(windows.dense.out_w, kTile);
  // Transforms take a constant number of additions for each channel and pixel.
  const double least = 1.3 + 8.0 / double(std::min(any.in_channels, any.out_channels));
  return tiles >= kTiles && double(macs) >= least * double(tiles) * double(products);
}

template <class T>
TransposeWinograd<T>::TransposeWinograd(const ConvTask& task)
    : task_(task),
      lanes_(pack_kernels<T>().lanes),
      out_blocks_(ceil_div(task.geometry.in_channels, lanes_)),
      tiles_(kTile, 2, task.geometry.out_channels) {
  fit_image();
  for (const TransposeWindows::Phase& phase : windows_.phases) {
    first_weight_.push_back(scales_);
    scales_ += static_cast<index_t>(phase.positions.size()) * task.geometry.out_channels * out_blocks_ * lanes_;
  }
  packed_size_ = scales_ + static_cast<index_t>(phases_.size()) * out_blocks_ * lanes_;
}

template <class T>
void TransposeWinograd<T>::pack(const T* weight, const T* bias, const T* slopes, Arena* arena) {
  bias_.assign(static_cast<std::size_t>(task_.geometry.in_channels + lanes_), T(0));
  if (bias) std::copy_n(bias, task_.geometry.in_channels, bias_.begin());
  if (slopes) slopes_.assign(slopes, slopes + task_.geometry.in_channels);
  packed_ = SharedArray<T>(static_cast<std::size_t>(packed_size_), arena);
  pack_weights(weight);
}

template <class T>
void TransposeWinograd<T>::fit_image() {
  phases_ = transpose_phases(task_.geometry);
  windows_ = transpose_windows(phases_);
  fit_tiles(windows_.dense);
}

template <class T>
void TransposeWinograd<T>::fit_tiles(const ConvGeometry& windows) {
  tiles_.fit(windows.out_h, windows.out_w, 2 * gemm_kernels<T>().max_rows);
}

template <class T>
std::shared_ptr<const TransposeWinograd<T>> TransposeWinograd<T>::resized(const ConvTask& task) const {
  auto other = std::make_shared<TransposeWinograd>(*this);
  other->task_ = task;
  other->fit_image();
  return other;
}

// The taps of a phase, in windows of 2x2.
template <class T>
std::vector<T> TransposeWinograd<T>::window_weight(std::size_t phase, const T* weight) const {
  const TransposeWindows::Phase& at = windows_.phases[phase];
  const ConvGeometry& dense = phases_[phase].dense;
  const std::vector<T> taps = phase_weight(task_.geometry, phases_[phase].taps, weight);
  const index_t kernels = dense.in_channels * dense.out_channels;
  std::vector<T> windows(static_cast<std::size_t>(4 * kernels));
  const T* from = taps.data();
  for (index_t k = 0; k < kernels; ++k)
    for (index_t y = 0; y < dense.kernel_h; ++y)
      for (index_t x = 0; x < dense.kernel_w; ++x) windows[4 * k + 2 * (at.first_tap_h + y) + at.first_tap_w + x] = *from++;
  return windows;
}

// [phase][pair of output blocks][position][channel][vectors of the pair], then the scale of each
// output channel: [phase][block][lanes].
template <class T>
void TransposeWinograd<T>::pack_weights(const T* weight) {
  const index_t channels = task_.geometry.out_channels, outputs = task_.geometry.in_channels;
  for (std::size_t p = 0; p < phases_.size(); ++p) {
    const std::vector<T> windows = window_weight(p, weight);
    const std::vector<index_t>& positions = windows_.phases[p].positions;
    parallel_for(out_blocks_, [&](index_t block) {
      const index_t vectors = pair_vectors(block / 2);
      std::vector<T> all(static_cast<std::size_t>(tiles_.positions() * channels * lanes_));
      tiles_.pack_weights(windows.data() + block * lanes_ * channels * 4, std::min(lanes_, outputs - block * lanes_), 1, all.data(),
                           packed_.data() + scales_ + (static_cast<index_t>(p) * out_blocks_ + block) * lanes_);
      T* to = packed_.data() + first_weight_[p] + block / 2 * 2 * lanes_ * channels * static_cast<index_t>(positions.size()) + block % 2 * lanes_;
      for (const index_t xi : positions)
        for (index_t c = 0; c < channels; ++c, to += vectors * lanes_) std::copy_n(all.data() + (xi * channels + c) * lanes_, lanes_, to);
    });
  }
}

template <class T>
void TransposeWinograd<T>::run(const TensorView<const T>& x, const TensorView<T>& out) const {
  std::vector<TensorView<T>> pixels;
  for (const TransposePhase& phase : phases_) pixels.push_back(phase_pixels(task_.geometry, phase.dense, phase.row, phase.column, out));
  const auto phases = static_cast<index_t>(phases_.size());
  tiles_.for_each_block(windows_.dense, x, phases * ceil_div(out_blocks_, 2), task_.accuracy != Accuracy::exact,
                        [&](const Block& block, index_t item, const Buffers& b) {
                          const auto phase = static_cast<std::size_t>(item % phases);
                          multiply(block, phase, item / phases, b, pixels[phase]);
                        });
}

template <class T>
void TransposeWinograd<T>::multiply(const Block& block, std::size_t phase, index_t pair, const Buffers& b, const TensorView<T>& out) const {
  const TransposeWindows::Phase& windows = windows_.phases[phase];
  const index_t channels = task_.geometry.out_channels;
  const int vectors = pair_vectors(pair);
  const auto count = static_cast<index_t>(windows.positions.size());
  const T* weights = packed_.data() + first_weight_[phase] + 2 * pair * lanes_ * channels * count;
  tiles_.multiply(block, windows.positions, weights, vectors, b);
  for (index_t xi = 0, next = 0; xi < tiles_.positions(); ++xi)
    if (next < count && windows.positions[next] == xi) ++next;
    else tiles_.clear(block, xi, vectors, b);
  // Windows from the shift on are the phase's outputs.
  const index_t top = block.row * kTile - windows.shift_h, left = block.column * kTile - windows.shift_w;
  const index_t row = std::max<index_t>(0, top), column = std::max<index_t>(0, left);
  for (int v = 0; v < vectors; ++v) {
    const index_t oc = (2 * pair + v) * lanes_;
    BandSums<T> band = tiles_.transform_output(
        block, v, vectors, packed_.data() + scales_ + (static_cast<index_t>(phase) * out_blocks_ * lanes_ + oc), b);
    band.data += (row - top) * band.row_stride + (column - left) * band.column_stride;
    band.oc = oc;
    band.channels = std::min(lanes_, task_.geometry.in_channels - oc);
    band.y = row;
    band.rows = std::min(top + block.rows * kTile, out.h) - row;
    band.x = column;
    band.columns = std::min(left + block.columns * kTile, out.w) - column;
    if (band.rows > 0 && band.columns > 0) finish_band(band, bias_.data(), static_cast<const TensorView<const T>*>(nullptr), {task_.activation, slopes_.empty() ? nullptr : slopes_.data()}, out);
  }
}

template <class T>
double TransposeWinograd<T>::probe(const T* weight) const {
  TransposeWinograd plain(*this);
  std::fill(plain.bias_.begin(), plain.bias_.end(), T(0));
  plain.task_.activation = Activation::none;
  plain.slopes_.clear();
  for (TransposeWindows::Phase& p : plain.windows_.phases) p.shift_h = p.shift_w = 0;
  double worst = 0;
  for (std::size_t phase = 0; phase < phases_.size(); ++phase) {
    const auto run = [&](const ConvGeometry& g, const TensorView<const T>& x, const TensorView<T>& y) {
      plain.fit_tiles(g);
      plain.tiles_.for_each_block(g, x, ceil_div(out_blocks_, 2), task_.accuracy != Accuracy::exact, [&](const Block& block, index_t pair, const Buffers& b) {
        plain.multiply(block, phase, pair, b, y);
      });
    };
    worst = std::max(worst, probe_error<T>(windows_.dense, kTile, window_weight(phase, weight).data(), run));
  }
  return worst;
}

template class TransposeWinograd<float>;
template class TransposeWinograd<double>;

}  // namespace fastconv
