// Chooses the algorithm, and says why.
#include <algorithm>
#include <sstream>

#include "conv/engine.h"
#include "fastconv/error.h"
#include "fastconv/words.h"
#include "kernels/pack/pack.h"

namespace fastconv {
namespace {

struct Choice {
  Algorithm algorithm;
  std::string reason;
};

// The padded input under a stretch of one row of the output: what direct and depthwise kernels have
// packed at once, its zeros as well. In double, as dilation may be huge.
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

// The best tile for the shape. Its weights, 4 times as large as those of the convolution, must
// repay their transformation in the call, or at least their way from memory.
Algorithm winograd_tile(const ConvTask& task) {
  const ConvGeometry& g = task.geometry;
  return std::min(g.out_h, g.out_w) > (task.one_call ? 14 : 8) ? Algorithm::winograd4 : Algorithm::winograd2;
}

// Strassen's rounding errors are relative to all channels. Its additions grow with the sum of input
// and output channels, what they save with their product; its weights, 7/4 as large, must repay
// their transformation.
bool strassen_pays(const ConvTask& task) {
  const ConvGeometry& g = task.geometry;
  constexpr index_t kHarmonicMean = 192, kPixels = 49;
  return task.accuracy == Accuracy::fastest && obstacle(g, Algorithm::strassen, task.accuracy).empty() && !task.one_call && g.out_h * g.out_w >= kPixels &&
         2 * g.in_channels * g.out_channels >= kHarmonicMean * (g.in_channels + g.out_channels);
}

// The rule behind "auto"; docs/performance.md has the measurements it rests on.
Choice rule(const ConvTask& task) {
  const ConvGeometry& g = task.geometry;
  const index_t lanes = channel_block(task.dtype);
  const index_t pixels = g.out_h * g.out_w;
  const double halo = halo_size(g, Algorithm::direct);
  if (halo > 8 * double(g.in_h) * double(g.in_w) + 4096 || !obstacle(g, Algorithm::direct, task.accuracy).empty())
    return {Algorithm::im2col, "the window is far larger than x: others would pack its zeros"};
  if (g.group_in() == 1 && g.groups > 1 && obstacle(g, Algorithm::depthwise, task.accuracy).empty())
    return {Algorithm::depthwise, "groups == in_channels"};
  // Where weights are transformed in the call itself, images of 7x7 have too few tiles to repay it.
  const index_t least = task.one_call ? 8 : 7;
  if (obstacle(g, Algorithm::winograd, task.accuracy).empty() && g.group_in() >= 16 && g.group_out() >= 16 &&
      std::min(g.out_h, g.out_w) >= least)
    return {winograd_tile(task), "3x3, stride 1, 16 channels or more"};
  if (strassen_pays(task)) return {Algorithm::strassen, "1x1, many channels: seven products instead of eight"};
  if (task.nchw && pixels <= 4) return {Algorithm::im2col, "hardly any pixels: a product of matrix and vector"};
  if (task.nchw && g.groups == 1 && 2 * g.out_channels <= lanes && pixels >= lanes)
    return {Algorithm::im2col, "few output channels: vectors of pixels are fuller"};
  // With many channels a block of x is used often enough to repay its conversion, which puts it
  // into fewer cache lines.
  const bool worth_conversion = !task.one_call && g.group_in() >= 256;
  if (task.nchw && g.taps() == 1 && g.stride_h == 1 && g.stride_w == 1 && pixels >= 8 * lanes && !worth_conversion)
    return {Algorithm::im2col, "1x1 on NCHW: neither input nor weights need repacking"};
  if (spans_groups(g, lanes)) return {Algorithm::direct, "few output channels a group: vectors span several groups"};
  return {Algorithm::direct, "serves every shape at a high share of the peak"};
}

Choice choose(const ConvTask& task, Algorithm algorithm) {
  if (algorithm == Algorithm::automatic) return rule(task);
  const std::string why = obstacle(task.geometry, algorithm, task.accuracy);
  if (!why.empty()) fail("algorithm '", algorithm_name(algorithm), "' cannot serve here: it ", why);
  if (algorithm == Algorithm::winograd) return {winograd_tile(task), "asked for: the best tile for the shape"};
  return {algorithm, "asked for"};
}

template <class T>
ConvPlan plan(const ConvTask& task, Choice choice) {
  const auto engine = make_engine<T>(task, choice.algorithm);
  return {task, choice.algorithm, std::move(choice.reason), engine->packed_bytes(), engine->workspace_bytes()};
}
ConvPlan plan(const ConvTask& task, Choice choice) {
  return task.dtype == DType::f32 ? plan<float>(task, std::move(choice)) : plan<double>(task, std::move(choice));
}

}  // namespace

ConvPlan plan_conv(const ConvTask& task, Algorithm algorithm) { return plan(task, choose(task, algorithm)); }

bool packs_alike(const ConvTask& a, const ConvTask& b) {
  const auto without_sizes = [](ConvTask task) {
    ConvGeometry& g = task.geometry;
    g.in_h = g.in_w = g.out_h = g.out_w = g.pad_top = g.pad_bottom = g.pad_left = g.pad_right = 0;
    return task;
  };
  return without_sizes(a) == without_sizes(b);
}

bool packs_alike(const ConvPlan& a, const ConvPlan& b) { return a.algorithm == b.algorithm && packs_alike(a.task, b.task); }

std::vector<AlgorithmInfo> conv_algorithms(const ConvTask& task) {
  const Choice best = rule(task);
  std::vector<AlgorithmInfo> list;
  for (const Algorithm a : {Algorithm::depthwise, Algorithm::strassen, Algorithm::winograd4, Algorithm::winograd2, Algorithm::direct,
                            Algorithm::im2col, Algorithm::winograd6, Algorithm::reference}) {
    AlgorithmInfo info{a, true, obstacle(task.geometry, a, task.accuracy), 0, error_class(a)};
    info.available = info.reason.empty();
    if (info.available) {
      info.workspace_bytes = plan(task, {a, ""}).workspace_bytes;
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

bool same_bits(const ConvGeometry& g, Algorithm a, Algorithm b) {
  if (a == b) return true;
  const auto sums_in_order = [](Algorithm algorithm) { return algorithm == Algorithm::direct || algorithm == Algorithm::im2col; };
  constexpr index_t kFewPixels = 4;  // im2col has another kernel for them
  return sums_in_order(a) && sums_in_order(b) && g.taps() == 1 && g.groups == 1 && g.out_h * g.out_w > kFewPixels;
}

std::string describe(const ConvGeometry& g) {
  std::ostringstream text;
  text << g.in_channels << 'x' << g.in_h << 'x' << g.in_w << " -> " << g.out_channels << 'x' << g.out_h << 'x' << g.out_w << ", kernel "
       << g.kernel_h << 'x' << g.kernel_w << ", stride " << g.stride_h << ',' << g.stride_w << ", padding " << g.pad_top << ','
       << g.pad_bottom << ',' << g.pad_left << ',' << g.pad_right << ", dilation " << g.dilation_h << ',' << g.dilation_w << ", groups "
       << g.groups;
  return text.str();
}

std::string describe(const ConvPlan& plan) {
  std::ostringstream text;
  text << algorithm_name(plan.algorithm) << " (" << plan.reason << "): " << describe(plan.task.geometry) << ", "
       << word(plan.task.dtype) << (plan.task.nchw ? ", NCHW" : ", channel blocks") << "; "
       << plan.packed_bytes << " bytes of packed weights, " << plan.workspace_bytes << " of workspace";
  return text.str();
}

index_t channel_block(DType dtype) {
  return dtype == DType::f32 ? pack_kernels<float>().lanes : pack_kernels<double>().lanes;
}

}  // namespace fastconv
