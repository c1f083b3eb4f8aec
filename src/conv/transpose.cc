// Transposed convolution as one dense convolution for each phase of the stride: output rows y =
// phase (mod stride) are reached only by the taps with tap * dilation = y + padding (mod stride),
// which are evenly spaced, so that each phase is an ordinary convolution with stride 1 whose output
// pixels lie `stride` apart (Shi et al. 2016, "Is the deconvolution layer the same as a
// convolutional layer?").
#include <algorithm>
#include <numeric>
#include <vector>

#include "conv/band.h"
#include "conv/probe.h"
#include "conv/transpose.h"
#include "conv/transpose_winograd.h"
#include "fastconv/cpu.h"
#include "fastconv/error.h"
#include "fastconv/thread_pool.h"

namespace fastconv {
namespace {

// One phase along one axis. Output positions first, first + stride, ... (`count` of them) are a
// convolution with the taps last_tap, last_tap - tap_step, ... (`taps` of them), the kernel turned
// round.
struct AxisPhase {
  index_t first, count;
  index_t taps, last_tap, tap_step;
  index_t dilation, pad;  // of the dense convolution
};

// `in` and `out` are the sizes of the transposed convolution's own input and output. Phases without
// taps have taps = 0.
std::vector<AxisPhase> axis_phases(index_t out, index_t kernel, index_t stride, index_t padding, index_t dilation) {
  std::vector<AxisPhase> all;
  all.reserve(static_cast<std::size_t>(std::min(stride, out)));  // so that too many are refused before they take any memory
  const index_t common = std::gcd(stride, dilation), tap_step = stride / common;
  for (index_t first = 0; first < std::min(stride, out); ++first) {
    AxisPhase p{first, (out - first - 1) / stride + 1, 0, 0, tap_step, dilation / common, 0};
    index_t first_tap = 0;
    while (first_tap < std::min(tap_step, kernel) && (first + padding - first_tap * dilation) % stride != 0) ++first_tap;
    if (first_tap < std::min(tap_step, kernel)) {
      p.taps = (kernel - 1 - first_tap) / tap_step + 1;
      p.last_tap = first_tap + (p.taps - 1) * tap_step;
      // Output j of the phase reads input j + (first + padding - tap * dilation) / stride; the last
      // tap reads the first.
      p.pad = -(first + padding - p.last_tap * dilation) / stride;
    }
    all.push_back(p);
  }
  return all;
}

}  // namespace

ConvGeometry conv_transpose_geometry(const Shape& x, const Shape& weight, std::array<index_t, 2> stride,
                                     std::array<index_t, 2> padding, std::array<index_t, 2> output_padding,
                                     std::array<index_t, 2> dilation, index_t groups) {
  if (x.size() != 4) fail("x must have shape (N, C, H, W), got ", to_string(x));
  if (weight.size() != 4)
    fail("weight must have 4 dimensions (in_channels, out_channels / groups, kernel_h, kernel_w), got shape ", to_string(weight));
  if (groups < 1) fail("groups must be at least 1, got ", groups);
  for (int axis = 0; axis < 2; ++axis) {
    constexpr index_t kMax = index_t{1} << 40;
    if (stride[axis] < 1 || stride[axis] > kMax) fail("stride must be from 1 to 2**40, got ", stride[axis]);
    if (dilation[axis] < 1 || dilation[axis] > kMax) fail("dilation must be from 1 to 2**40, got ", dilation[axis]);
    if (padding[axis] < 0 || padding[axis] > kMax) fail("padding must be from 0 to 2**40, got ", padding[axis]);
    if (output_padding[axis] < 0) fail("output_padding must not be negative, got ", output_padding[axis]);
    if (output_padding[axis] >= std::max(stride[axis], dilation[axis]))
      fail("output_padding must be smaller than stride or dilation, got ", output_padding[axis], " with stride ", stride[axis],
           " and dilation ", dilation[axis]);
  }
  checked_size(x, sizeof(double));
  checked_size(weight, sizeof(double));
  for (const index_t size : weight)
    if (size < 1) fail("weight has an empty dimension: shape ", to_string(weight));
  if (x[1] < 1 || x[2] < 1 || x[3] < 1) fail("x must have at least one channel, row and column, got shape ", to_string(x));
  if (x[1] != weight[0])
    fail("weight has ", weight[0], " input channels but x has ", x[1], ": expected x.shape[1] == weight.shape[0]");
  if (weight[0] % groups != 0) fail("groups = ", groups, " does not divide the ", weight[0], " input channels of weight");
  ConvGeometry g;
  g.in_channels = checked_size({weight[1], groups});
  g.out_channels = x[1];
  g.groups = groups;
  g.kernel_h = weight[2];
  g.kernel_w = weight[3];
  g.stride_h = stride[0];
  g.stride_w = stride[1];
  g.dilation_h = dilation[0];
  g.dilation_w = dilation[1];
  g.pad_top = g.pad_bottom = padding[0];
  g.pad_left = g.pad_right = padding[1];
  g.out_h = x[2];
  g.out_w = x[3];
  const auto size = [](const char* axis, index_t in, index_t s, index_t p, index_t d, index_t k, index_t extra) {
    index_t step, reach, total;
    if (__builtin_mul_overflow(in - 1, s, &step) || __builtin_mul_overflow(d, k - 1, &reach) ||
        __builtin_add_overflow(step, reach, &total))
      fail("the output's ", axis, " passes the address range");
    total += extra + 1 - 2 * p;
    if (total < 1) fail("the output would have ", axis, " ", total, ": padding is too large for x and the kernel");
    return total;
  };
  g.in_h = size("height", x[2], stride[0], padding[0], dilation[0], g.kernel_h, output_padding[0]);
  g.in_w = size("width", x[3], stride[1], padding[1], dilation[1], g.kernel_w, output_padding[1]);
  checked_size({x[0], g.in_channels, g.in_h, g.in_w}, sizeof(double));
  return g;
}

std::vector<TransposePhase> transpose_phases(const ConvGeometry& g) {
  std::vector<TransposePhase> all;
  for (const AxisPhase& py : axis_phases(g.in_h, g.kernel_h, g.stride_h, g.pad_top, g.dilation_h))
    for (const AxisPhase& px : axis_phases(g.in_w, g.kernel_w, g.stride_w, g.pad_left, g.dilation_w)) {
      ConvGeometry dense;
      dense.in_channels = g.out_channels;
      dense.out_channels = g.in_channels;
      dense.groups = g.groups;
      dense.in_h = g.out_h;
      dense.in_w = g.out_w;
      dense.out_h = py.count;
      dense.out_w = px.count;
      const bool empty = py.taps == 0 || px.taps == 0;
      dense.kernel_h = empty ? 1 : py.taps;
      dense.kernel_w = empty ? 1 : px.taps;
      dense.dilation_h = py.dilation;
      dense.dilation_w = px.dilation;
      dense.pad_top = empty ? py.count : py.pad;
      dense.pad_left = empty ? px.count : px.pad;
      dense.pad_bottom = dense.out_h - 1 + dense.dilation_h * (dense.kernel_h - 1) + 1 - dense.in_h - dense.pad_top;
      dense.pad_right = dense.out_w - 1 + dense.dilation_w * (dense.kernel_w - 1) + 1 - dense.in_w - dense.pad_left;
      TransposePhase phase{dense, py.first, px.first, {}};
      if (!empty)
        for (index_t ky = 0; ky < py.taps; ++ky)
          for (index_t kx = 0; kx < px.taps; ++kx)
            phase.taps.push_back((py.last_tap - ky * py.tap_step) * g.kernel_w + px.last_tap - kx * px.tap_step);
      all.push_back(std::move(phase));
    }
  return all;
}

template <class T>
std::vector<T> phase_weight(const ConvGeometry& g, const std::vector<index_t>& taps, const T* weight) {
  const index_t group_in = g.group_out(), group_out = g.group_in();
  std::vector<T> turned(static_cast<std::size_t>(g.in_channels * group_in) * std::max<std::size_t>(taps.size(), 1));
  T* to = turned.data();
  for (index_t o = 0; o < g.in_channels; ++o)
    for (index_t c = 0; c < group_in; ++c) {
      const index_t channel = o / group_out * group_in + c;
      const T* from = weight + (channel * group_out + o % group_out) * g.taps();
      for (const index_t tap : taps) *to++ = from[tap];
    }
  return turned;
}

template std::vector<float> phase_weight(const ConvGeometry&, const std::vector<index_t>&, const float*);
template std::vector<double> phase_weight(const ConvGeometry&, const std::vector<index_t>&, const double*);

namespace {

template <class T>
void check(const ConvGeometry& g, const TensorView<const T>& x, const TensorView<T>& out) {
  if (x.c != g.out_channels || x.h != g.out_h || x.w != g.out_w)
    fail("x must have shape ", to_string({x.n, g.out_channels, g.out_h, g.out_w}), ", got ", to_string({x.n, x.c, x.h, x.w}));
  if (out.n != x.n || out.c != g.in_channels || out.h != g.in_h || out.w != g.in_w)
    fail("out must have shape ", to_string({x.n, g.in_channels, g.in_h, g.in_w}), ", got ",
         to_string({out.n, out.c, out.h, out.w}));
}

}  // namespace

template <class T>
TensorView<T> phase_pixels(const ConvGeometry& g, const ConvGeometry& dense, index_t row, index_t column, const TensorView<T>& out) {
  TensorView<T> pixels = out;
  pixels.data += row * out.sh + column * out.sw;
  pixels.h = dense.out_h;
  pixels.w = dense.out_w;
  pixels.sh *= g.stride_h;
  pixels.sw *= g.stride_w;
  return pixels;
}
template TensorView<float> phase_pixels(const ConvGeometry&, const ConvGeometry&, index_t, index_t, const TensorView<float>&);
template TensorView<double> phase_pixels(const ConvGeometry&, const ConvGeometry&, index_t, index_t, const TensorView<double>&);

namespace {

ConvTransposePlan plan_phases(const ConvTask& task, const std::vector<TransposePhase>& phases) {
  ConvTransposePlan plan{task, {}, "a dense convolution for each phase of the stride"};
  for (const TransposePhase& phase : phases) {
    ConvTask dense = task;
    dense.geometry = phase.dense;
    dense.one_call = false;  // its weights are a copy, which does not outlive the packing
    plan.phases.push_back({phase.row, phase.column, phase.taps, plan_conv(dense)});
  }
  return plan;
}

// With the sums over its phases.
ConvTransposePlan summed(ConvTransposePlan plan) {
  plan.packed_bytes = plan.workspace_bytes = 0;
  for (const ConvTransposePlan::Phase& phase : plan.phases) {
    plan.packed_bytes += phase.dense.packed_bytes;
    plan.workspace_bytes = std::max(plan.workspace_bytes, phase.dense.workspace_bytes);
  }
  return plan;
}

template <class T>
ConvTransposePlan plan(const ConvTask& task) {
  const std::vector<TransposePhase> phases = transpose_phases(task.geometry);
  // For one call, transforming the weights would cost more than it saves.
  if (task.one_call || !TransposeWinograd<T>::pays(phases, task.accuracy)) return summed(plan_phases(task, phases));
  const TransposeWinograd<T> winograd(task);
  return {task, {}, "all phases of the stride together, with fewer products: at most 2x2 taps each, 32 channels or more",
          winograd.packed_bytes(), winograd.workspace_bytes()};
}

}  // namespace

ConvTransposePlan plan_conv_transpose(const ConvTask& task) {
  return task.dtype == DType::f32 ? plan<float>(task) : plan<double>(task);
}

bool packs_alike(const ConvTransposePlan& a, const ConvTransposePlan& b) {
  return packs_alike(a.task, b.task) &&
         std::equal(a.phases.begin(), a.phases.end(), b.phases.begin(), b.phases.end(), [](const auto& p, const auto& q) {
           return p.row == q.row && p.column == q.column && p.taps == q.taps && packs_alike(p.dense, q.dense);
         });
}

std::string ConvTransposePlan::algorithms() const {
  if (is_winograd()) return "winograd3";
  std::string names;
  for (const Phase& phase : phases) {
    const std::string name = algorithm_name(phase.dense.algorithm);
    if ((", " + names + ", ").find(", " + name + ", ") == std::string::npos) names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

template <class T>
ConvTranspose2d<T>::ConvTranspose2d(ConvTransposePlan plan, const T* weight, const T* bias, const Packing& packing, const T* slopes)
    : plan_(std::move(plan)) {
  if (plan_.is_winograd()) {
    const auto winograd = std::make_shared<TransposeWinograd<T>>(plan_.task);
    if (weight) winograd->pack(weight, bias, slopes, packing.arena.get());
    if (!weight || !packing.fall_back || winograd->probe(weight) <= kProbeLimit) {
      winograd_ = winograd;
      return;
    }
    plan_ = plan_phases(plan_.task, transpose_phases(plan_.task.geometry));
    plan_.reason += ": with these weights the rounding error of winograd3 would be too large";
  }
  for (ConvTransposePlan::Phase& phase : plan_.phases) {
    const std::vector<T> turned = weight ? phase_weight(plan_.task.geometry, phase.taps, weight) : std::vector<T>();
    phases_.push_back({Conv2d<T>(phase.dense, weight ? turned.data() : nullptr, bias, packing, slopes), {}});
    phase.dense = phases_.back().conv.plan();
  }
  plan_ = summed(std::move(plan_));
  divide_rows();
}

template <class T>
ConvTranspose2d<T>::ConvTranspose2d(const ConvTranspose2d& other, ConvTransposePlan plan) : plan_(std::move(plan)) {
  if (other.winograd_) {
    winograd_ = other.winograd_->resized(plan_.task);
    return;
  }
  if (plan_.is_winograd()) plan_ = plan_phases(plan_.task, transpose_phases(plan_.task.geometry));
  plan_.reason = other.plan_.reason;
  for (std::size_t i = 0; i < plan_.phases.size(); ++i) {
    phases_.push_back({Conv2d<T>(other.phases_[i].conv, plan_.phases[i].dense), {}});
    plan_.phases[i].dense = phases_.back().conv.plan();
  }
  plan_ = summed(std::move(plan_));
  divide_rows();
}

// Where windows do not overlap, all phases of a band of rows are computed one after the other: x is
// read from the cache by all but the first, and what they write lies together. Only by direct
// convolution, whose sums do not depend on what else is computed.
template <class T>
void ConvTranspose2d<T>::divide_rows() {
  constexpr index_t kPixels = 98;  // of a band: fewer would not repay the reading of the weights
  constexpr index_t kBands = 4;    // rather than fewer, for the threads
  for (const PackedPhase& phase : phases_) {
    const ConvGeometry& g = phase.conv.geometry();
    if (phase.conv.plan().algorithm != Algorithm::direct || g.taps() != 1 || g.pad_top != 0 || g.pad_bottom != 0 || g.pad_left != 0 || g.pad_right != 0) return;
  }
  const ConvGeometry& g = plan_.task.geometry;
  // Where images are small and weights large, threads rather divide the output channels, and the
  // weights with them.
  if (g.out_w < kWide && plan_.packed_bytes > cache_sizes().l2) return;
  const index_t row_bytes = g.out_channels * g.out_w * static_cast<index_t>(sizeof(T));
  rows_ = std::min(static_cast<index_t>(cache_sizes().l2 / 4) / row_bytes, ceil_div(g.out_h, kBands));
  rows_ = std::max(rows_, ceil_div(kPixels, g.out_w));
  rows_ = ceil_div(g.out_h, ceil_div(g.out_h, rows_));
  for (PackedPhase& phase : phases_)
    for (const index_t rows : {rows_, g.out_h % rows_}) {
      ConvTask band = phase.conv.plan().task;
      band.geometry.in_h = band.geometry.out_h = rows;
      if (rows > 0) phase.bands.emplace_back(phase.conv, plan_conv(band, Algorithm::direct));
    }
}

namespace {

// While it lives, this thread's work is divided as for one thread.
struct Alone {
  const int before = set_thread_override(1);
  ~Alone() { set_thread_override(before); }
};

}  // namespace

template <class T>
void ConvTranspose2d<T>::run_bands(const TensorView<const T>& x, const TensorView<T>& out) const {
  const auto phases = static_cast<index_t>(phases_.size());
  const index_t bands = ceil_div(x.h, rows_);
  parallel_for(x.n * bands * phases, [&](index_t task) {
    const index_t n = task / phases / bands, row = task / phases % bands * rows_;
    const auto index = static_cast<std::size_t>(task % phases);
    const ConvTransposePlan::Phase& phase = plan_.phases[index];
    const std::vector<Conv2d<T>>& of_phase = phases_[index].bands;
    const Conv2d<T>& conv = of_phase[row + rows_ > x.h ? 1 : 0];
    const auto part = [&](auto view) {
      view.data += n * view.sn + row * view.sh;
      view.n = 1;
      view.h = conv.geometry().out_h;
      return view;
    };
    const Alone alone;
    conv.run(part(x), nullptr, part(phase_pixels(plan_.task.geometry, conv.geometry(), phase.row, phase.column, out)));
  });
}

template <class T>
void ConvTranspose2d<T>::run(const TensorView<const T>& x, const TensorView<T>& out) const {
  const ConvGeometry& g = plan_.task.geometry;
  check(g, x, out);
  if (x.n == 0) return;
  if (winograd_) return winograd_->run(x, out);
  const index_t tasks = rows_ == 0 ? 0 : x.n * ceil_div(x.h, rows_) * static_cast<index_t>(phases_.size());
  if (tasks >= 2 * num_threads()) return run_bands(x, out);
  for (std::size_t i = 0; i < phases_.size(); ++i) {
    const ConvTransposePlan::Phase& phase = plan_.phases[i];
    phases_[i].conv.run(x, nullptr, phase_pixels(g, phase.dense.task.geometry, phase.row, phase.column, out));
  }
}

template class ConvTranspose2d<float>;
template class ConvTranspose2d<double>;

}  // namespace fastconv
