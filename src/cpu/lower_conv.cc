// Convolutions and linear layers.
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
void Lowering<T>::run_conv(ValueId id, const Operand<T>& x, const Operand<T>& y, std::optional<Operand<T>> residual) {
  const Node& node = graph_[id];
  const ConvGeometry geometry = geometry_of(graph_, node);
  const auto* conv2d = node.as<op::Conv2d>();
  const Activation activation = conv2d ? conv2d->activation : node.as<op::Linear>()->activation;
  std::shared_ptr<const Conv2d<T>>& conv = packed_.convs[id];
  if (!conv) {
    const ValueId bias = node.inputs.size() > 2 ? node.inputs[2] : kNone;
    // Single pixels are better taken together over the batch, as direct convolution does.
    const bool nchw = x.view.block == 1 && y.view.block == 1 && geometry.out_h * geometry.out_w > 4 && conv2d;
    ConvOptions options = conv_options(geometry, activation, nchw);
    options.arena = packed_.arena;
    conv = std::make_shared<const Conv2d<T>>(geometry, options, weights(node.inputs[1]), constant_data(bias).get());
  }
  const auto run = [=, conv = conv](T* const* b) {
    if (!residual) return conv->run(x.at(b), nullptr, y.at(b));
    const TensorView<const T> r = residual->at(b);
    conv->run(x.at(b), &r, y.at(b));
  };
  StepInfo& info = residual ? emit(id, {x, y, *residual}, run) : emit(id, {x, y}, run);
  if (residual) info.op += "+add";
  info.op += activation_suffix(activation);
  info.algorithm = algorithm_name(conv->algorithm());
  info.reason = conv->reason();
  info.error_class = info.algorithm.starts_with("winograd") ? info.algorithm : "exact";
  info.macs = geometry.macs() * x.view.n;
  info.bytes += conv->packed_bytes();
  info.workspace = conv->workspace_bytes();
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
