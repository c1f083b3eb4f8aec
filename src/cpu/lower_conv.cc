// Convolutions and linear layers.
#include "cpu/lower.h"
#include "fastconv/cpu.h"
#include "fastconv/error.h"
#include "fastconv/thread_pool.h"
#include "kernels/pack/pack.h"

namespace fastconv {
namespace {

const char* activation_suffix(Activation activation) {
  constexpr const char* suffixes[] = {"",       "+relu",      "+relu6",       "+leaky_relu", "+gelu", "+gelu_tanh",
                                      "+silu", "+hardswish", "+hardsigmoid", "+sigmoid",    "+tanh"};
  return suffixes[static_cast<int>(activation)];
}

Activation activation_of(const Node& node) {
  const auto* conv2d = node.as<op::Conv2d>();
  return conv2d ? conv2d->activation : node.as<op::Linear>()->activation;
}

// A contiguous value whose last axis is channels, as the image that as_image() describes.
template <class T>
TensorView<T> channels_last(const Shape& shape) {
  const Shape s = as_image(shape);
  return {nullptr, s[0], s[1], s[2], s[3], 1, s[1] * s[2] * s[3], 1, s[1] * s[3], s[1], 0};
}

}  // namespace

template <class T>
ConvOptions Lowering<T>::conv_options(const ConvGeometry& geometry, Activation activation, bool nchw) const {
  ConvOptions options;
  options.activation = activation;
  options.accuracy = options_.accuracy;
  options.nchw = nchw;
  if (!options_.max_workspace) return options;
  std::size_t least = ~std::size_t{0};
  for (const AlgorithmInfo& info : conv_algorithms(geometry, dtype_of<T>, options)) {
    // winograd6's error passes the bound, and the plain loops of the reference are no way to run a network.
    if (!info.available || info.algorithm == Algorithm::winograd6 || info.algorithm == Algorithm::reference) continue;
    if (info.workspace_bytes <= *options_.max_workspace) {
      options.algorithm = info.algorithm;
      return options;
    }
    least = std::min(least, info.workspace_bytes);
  }
  fail("max_workspace = ", *options_.max_workspace, " bytes is too small for a convolution of ", geometry.in_channels, " to ",
       geometry.out_channels, " channels, which needs ", least);
}

template <class T>
const T* Lowering<T>::weights(ValueId id) {
  const auto& constant = *graph_[id].as<op::Constant>();
  const T* data = static_cast<const T*>(constant.data.get());
  if (!constant.scale) return data;
  constexpr std::size_t kLargePages = std::size_t{4} << 20;  // of a larger array than needed, what is not used costs nothing
  const index_t size = checked_size(graph_.shape(id)), rows = graph_.shape(id)[0];
  if (scaled_.size() < static_cast<std::size_t>(size))
    scaled_ = AlignedArray<T>(std::max(static_cast<std::size_t>(size), kLargePages / sizeof(T)));
  const index_t row = rows ? size / rows : 0;
  parallel_for(
      rows, [&](index_t i) { pack_kernels<T>().scale(data + i * row, (*constant.scale)[i], row, scaled_.data() + i * row); },
      ceil_div(16384, std::max<index_t>(row, 1)));
  return scaled_.data();
}

template <class T>
std::shared_ptr<const Conv2d<T>> Lowering<T>::conv(ValueId id, bool nchw) {
  const Node& node = graph_[id];
  std::shared_ptr<const Conv2d<T>>& conv = packed_.convs[id];
  if (!conv) {
    const ConvGeometry geometry = geometry_of(graph_, node);
    const ValueId bias = node.inputs.size() > 2 ? node.inputs[2] : kNone;
    ConvOptions options = conv_options(geometry, activation_of(node), nchw);
    options.arena = packed_.arena;
    conv = std::make_shared<const Conv2d<T>>(geometry, options, weights(node.inputs[1]), constant_data(bias).get());
  }
  return conv;
}

template <class T>
void Lowering<T>::run_conv(ValueId id, const Operand<T>& x, const Operand<T>& y, std::optional<Operand<T>> residual) {
  const Node& node = graph_[id];
  // Single pixels are better taken together over the batch, as direct convolution does.
  const bool nchw = x.view.block == 1 && y.view.block == 1 && y.view.h * y.view.w > 4 && node.as<op::Conv2d>();
  const auto last = conv(id, nchw);
  const auto step = [&](const auto& engine) -> StepInfo& {
    const auto run = [=](T* const* b) {
      if (!residual) return engine->run(x.at(b), nullptr, y.at(b));
      const TensorView<const T> r = residual->at(b);
      engine->run(x.at(b), &r, y.at(b));
    };
    StepInfo& info = residual ? emit(id, {x, y, *residual}, run) : emit(id, {x, y}, run);
    info.workspace = engine->workspace_bytes();
    return info;
  };
  const auto joined = joined_.find(id);
  StepInfo& info = joined == joined_.end() ? step(last) : step(joined->second);
  if (residual) info.op += "+add";
  info.op += activation_suffix(activation_of(node));
  info.algorithm = algorithm_name(last->algorithm());
  info.reason = last->reason();
  info.error_class = info.algorithm.starts_with("winograd") ? info.algorithm : "exact";
  info.macs = last->geometry().macs() * x.view.n;
  info.bytes += last->packed_bytes();
  if (joined == joined_.end()) return;
  const Node& before = graph_[node.inputs[0]];
  const auto first = conv(node.inputs[0], false);
  info.name = before.name + ", " + info.name;
  info.op = operator_name(before.op) + std::string(activation_suffix(activation_of(before))) + ", " + info.op;
  info.algorithm = std::string(algorithm_name(first->algorithm())) + ", " + info.algorithm;
  info.reason = "what lies between the two stays in L2";
  info.macs += first->geometry().macs() * x.view.n;
  info.bytes += first->packed_bytes();
}

// A 1x1 convolution waits for the depthwise one that alone reads its result, where that would not stay in L2 between them.
template <class T>
bool Lowering<T>::joins_depthwise(ValueId id) {
  const ValueId x = graph_[id].inputs[0], next = last_use_[id];
  if (uses_[id] != 1 || next == graph_.size() || graph_.is_constant(x) || !places_[x].blocked) return false;
  const Node &node = graph_[id], &reader = graph_[next];
  const auto* depthwise = reader.as<op::Conv2d>();
  const auto residual_of = [](const Node& n) { return n.inputs.size() > 3 ? n.inputs[3] : kNone; };
  const auto is_blocked = [&](ValueId value) { return !graph_.is_constant(value) && blocked_[value]; };
  if (!depthwise || reader.inputs[0] != id || depthwise->groups != node.shape[1] || !is_blocked(next)) return false;
  if (residual_of(node) != kNone || (residual_of(reader) != kNone && !is_blocked(residual_of(reader)))) return false;
  if (static_cast<std::size_t>(checked_size(node.shape)) * sizeof(T) <= cache_sizes().l2) return false;
  auto joined = PointwiseDepthwise<T>::make(conv(id, false), conv(next, false));
  if (!joined || (options_.max_workspace && joined->workspace_bytes() > *options_.max_workspace)) return false;
  joined_[next] = std::move(joined);
  last_use_[x] = std::max(last_use_[x], next);
  return true;
}

template <class T>
void Lowering<T>::conv2d(ValueId id) {
  const Node& node = graph_[id];
  const ValueId residual = node.inputs.size() > 3 ? node.inputs[3] : kNone;
  if (joins_depthwise(id)) return;
  const Operand<T> x = image(joined_.contains(id) ? graph_[node.inputs[0]].inputs[0] : node.inputs[0]);
  if (residual == kNone) {
    define(id);
    return run_conv(id, x, image(id), {});
  }
  const Operand<T> r = image(residual);
  if (r.buffer != x.buffer)
    define_in_place(id, residual);
  else
    define(id);
  run_conv(id, x, image(id), r);
}

template <class T>
void Lowering<T>::linear(ValueId id) {
  const Node& node = graph_[id];
  const ValueId residual = node.inputs.size() > 3 ? node.inputs[3] : kNone;
  const auto view_of = [&](ValueId value) {
    const Place at = as(value, false);
    return Operand<T>{at.buffer, at.offset, channels_last<T>(graph_.shape(value))};
  };
  const Operand<T> x = view_of(node.inputs[0]);
  std::optional<Operand<T>> r;
  if (residual != kNone) r = view_of(residual);
  if (r && r->buffer != x.buffer)
    define_in_place(id, residual);
  else
    define(id);
  run_conv(id, x, view_of(id), r);
}

template <class T>
void Lowering<T>::conv_transpose2d(ValueId id) {
  const Node& node = graph_[id];
  const auto& o = *node.as<op::ConvTranspose2d>();
  const ConvGeometry geometry = geometry_of(graph_, node);
  ConvOptions options;
  options.activation = o.activation;
  options.accuracy = options_.accuracy;
  const auto weight = constant_data(node.inputs[1]);
  const auto bias = constant_data(node.inputs.size() > 2 ? node.inputs[2] : kNone);
  const Operand<T> x = planes(as(node.inputs[0], false), graph_.shape(node.inputs[0]));
  define(id);
  const Operand<T> y = image(id);
  StepInfo& info = emit(id, {x, y}, [=](T* const* b) {
    fastconv::conv_transpose2d<T>(geometry, options, weight.get(), bias.get(), x.at(b), y.at(b));
  });
  info.op += activation_suffix(o.activation);
  info.macs = geometry.macs() * x.view.n;
}

template void Lowering<float>::conv2d(ValueId);
template void Lowering<double>::conv2d(ValueId);
template void Lowering<float>::linear(ValueId);
template void Lowering<double>::linear(ValueId);
template void Lowering<float>::conv_transpose2d(ValueId);
template void Lowering<double>::conv_transpose2d(ValueId);

}  // namespace fastconv
