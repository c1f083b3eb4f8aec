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

// The slopes of prelu, or kNone.
ValueId slopes_of(const Node& node) {
  return std::visit([&](const auto& o) -> ValueId {
    if constexpr (requires { o.kSlopes; }) return node.input(o.kSlopes);
    return kNone;
  }, node.op);
}

// A contiguous value whose last axis is channels, as the image that op::Linear::as_image()
// describes.
TensorView<void> channels_last(const Shape& shape) {
  const Shape s = op::Linear::as_image(shape);
  return {nullptr, s[0], s[1], s[2], s[3], 1, s[1] * s[2] * s[3], 1, s[1] * s[3], s[1], 0};
}

// All that the time of a convolution depends on but its algorithm, the machine and the options of
// the network.
std::string task_text(const ConvGeometry& g, const std::string& op, const TensorView<void>& x, const TensorView<void>& y) {
  std::ostringstream text;
  text << op << " x=" << x.n << 'x' << g.in_channels << 'x' << g.in_h << 'x' << g.in_w << '/' << x.block << " w=" << g.out_channels
       << 'x' << g.group_in() << 'x' << g.kernel_h << 'x' << g.kernel_w << '/' << y.block << " stride=" << g.stride_h << ','
       << g.stride_w << " padding=" << g.pad_top << ',' << g.pad_bottom << ',' << g.pad_left << ',' << g.pad_right
       << " dilation=" << g.dilation_h << ',' << g.dilation_w << " groups=" << g.groups;
  return text.str();
}

// What the rule takes under a limit of workspace, and all that is considered.
std::pair<Algorithm, std::vector<Candidate>> candidates(const ConvTask& task, std::optional<std::size_t> max_workspace) {
  const ConvGeometry& geometry = task.geometry;
  Algorithm first = Algorithm::automatic;
  std::vector<Candidate> list, others;
  std::size_t least = ~std::size_t{0};
  for (const AlgorithmInfo& info : conv_algorithms(task)) {
    std::string why;
    if (!info.available) {
      why = info.reason;
    } else if (info.algorithm == Algorithm::reference) {
      why = "plain loops, which run only when asked for";
    } else if (info.algorithm == Algorithm::winograd6) {
      why = "its error passes the bound, so that it runs only when asked for";
    } else if (info.algorithm == Algorithm::strassen && task.accuracy != Accuracy::fastest) {
      why = "its error is relative to all channels: accuracy='fastest' allows it";
    } else if (geometry.group_in() == 1 && info.error_class != "exact") {
      why = "with one input channel a group, transforms cost more than they save";
    } else if (max_workspace && info.workspace_bytes > *max_workspace) {
      least = std::min(least, info.workspace_bytes);
      why = "takes " + std::to_string(info.workspace_bytes) + " bytes of workspace, over max_workspace";
    } else if (!list.empty() && task.accuracy == Accuracy::exact && !same_bits(geometry, first, info.algorithm)) {
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

// Whether what joins depends on its weights: depthwise convolution looks whether they are finite.
bool joins_by_weights(const ConvPlan& plan) { return plan.algorithm == Algorithm::depthwise; }
bool joins_by_weights(const ConvTransposePlan&) { return false; }

}  // namespace

template <class T>
const T* Lowering::weights(ValueId id) {
  const auto& constant = *graph_[id].as<op::Constant>();
  const T* data = static_cast<const T*>(constant.data.get());
  if (!constant.scale) return data;
  constexpr std::size_t kLargePages = std::size_t{4} << 20;  // of a larger array than needed, what is not used costs nothing
  const index_t size = checked_size(graph_.shape(id)), rows = graph_.shape(id)[0];
  AlignedArray<T>& scaled = convs<T>().scaled;
  if (scaled.size() < static_cast<std::size_t>(size))
    scaled = AlignedArray<T>(std::max(static_cast<std::size_t>(size), kLargePages / sizeof(T)));
  const index_t row = rows ? size / rows : 0;
  parallel_for(
      rows, [&](index_t i) { pack_kernels<T>().scale(data + i * row, (*constant.scale)[i], row, scaled.data() + i * row); },
      ceil_div(16384, std::max<index_t>(row, 1)));
  return scaled.data();
}

ConvPlan Lowering::plan(ValueId id, const ConvTask& task) const {
  ConvPlan plan = plan_conv(task);
  if (options_.max_workspace) {
    auto [algorithm, considered] = candidates(task, options_.max_workspace);
    plan = plan_conv(task, algorithm);
    plan.reason = considered[0].reason;
  }
  const auto given = options_.algorithms.find(id);
  if (given != options_.algorithms.end() && given->second != plan.algorithm) plan = plan_conv(task, given->second);
  return plan;
}

template <class T>
const Lowering::ChosenConv<T>& Lowering::conv(ValueId id, bool nchw) {
  const Node& node = graph_[id];
  ChosenConv<T>& chosen = convs<T>().chosen[id];
  if (chosen.conv) return chosen;
  const ConvTask task{geometry_of(graph_, node), dtype_of<T>, activation_of(node), options_.accuracy, nchw};
  chosen.considered = [task, limit = options_.max_workspace] { return candidates(task, limit).second; };
  chosen.conv = packed<T>(packed_.of<T>().convs, id, plan(id, task));
  return chosen;
}

// With the weights as another size of images has packed them, where it was planned alike.
template <class T, class Conv, class Plan>
std::shared_ptr<const Conv> Lowering::packed(PackedByValue<Conv, Plan>& all, ValueId id, const Plan& plan) {
  if (!options_.pack_weights && !joins_by_weights(plan)) return std::make_shared<const Conv>(plan, nullptr, nullptr);
  auto& own = all[id];
  for (const auto& [planned, conv] : own)
    if (packs_alike(planned, plan)) return planned == plan ? conv : std::make_shared<const Conv>(*conv, plan);
  const Node& node = graph_[id];
  const Packing packing{/*fall_back=*/true, packed_.arena};
  const auto bias = constant_data<T>(node.input(2)), slopes = constant_data<T>(slopes_of(node));
  own.push_back({plan, std::make_shared<const Conv>(plan, weights<T>(node.inputs[1]), bias.get(), packing, slopes.get())});
  return own.back().conv;
}

template <class Conv, class T, class Plan, class Run>
StepInfo& Lowering::emit_unpacked(ValueId id, const Plan& plan, std::vector<Operand> operands, const Run& run) {
  const Node& node = graph_[id];
  const Operand weight = flat(as(node.inputs[1], false), node.inputs[1]);
  operands.push_back(weight);
  std::optional<Operand> bias;
  if (node.input(2) != kNone) operands.push_back(*(bias = flat(as(node.input(2), false), node.input(2))));
  return emit(id, operands, [=, slopes = constant_data<T>(slopes_of(node))](void* const* b) {
    run(Conv(plan, weight.data<const T>(b), bias ? bias->data<const T>(b) : nullptr, {}, slopes.get()), b);
  });
}

template <class T>
void Lowering::run_unpacked(ValueId id, const ConvTask& task, const Operand& x, const Operand& y, std::optional<Operand> residual) {
  const ConvPlan taken = plan(id, task);
  std::vector<Operand> operands{x, y};
  if (residual) operands.push_back(*residual);
  StepInfo& info = emit_unpacked<Conv2d<T>, T>(id, taken, operands, [=](const Conv2d<T>& conv, void* const* b) {
    if (!residual) return conv.run(x.at<const T>(b), nullptr, y.at<T>(b));
    const TensorView<const T> r = residual->at<const T>(b);
    conv.run(x.at<const T>(b), &r, y.at<T>(b));
  });
  info.workspace = taken.workspace_bytes;
  if (residual) info.op += "+add";
  info.op += activation_suffix(task.activation);
  info.algorithm = algorithm_name(taken.algorithm);
  info.reason = taken.reason;
  info.error_class = error_class(taken.algorithm);
  info.macs = task.geometry.macs() * x.view.n;
}

template <class T>
void Lowering::run_conv(ValueId id, const Operand& x, const Operand& y, std::optional<Operand> residual) {
  const Node& node = graph_[id];
  // Single pixels are better taken together over the batch, as direct convolution does.
  const bool nchw = x.view.block == 1 && y.view.block == 1 && y.view.h * y.view.w > 4 && node.as<op::Conv2d>();
  if (!graph_.has_constant_weights(node)) {
    const ConvTask task{geometry_of(graph_, node), dtype_of<T>, activation_of(node), options_.accuracy, nchw, /*one_call=*/true};
    return run_unpacked<T>(id, task, x, y, residual);
  }
  const ChosenConv<T>& chosen = conv<T>(id, nchw);
  const Conv2d<T>& last = *chosen.conv;
  const auto step = [&](const auto& engine) -> StepInfo& {
    const auto run = [=](void* const* b) {
      if (!residual) return engine->run(x.at<const T>(b), nullptr, y.at<T>(b));
      const TensorView<const T> r = residual->at<const T>(b);
      engine->run(x.at<const T>(b), &r, y.at<T>(b));
    };
    StepInfo& info = residual ? emit(id, {x, y, *residual}, run) : emit(id, {x, y}, run);
    return info;
  };
  const auto joined = convs<T>().joined.find(id);
  const bool alone = joined == convs<T>().joined.end();
  StepInfo& info = alone ? step(chosen.conv) : step(joined->second);
  info.workspace = alone ? last.plan().workspace_bytes : joined->second->workspace_bytes();
  if (residual) info.op += "+add";
  info.op += activation_suffix(activation_of(node));
  info.algorithm = algorithm_name(last.plan().algorithm);
  info.reason = last.plan().reason;
  info.error_class = error_class(last.plan().algorithm);
  info.macs = last.geometry().macs() * x.view.n;
  info.bytes += last.plan().packed_bytes;
  if (alone) {
    info.value = id;
    info.task = task_text(last.geometry(), info.op, x.view, y.view);
    info.considered = chosen.considered;
    return;
  }
  const Node& before = graph_[node.inputs[0]];
  const Conv2d<T>& first = *conv<T>(node.inputs[0], false).conv;
  info.name = before.name + ", " + info.name;
  info.op = operator_name(before.op) + activation_suffix(activation_of(before)) + ", " + info.op;
  info.algorithm = std::string(algorithm_name(first.plan().algorithm)) + ", " + info.algorithm;
  info.reason = "what lies between the two stays in L2";
  info.macs += first.geometry().macs() * x.view.n;
  info.bytes += first.plan().packed_bytes;
}

// A 1x1 convolution waits for the depthwise one that alone reads its result, where that would not
// stay in L2 between them. Convolutions whose algorithms are given stay apart: steps are the same
// with any algorithms for those that the rule keeps apart.
template <class T>
bool Lowering::joins_depthwise(ValueId id) {
  const ValueId x = graph_[id].inputs[0], next = buffers_.last_use(id);
  if (uses_[id] != 1 || next == graph_.size() || graph_.is_constant(x) || !places_[x].blocked) return false;
  if (options_.algorithms.contains(id) || options_.algorithms.contains(next)) return false;
  const Node &node = graph_[id], &reader = graph_[next];
  const auto* depthwise = reader.as<op::Conv2d>();
  const auto is_blocked = [&](ValueId value) { return !graph_.is_constant(value) && blocked_[value]; };
  if (!depthwise || reader.inputs[0] != id || depthwise->groups != node.shape[1] || !is_blocked(next)) return false;
  if (!graph_.has_constant_weights(node) || !graph_.has_constant_weights(reader)) return false;
  if (node.input(3) != kNone || (reader.input(3) != kNone && !is_blocked(reader.input(3)))) return false;
  if (static_cast<std::size_t>(checked_size(node.shape)) * sizeof(T) <= cache_sizes().l2) return false;
  auto joined = PointwiseDepthwise<T>::make(conv<T>(id, false).conv, conv<T>(next, false).conv);
  if (!joined || (options_.max_workspace && joined->workspace_bytes() > *options_.max_workspace)) return false;
  convs<T>().joined[next] = std::move(joined);
  buffers_.need_until(x, next);
  return true;
}

void Lowering::define_over(ValueId id, const Operand& x, const std::optional<Operand>& residual) {
  const Node& node = graph_[id];
  const auto reads = [&](ValueId value) {
    return value != kNone && !graph_.is_constant(value) && places_[value].buffer == residual->buffer;
  };
  if (residual && residual->buffer != x.buffer && !reads(node.inputs[1]) && !reads(node.input(2)))
    define_in_place(id, node.input(3));
  else
    define(id);
}

template <class T>
void Lowering::conv2d(ValueId id) {
  const Node& node = graph_[id];
  const ValueId residual = node.input(3);
  if (joins_depthwise<T>(id)) return;
  const Operand x = image(convs<T>().joined.contains(id) ? graph_[node.inputs[0]].inputs[0] : node.inputs[0]);
  std::optional<Operand> r;
  if (residual != kNone) r = image(residual);
  define_over(id, x, r);
  run_conv<T>(id, x, image(id), r);
}

template <class T>
void Lowering::linear(ValueId id) {
  const Node& node = graph_[id];
  const ValueId residual = node.input(3);
  const auto view_of = [&](ValueId value) {
    const Place at = as(value, false);
    return Operand{at.buffer, at.offset, at.dtype, channels_last(graph_.shape(value))};
  };
  const Operand x = view_of(node.inputs[0]);
  std::optional<Operand> r;
  if (residual != kNone) r = view_of(residual);
  define_over(id, x, r);
  run_conv<T>(id, x, view_of(id), r);
}

template <class T>
void Lowering::conv_transpose2d(ValueId id) {
  const Node& node = graph_[id];
  const auto& o = *node.as<op::ConvTranspose2d>();
  const Operand x = image(node.inputs[0]);
  define(id);
  const Operand y = image(id);
  const bool nchw = x.view.block == 1 && y.view.block == 1;
  const bool one_call = !graph_.has_constant_weights(node);
  ConvTransposePlan plan =
      plan_conv_transpose({geometry_of(graph_, node), dtype_of<T>, o.activation, options_.accuracy, nchw, one_call});
  const auto emit_step = [&]() -> StepInfo& {
    if (one_call)
      return emit_unpacked<ConvTranspose2d<T>, T>(id, plan, {x, y}, [=](const ConvTranspose2d<T>& conv, void* const* b) {
        conv.run(x.at<const T>(b), y.at<T>(b));
      });
    const auto conv = packed<T>(packed_.of<T>().transposed, id, plan);
    plan = conv->plan();
    StepInfo& info = emit(id, {x, y}, [=](void* const* b) { conv->run(x.at<const T>(b), y.at<T>(b)); });
    info.bytes += plan.packed_bytes;
    return info;
  };
  StepInfo& info = emit_step();
  info.op += activation_suffix(o.activation);
  info.algorithm = plan.algorithms();
  info.reason = plan.reason;
  info.macs = plan.task.geometry.macs() * x.view.n;
  info.workspace = plan.workspace_bytes;
}

void Lowering::lower(ValueId id, const op::Conv2d&) {
  floats(id, [&]<class T>() { conv2d<T>(id); });
}
void Lowering::lower(ValueId id, const op::Linear&) {
  floats(id, [&]<class T>() { linear<T>(id); });
}
void Lowering::lower(ValueId id, const op::ConvTranspose2d&) {
  floats(id, [&]<class T>() { conv_transpose2d<T>(id); });
}

}  // namespace fastconv
