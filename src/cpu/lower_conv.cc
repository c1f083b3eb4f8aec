// Convolutions and linear layers.
#include <sstream>

#include "cpu/lower.h"
#include "fastconv/cpu.h"
#include "fastconv/error.h"
#include "fastconv/thread_pool.h"
#include "kernels/pack/pack.h"

namespace fastconv {
namespace {

Activation activation_of(const Node& node) {
  const auto* conv = node.as<op::Conv2d>();
  return conv ? conv->activation : node.as<op::Linear>()->activation;
}

// A contiguous value whose last axis is channels, as the image that op::Linear::as_image() describes.
template <class T>
TensorView<T> channels_last(const Shape& shape) {
  const Shape s = op::Linear::as_image(shape);
  return {nullptr, s[0], s[1], s[2], s[3], 1, s[1] * s[2] * s[3], 1, s[1] * s[3], s[1], 0};
}

// All that the time of a convolution depends on but its algorithm, the machine and the options of the network.
template <class T>
std::string task_text(const ConvGeometry& g, const std::string& op, const TensorView<T>& x, const TensorView<T>& y) {
  std::ostringstream text;
  text << op << " x=" << x.n << 'x' << g.in_channels << 'x' << g.in_h << 'x' << g.in_w << '/' << x.block << " w=" << g.out_channels
       << 'x' << g.group_in() << 'x' << g.kernel_h << 'x' << g.kernel_w << '/' << y.block << " stride=" << g.stride_h << ','
       << g.stride_w << " padding=" << g.pad_top << ',' << g.pad_bottom << ',' << g.pad_left << ',' << g.pad_right
       << " dilation=" << g.dilation_h << ',' << g.dilation_w << " groups=" << g.groups;
  return text.str();
}

// What the rule takes under a limit of workspace, and all that is considered.
std::pair<Algorithm, std::vector<Candidate>> candidates(const ConvGeometry& geometry, DType dtype, const ConvOptions& options,
                                                        std::optional<std::size_t> max_workspace) {
  Algorithm first = Algorithm::automatic;
  std::vector<Candidate> list, others;
  std::size_t least = ~std::size_t{0};
  for (const AlgorithmInfo& info : conv_algorithms(geometry, dtype, options)) {
    std::string why;
    if (!info.available) {
      why = info.reason;
    } else if (info.algorithm == Algorithm::reference) {
      why = "plain loops, which run only when asked for";
    } else if (info.algorithm == Algorithm::winograd6) {
      why = "its error passes the bound, so that it runs only when asked for";
    } else if (info.algorithm == Algorithm::strassen && options.accuracy != Accuracy::fastest) {
      why = "its error is relative to all channels: accuracy='fastest' allows it";
    } else if (geometry.group_in() == 1 && info.error_class != "exact") {
      why = "with one input channel a group, transforms cost more than they save";
    } else if (max_workspace && info.workspace_bytes > *max_workspace) {
      least = std::min(least, info.workspace_bytes);
      why = "takes " + std::to_string(info.workspace_bytes) + " bytes of workspace, over max_workspace";
    } else if (!list.empty() && options.accuracy == Accuracy::exact && !same_bits(geometry, first, info.algorithm)) {
      why = "the rule prefers " + list[0].algorithm + ", which rounds differently";
    }
    if (!why.empty()) {
      others.push_back({algorithm_name(info.algorithm), false, std::move(why)});
    } else if (!list.empty()) {
      list.push_back({algorithm_name(info.algorithm), true, "the rule prefers " + list[0].algorithm});
    } else {  // what the rule prefers has been left out where max_workspace forbids it
      first = info.algorithm;
      list.push_back({algorithm_name(first), true, others.empty() ? info.reason : "the first that max_workspace allows"});
    }
  }
  if (list.empty())
    fail("max_workspace = ", *max_workspace, " bytes is too small for a convolution of ", geometry.in_channels, " to ",
         geometry.out_channels, " channels, which needs ", least);
  list.insert(list.end(), others.begin(), others.end());
  return {first, std::move(list)};
}

}  // namespace

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
const typename Lowering<T>::ChosenConv& Lowering<T>::conv(ValueId id, bool nchw) {
  const Node& node = graph_[id];
  ChosenConv& chosen = convs_[id];
  if (chosen.conv) return chosen;
  const ConvGeometry geometry = geometry_of(graph_, node);
  ConvOptions options;
  options.activation = activation_of(node);
  options.accuracy = options_.accuracy;
  options.nchw = nchw;
  chosen.considered = [geometry, options, limit = options_.max_workspace] {
    return candidates(geometry, dtype_of<T>, options, limit).second;
  };
  RuleChoice first = conv_rule(geometry, dtype_of<T>, options);
  if (options_.max_workspace) {
    auto [algorithm, considered] = candidates(geometry, dtype_of<T>, options, options_.max_workspace);
    first = {algorithm, considered[0].reason};
  }
  const auto given = options_.algorithms.find(id);
  options.algorithm = given != options_.algorithms.end() ? given->second : first.algorithm;
  chosen.conv = packed(id, geometry, options);
  chosen.reason = chosen.conv->algorithm() == first.algorithm ? first.reason : chosen.conv->reason();
  return chosen;
}

// With the weights as another size of images has packed them, where it was planned alike.
template <class T>
std::shared_ptr<const Conv2d<T>> Lowering<T>::packed(ValueId id, const ConvGeometry& geometry, ConvOptions options) {
  std::vector<PackedConv<T>>& plans = packed_.convs[id];
  for (const PackedConv<T>& plan : plans)
    if (plan.planned == options.algorithm)
      return plan.conv->geometry() == geometry ? plan.conv : std::make_shared<const Conv2d<T>>(*plan.conv, geometry);
  const Node& node = graph_[id];
  const ValueId bias = node.inputs.size() > 2 ? node.inputs[2] : kNone;
  options.arena = packed_.arena;
  options.borrow_weights = !options_.pack_weights;
  options.fall_back = true;
  // Scaled where they decide what joins: depthwise convolution looks whether they are finite.
  const bool scaled = options_.pack_weights || geometry.group_in() == 1;
  const T* weight = scaled ? weights(node.inputs[1]) : constant_data(node.inputs[1]).get();
  plans.push_back({options.algorithm, std::make_shared<const Conv2d<T>>(geometry, options, weight, constant_data(bias).get())});
  return plans.back().conv;
}

template <class T>
void Lowering<T>::run_conv(ValueId id, const Operand<T>& x, const Operand<T>& y, std::optional<Operand<T>> residual) {
  const Node& node = graph_[id];
  // Single pixels are better taken together over the batch, as direct convolution does.
  const bool nchw = x.view.block == 1 && y.view.block == 1 && y.view.h * y.view.w > 4 && node.as<op::Conv2d>();
  const ChosenConv& chosen = conv(id, nchw);
  const Conv2d<T>& last = *chosen.conv;
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
  StepInfo& info = joined == joined_.end() ? step(chosen.conv) : step(joined->second);
  if (residual) info.op += "+add";
  info.op += activation_suffix(activation_of(node));
  info.algorithm = algorithm_name(last.algorithm());
  info.reason = chosen.reason;
  info.error_class = error_class(last.algorithm());
  info.macs = last.geometry().macs() * x.view.n;
  info.bytes += last.packed_bytes();
  if (joined == joined_.end()) {
    info.value = id;
    info.task = task_text(last.geometry(), info.op, x.view, y.view);
    info.considered = chosen.considered;
    return;
  }
  const Node& before = graph_[node.inputs[0]];
  const Conv2d<T>& first = *conv(node.inputs[0], false).conv;
  info.name = before.name + ", " + info.name;
  info.op = operator_name(before.op) + activation_suffix(activation_of(before)) + ", " + info.op;
  info.algorithm = std::string(algorithm_name(first.algorithm())) + ", " + info.algorithm;
  info.reason = "what lies between the two stays in L2";
  info.macs += first.geometry().macs() * x.view.n;
  info.bytes += first.packed_bytes();
}

// A 1x1 convolution waits for the depthwise one that alone reads its result, where that would not stay in L2 between them.
// Convolutions whose algorithms are given stay apart: steps are the same with any algorithms for those that the rule keeps apart.
template <class T>
bool Lowering<T>::joins_depthwise(ValueId id) {
  const ValueId x = graph_[id].inputs[0], next = last_use_[id];
  if (uses_[id] != 1 || next == graph_.size() || graph_.is_constant(x) || !places_[x].blocked) return false;
  if (options_.algorithms.contains(id) || options_.algorithms.contains(next)) return false;
  const Node &node = graph_[id], &reader = graph_[next];
  const auto* depthwise = reader.as<op::Conv2d>();
  const auto residual_of = [](const Node& n) { return n.inputs.size() > 3 ? n.inputs[3] : kNone; };
  const auto is_blocked = [&](ValueId value) { return !graph_.is_constant(value) && blocked_[value]; };
  if (!depthwise || reader.inputs[0] != id || depthwise->groups != node.shape[1] || !is_blocked(next)) return false;
  if (residual_of(node) != kNone || (residual_of(reader) != kNone && !is_blocked(residual_of(reader)))) return false;
  if (static_cast<std::size_t>(checked_size(node.shape)) * sizeof(T) <= cache_sizes().l2) return false;
  auto joined = PointwiseDepthwise<T>::make(conv(id, false).conv, conv(next, false).conv);
  if (!joined || (options_.max_workspace && joined->workspace_bytes() > *options_.max_workspace)) return false;
  joined_[next] = std::move(joined);
  last_use_[x] = std::max(last_use_[x], next);
  return true;
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Conv2d&) {
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
void Lowering<T>::lower(ValueId id, const op::Linear&) {
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
void Lowering<T>::lower(ValueId id, const op::ConvTranspose2d& o) {
  const Node& node = graph_[id];
  const Operand<T> x = image(node.inputs[0]);
  define(id);
  const Operand<T> y = image(id);
  ConvOptions options;
  options.activation = o.activation;
  options.accuracy = options_.accuracy;
  options.nchw = x.view.block == 1 && y.view.block == 1;
  options.borrow_weights = !options_.pack_weights;
  options.arena = packed_.arena;
  const ConvGeometry geometry = geometry_of(graph_, node);
  std::shared_ptr<const ConvTranspose2d<T>> conv;
  for (const auto& other : packed_.transposed[id])
    if (!conv) conv = other->resized(geometry, options);
  if (!conv) {
    const ValueId bias = node.inputs.size() > 2 ? node.inputs[2] : kNone;
    conv = std::make_shared<const ConvTranspose2d<T>>(geometry, options, weights(node.inputs[1]), constant_data(bias).get());
    packed_.transposed[id].push_back(conv);
  }
  StepInfo& info = emit(id, {x, y}, [=](T* const* b) { conv->run(x.at(b), y.at(b)); });
  info.op += activation_suffix(o.activation);
  info.algorithm = conv->algorithms();
  info.reason = conv->reason();
  info.macs = conv->geometry().macs() * x.view.n;
  info.bytes += conv->packed_bytes();
  info.workspace = conv->workspace_bytes();
}

#define INSTANTIATE(T)                                          \
  template void Lowering<T>::lower(ValueId, const op::Conv2d&); \
  template void Lowering<T>::lower(ValueId, const op::Linear&); \
  template void Lowering<T>::lower(ValueId, const op::ConvTranspose2d&);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace fastconv
