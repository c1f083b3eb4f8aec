// Convolutions and linear layers.
#include <sstream>

#include "cpu/lower.h"
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

// A contiguous value whose last axis is channels, as the image that as_image() describes.
template <class T>
TensorView<T> channels_last(const Shape& shape) {
  const Shape s = as_image(shape);
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

}  // namespace

template <class T>
std::vector<Candidate> Lowering<T>::candidates(const ConvGeometry& geometry, const ConvOptions& options) const {
  std::vector<Candidate> list, others;
  std::size_t least = ~std::size_t{0};
  for (const AlgorithmInfo& info : conv_algorithms(geometry, dtype_of<T>, options)) {
    std::string why;
    if (!info.available) {
      why = info.reason;
    } else if (info.algorithm == Algorithm::reference) {
      why = "plain loops, which run only when asked for";
    } else if (info.algorithm == Algorithm::winograd6) {
      why = "its error passes the bound, so that it runs only when asked for";
    } else if (geometry.group_in() == 1 && info.error_class != "exact") {
      why = "with one input channel a group, transforms cost more than they save";
    } else if (options_.max_workspace && info.workspace_bytes > *options_.max_workspace) {
      least = std::min(least, info.workspace_bytes);
      why = "takes " + std::to_string(info.workspace_bytes) + " bytes of workspace, over max_workspace";
    } else if (!list.empty() && options.accuracy == Accuracy::exact && !same_bits(geometry, list[0].algorithm, info.algorithm)) {
      why = std::string("the rule prefers ") + algorithm_name(list[0].algorithm) + ", which rounds differently";
    }
    if (!why.empty()) {
      others.push_back({info.algorithm, false, std::move(why)});
    } else if (!list.empty()) {
      list.push_back({info.algorithm, true, std::string("the rule prefers ") + algorithm_name(list[0].algorithm)});
    } else {  // what the rule prefers has been left out where max_workspace forbids it
      list.push_back({info.algorithm, true, others.empty() ? info.reason : "the first that max_workspace allows"});
    }
  }
  if (list.empty())
    fail("max_workspace = ", *options_.max_workspace, " bytes is too small for a convolution of ", geometry.in_channels, " to ",
         geometry.out_channels, " channels, which needs ", least);
  list.insert(list.end(), others.begin(), others.end());
  return list;
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
void Lowering<T>::run_conv(ValueId id, const Operand<T>& x, const Operand<T>& y, std::optional<Operand<T>> residual) {
  const Node& node = graph_[id];
  const ConvGeometry geometry = geometry_of(graph_, node);
  const auto* conv2d = node.as<op::Conv2d>();
  const Activation activation = conv2d ? conv2d->activation : node.as<op::Linear>()->activation;
  std::shared_ptr<const PackedConv<T>>& packed = packed_.convs[id];
  if (!packed) {
    const ValueId bias = node.inputs.size() > 2 ? node.inputs[2] : kNone;
    ConvOptions options;
    options.activation = activation;
    options.accuracy = options_.accuracy;
    // Single pixels are better taken together over the batch, as direct convolution does.
    options.nchw = x.view.block == 1 && y.view.block == 1 && geometry.out_h * geometry.out_w > 4 && conv2d;
    std::vector<Candidate> considered = candidates(geometry, options);
    options.arena = packed_.arena;
    options.borrow_weights = !options_.pack_weights;
    const auto given = options_.algorithms.find(id);
    options.algorithm = given != options_.algorithms.end() ? given->second : considered[0].algorithm;
    options.fall_back = true;
    const T* weight = options_.pack_weights ? weights(node.inputs[1]) : constant_data(node.inputs[1]).get();
    Conv2d<T> conv(geometry, options, weight, constant_data(bias).get());
    std::string reason = conv.algorithm() == considered[0].algorithm ? considered[0].reason : conv.reason();
    packed = std::make_shared<const PackedConv<T>>(PackedConv<T>{std::move(considered), std::move(conv), std::move(reason)});
  }
  const auto run = [=, packed = packed](T* const* b) {
    if (!residual) return packed->conv.run(x.at(b), nullptr, y.at(b));
    const TensorView<const T> r = residual->at(b);
    packed->conv.run(x.at(b), &r, y.at(b));
  };
  const Conv2d<T>& conv = packed->conv;
  StepInfo& info = residual ? emit(id, {x, y, *residual}, run) : emit(id, {x, y}, run);
  if (residual) info.op += "+add";
  info.op += activation_suffix(activation);
  info.algorithm = algorithm_name(conv.algorithm());
  info.reason = packed->reason;
  info.error_class = info.algorithm.starts_with("winograd") ? info.algorithm : "exact";
  info.macs = geometry.macs() * x.view.n;
  info.bytes += conv.packed_bytes();
  info.workspace = conv.workspace_bytes();
  info.value = id;
  info.task = task_text(geometry, info.op, x.view, y.view);
  info.considered = packed->considered;
}

template <class T>
void Lowering<T>::conv2d(ValueId id) {
  const Node& node = graph_[id];
  const ValueId residual = node.inputs.size() > 3 ? node.inputs[3] : kNone;
  const Operand<T> x = image(node.inputs[0]);
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
