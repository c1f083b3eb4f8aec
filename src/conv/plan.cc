// Chooses the algorithm, and says why.
#include <algorithm>
#include <cstdlib>
#include <new>

#include "conv/engine.h"
#include "conv/probe.h"
#include "fastconv/error.h"
#include "kernels/pack/pack.h"
#ifdef FASTCONV_TEST_SLOWDOWN
#include "conv/slowdown.h"
#endif

namespace fastconv {

namespace {

template <class T>
SharedArray<T> padded_bias(const T* bias, index_t channels) {
  SharedArray<T> padded(static_cast<std::size_t>(channels + 2 * pack_kernels<T>().lanes));
  for (index_t i = 0; i < static_cast<index_t>(padded.size()); ++i) padded.data()[i] = bias && i < channels ? bias[i] : T(0);
  return padded;
}

}  // namespace

template <class T>
ConvEngine<T>::ConvEngine(const ConvGeometry& geometry, const ConvOptions& options, const T* bias)
    : geometry_(geometry), options_(options), bias_(padded_bias(bias, geometry.out_channels)) {}

template <class T>
void ConvEngine<T>::forget_epilogue() {
  options_.activation = Activation::none;
  bias_ = padded_bias<T>(nullptr, geometry_.out_channels);
}

template class ConvEngine<float>;
template class ConvEngine<double>;

template <class T>
struct Conv2d<T>::Impl {
  ConvGeometry geometry;
  Algorithm algorithm;
  std::string reason;
  std::unique_ptr<ConvEngine<T>> engine;
};

namespace {

using Choice = RuleChoice;

// The padded input under a stretch of one row of the output: what direct and depthwise kernels have packed at once, its
// zeros as well. In double, as dilation may be huge.
double halo_size(const ConvGeometry& g, Algorithm algorithm) {
  const double width = algorithm == Algorithm::direct ? std::min<double>(double(g.out_w), 224) : double(g.out_w);
  return (double(g.kernel_h - 1) * double(g.dilation_h) + 1) *
         ((width - 1) * double(g.stride_w) + double(g.kernel_w - 1) * double(g.dilation_w) + 1);
}

// Why `algorithm` cannot serve; empty when it can.
std::string obstacle(const ConvGeometry& g, Algorithm algorithm, Accuracy accuracy) {
  constexpr double kMaxHaloElements = 1 << 28;
  switch (algorithm) {
    case Algorithm::depthwise:
      if (g.group_in() != 1) return "needs groups == in_channels";
      [[fallthrough]];
    case Algorithm::direct:
      if (halo_size(g, algorithm) * std::max(16.0, double(g.group_in())) > kMaxHaloElements)
        return "would pack the whole dilated window with its zeros, which is too large";
      break;
    case Algorithm::strassen:
      if (g.taps() != 1) return "needs a 1x1 kernel";
      if (g.groups != 1) return "needs groups == 1";
      if (g.pad_top != 0 || g.pad_bottom != 0 || g.pad_left != 0 || g.pad_right != 0) return "needs padding 0";
      if (g.in_channels % 32 != 0 || g.out_channels % 32 != 0) return "needs multiples of 32 channels, of input and of output";
      if (accuracy == Accuracy::exact) return "is not exact";
      break;
    case Algorithm::winograd:
    case Algorithm::winograd2:
    case Algorithm::winograd4:
    case Algorithm::winograd6:
      if (g.kernel_h != 3 || g.kernel_w != 3) return "needs a 3x3 kernel";
      if (g.stride_h != 1 || g.stride_w != 1) return "needs stride 1";
      if (g.dilation_h != 1 || g.dilation_w != 1) return "needs dilation 1";
      if (accuracy == Accuracy::exact) return "is not exact";
      break;
    default: break;
  }
  return "";
}

// The best tile for the shape. Its weights, 4 times as large as those of the convolution, must repay their transformation in the call,
// or at least their way from memory.
Algorithm winograd_tile(const ConvGeometry& g, const ConvOptions& options) {
  return std::min(g.out_h, g.out_w) > (options.borrow_weights ? 14 : 7) ? Algorithm::winograd4 : Algorithm::winograd2;
}

// Strassen's rounding errors are relative to all channels. Its additions grow with the sum of input and output channels, what
// they save with their product; its weights, 7/4 as large, must repay their transformation.
bool strassen_pays(const ConvGeometry& g, const ConvOptions& options) {
  constexpr index_t kHarmonicMean = 192, kPixels = 49;
  return options.accuracy == Accuracy::fastest && obstacle(g, Algorithm::strassen, options.accuracy).empty() && !options.borrow_weights && g.out_h * g.out_w >= kPixels &&
         2 * g.in_channels * g.out_channels >= kHarmonicMean * (g.in_channels + g.out_channels);
}

// The rule behind "auto"; docs/performance.md has the measurements it rests on.
Choice rule(const ConvGeometry& g, const ConvOptions& options, index_t lanes) {
  const index_t pixels = g.out_h * g.out_w;
  const double halo = halo_size(g, Algorithm::direct);
  if (halo > 8 * double(g.in_h) * double(g.in_w) + 4096 || !obstacle(g, Algorithm::direct, options.accuracy).empty())
    return {Algorithm::im2col, "the window is far larger than x: others would pack its zeros"};
  if (g.group_in() == 1 && g.groups > 1 && obstacle(g, Algorithm::depthwise, options.accuracy).empty())
    return {Algorithm::depthwise, "groups == in_channels"};
  // Where weights are transformed in the call itself, images of 7x7 have too few tiles to repay it.
  const index_t least = options.borrow_weights ? 8 : 7;
  if (obstacle(g, Algorithm::winograd, options.accuracy).empty() && g.group_in() >= 16 && g.group_out() >= 16 &&
      std::min(g.out_h, g.out_w) >= least)
    return {winograd_tile(g, options), "3x3, stride 1, 16 channels or more"};
  if (strassen_pays(g, options)) return {Algorithm::strassen, "1x1, many channels: seven products instead of eight"};
  if (options.nchw && pixels <= 4) return {Algorithm::im2col, "hardly any pixels: a product of matrix and vector"};
  if (options.nchw && g.groups == 1 && 2 * g.out_channels <= lanes && pixels >= lanes)
    return {Algorithm::im2col, "few output channels: vectors of pixels are fuller"};
  // With many channels a block of x is used often enough to repay its conversion, which puts it into fewer cache lines.
  const bool worth_conversion = !options.borrow_weights && g.group_in() >= 256;
  if (options.nchw && g.taps() == 1 && g.stride_h == 1 && g.stride_w == 1 && pixels >= 8 * lanes && !worth_conversion)
    return {Algorithm::im2col, "1x1 on NCHW: neither input nor weights need repacking"};
  if (spans_groups(g, lanes)) return {Algorithm::direct, "few output channels a group: vectors span several groups"};
  return {Algorithm::direct, "serves every shape at a high share of the peak"};
}

Choice choose(const ConvGeometry& g, const ConvOptions& options, index_t lanes) {
  if (options.algorithm == Algorithm::automatic) return rule(g, options, lanes);
  const std::string why = obstacle(g, options.algorithm, options.accuracy);
  if (!why.empty()) fail("algorithm '", algorithm_name(options.algorithm), "' cannot serve here: it ", why);
  if (options.algorithm == Algorithm::winograd) return {winograd_tile(g, options), "asked for: the best tile for the shape"};
  return {options.algorithm, "asked for"};
}

template <class T>
std::unique_ptr<ConvEngine<T>> make_engine(Algorithm algorithm, const ConvGeometry& g, const ConvOptions& o, const T* weight,
                                           const T* bias) {
  switch (algorithm) {
    case Algorithm::reference: return make_reference(g, o, weight, bias);
    case Algorithm::im2col: return make_im2col(g, o, weight, bias);
    case Algorithm::depthwise: return make_depthwise(g, o, weight, bias);
    case Algorithm::strassen: return make_strassen(g, o, weight, bias);
    case Algorithm::winograd2: return make_winograd(g, o, 2, weight, bias);
    case Algorithm::winograd4: return make_winograd(g, o, 4, weight, bias);
    case Algorithm::winograd6: return make_winograd(g, o, 6, weight, bias);
    default: return make_direct(g, o, weight, bias);
  }
}

template <class T>
std::vector<AlgorithmInfo> list_algorithms(const ConvGeometry& g, const ConvOptions& options) {
  const Choice best = rule(g, options, pack_kernels<T>().lanes);
  std::vector<AlgorithmInfo> list;
  // Zeros that take no memory, since engines hardly read weights that they borrow before they run.
  const std::unique_ptr<T, decltype(&std::free)> weight(
      static_cast<T*>(std::calloc(static_cast<std::size_t>(g.out_channels * g.group_in() * g.taps()), sizeof(T))), &std::free);
  if (!weight) throw std::bad_alloc();
  ConvOptions borrowed = options;
  borrowed.borrow_weights = true;
  for (const Algorithm a : {Algorithm::depthwise, Algorithm::strassen, Algorithm::winograd4, Algorithm::winograd2, Algorithm::direct,
                            Algorithm::im2col, Algorithm::winograd6, Algorithm::reference}) {
    AlgorithmInfo info{a, true, obstacle(g, a, options.accuracy), 0, error_class(a)};
    info.available = info.reason.empty();
    if (info.available) {
      info.workspace_bytes = make_engine<T>(a, g, borrowed, weight.get(), nullptr)->workspace_bytes();
      info.reason = a == best.algorithm ? best.reason : std::string("the rule prefers ") + algorithm_name(best.algorithm);
    }
    list.push_back(std::move(info));
  }
  std::stable_sort(list.begin(), list.end(), [&](const AlgorithmInfo& x, const AlgorithmInfo& y) {
    const auto place = [&](const AlgorithmInfo& i) { return i.algorithm == best.algorithm ? 0 : i.available ? 1 : 2; };
    return place(x) < place(y);
  });
  return list;
}

}  // namespace

std::vector<AlgorithmInfo> conv_algorithms(const ConvGeometry& g, DType dtype, const ConvOptions& options) {
  return dtype == DType::f32 ? list_algorithms<float>(g, options) : list_algorithms<double>(g, options);
}

RuleChoice conv_rule(const ConvGeometry& g, DType dtype, const ConvOptions& options) {
  return rule(g, options, channel_block(dtype));
}

bool same_bits(const ConvGeometry& g, Algorithm a, Algorithm b) {
  if (a == b) return true;
  const auto sums_in_order = [](Algorithm algorithm) { return algorithm == Algorithm::direct || algorithm == Algorithm::im2col; };
  constexpr index_t kFewPixels = 4;  // im2col has another kernel for them
  return sums_in_order(a) && sums_in_order(b) && g.taps() == 1 && g.groups == 1 && g.out_h * g.out_w > kFewPixels;
}

template <class T>
Conv2d<T>::Conv2d(const ConvGeometry& geometry, const ConvOptions& options, const T* weight, const T* bias) {
  Choice choice = choose(geometry, options, pack_kernels<T>().lanes);
  auto engine = make_engine(choice.algorithm, geometry, options, weight, bias);
  // Weights that are used again are worth a look at what rounding does to them; calls that borrow them have no time for it.
  while ((options.algorithm == Algorithm::automatic || options.fall_back) && !options.borrow_weights) {
    const double error = engine->probe(weight);
    if (error <= kProbeLimit) break;
    choice = {choice.algorithm == Algorithm::winograd4 ? Algorithm::winograd2 : Algorithm::direct,
              std::string("with these weights the rounding error of ") + algorithm_name(choice.algorithm) + " would be too large"};
    engine = make_engine(choice.algorithm, geometry, options, weight, bias);
  }
  impl_.reset(new Impl{geometry, choice.algorithm, std::move(choice.reason), std::move(engine)});
}
template <class T>
Conv2d<T>::Conv2d(const Conv2d& other, const ConvGeometry& geometry)
    : impl_(new Impl{geometry, other.algorithm(), other.reason(), other.engine().resized(geometry)}) {}
template <class T>
Conv2d<T>::~Conv2d() = default;
template <class T>
Conv2d<T>::Conv2d(Conv2d&&) noexcept = default;
template <class T>
Conv2d<T>& Conv2d<T>::operator=(Conv2d&&) noexcept = default;

template <class T>
void Conv2d<T>::run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const {
  const ConvGeometry& g = impl_->geometry;
  if (x.c != g.in_channels || x.h != g.in_h || x.w != g.in_w)
    fail("x must have shape ", to_string({x.n, g.in_channels, g.in_h, g.in_w}), ", got ", to_string({x.n, x.c, x.h, x.w}));
  if (out.n != x.n || out.c != g.out_channels || out.h != g.out_h || out.w != g.out_w)
    fail("out must have shape ", to_string({x.n, g.out_channels, g.out_h, g.out_w}), ", got ",
         to_string({out.n, out.c, out.h, out.w}));
  if (residual && (residual->n != out.n || residual->c != out.c || residual->h != out.h || residual->w != out.w))
    fail("residual must have the output's shape ", to_string({out.n, out.c, out.h, out.w}), ", got ",
         to_string({residual->n, residual->c, residual->h, residual->w}));
  if (x.n == 0) return;
#ifdef FASTCONV_TEST_SLOWDOWN
  const Slowdown until_it_returns(impl_->algorithm);
#endif
  impl_->engine->run(x, residual, out);
}

template <class T>
const ConvGeometry& Conv2d<T>::geometry() const {
  return impl_->geometry;
}
template <class T>
Algorithm Conv2d<T>::algorithm() const {
  return impl_->algorithm;
}
template <class T>
const std::string& Conv2d<T>::reason() const {
  return impl_->reason;
}
template <class T>
std::size_t Conv2d<T>::packed_bytes() const {
  return impl_->engine->packed_bytes();
}
template <class T>
std::size_t Conv2d<T>::workspace_bytes() const {
  return impl_->engine->workspace_bytes();
}
template <class T>
const ConvEngine<T>& Conv2d<T>::engine() const {
  return *impl_->engine;
}

template class Conv2d<float>;
template class Conv2d<double>;

index_t channel_block(DType dtype) {
  return dtype == DType::f32 ? pack_kernels<float>().lanes : pack_kernels<double>().lanes;
}

}  // namespace fastconv
