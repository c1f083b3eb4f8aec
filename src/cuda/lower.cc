// The order of lowering, and where values lie.
#include "cuda/lower.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>

#include "fastconv/error.h"

namespace fastconv::cuda {
namespace {

bool is_concat_of_channels(const Node& node) {
  const auto* concat = node.as<op::Concat>();
  return concat && concat->axis == 1 && node.shape.size() == 4;
}

// Which values a step can write into a part of the channels of another.
std::vector<bool> writes_channels(const Graph& graph) {
  std::vector<bool> writes(graph.size());
  for (ValueId id = 0; id < graph.size(); ++id) {
    const Node& node = graph[id];
    const auto* norm = node.as<op::LayerNorm>();
    const bool strided = node.as<op::Conv2d>() || node.as<op::ConvTranspose2d>() || node.as<op::Pool>() ||
                         node.as<op::AdaptivePool>() || node.as<op::Interpolate>() || node.as<op::LocalResponseNorm>() ||
                         node.as<op::Activate>() || node.as<op::ScaleShift>() || node.as<op::Pointwise>() || node.as<op::Pad>() ||
                         node.as<op::ChannelShuffle>() || node.as<op::PixelShuffle>() || node.as<op::PixelUnshuffle>() ||
                         (norm && norm->end == 2) || is_concat_of_channels(node);
    writes[id] = strided && node.shape.size() == 4 && checked_size(node.shape) > 0;
  }
  return writes;
}

std::vector<bool> joins_channels(const Graph& graph) {
  std::vector<bool> joins(graph.size());
  for (ValueId id = 0; id < graph.size(); ++id) joins[id] = is_concat_of_channels(graph[id]);
  return joins;
}

// One element as the device stores it.
template <class T>
T rounded(float value) {
  if constexpr (std::is_same_v<T, float>) return value;
  else if constexpr (std::is_same_v<T, __half>) return __float2half_rn(value);
  else return __float2bfloat16_rn(value);
}

Order preferred_order(const Shape& shape) { return shape.size() == 4 ? kChannelsLast : logical_order(shape.size()); }

}  // namespace

template <class T>
Lowering<T>::Lowering(const Graph& graph, const CudaOptions& options, Constants& constants)
    : graph_(graph),
      options_(options),
      limits_(device_limits(options.device)),
      constants_(constants),
      buffers_(graph),
      places_(graph, buffers_, concat_homes(graph, joins_channels(graph), writes_channels(graph))) {}

template <class T>
Program<T> Lowering<T>::run() {
  add_inputs();
  for (ValueId id = 0; id < graph_.size(); ++id)
    if (!graph_[id].inputs.empty()) lower(id);
  add_outputs();
  program_.memory = std::move(buffers_).plan();
  return std::move(program_);
}

// Steps are numbered as in `info`: the inputs' copies come first, the outputs' last.
template <class T>
void Lowering<T>::add_inputs() {
  for (const ValueId id : graph_.inputs()) {
    const Shape& shape = graph_.shape(id);
    define(id, preferred_order(shape));
    buffers_.use(place(id).buffer);
    program_.inputs.push_back(array(id));
    StepInfo& info = add(info_of(graph_, id));
    info.op = "copy";
    info.reason = shape.size() == 4 ? "to channels last" : "from the caller's array";
    info.bytes = static_cast<std::size_t>(checked_size(shape)) * (item_size(graph_.dtype(id)) + sizeof(T));
  }
}

template <class T>
void Lowering<T>::add_outputs() {
  for (const ValueId id : graph_.outputs()) {
    buffers_.use(place(id).buffer);
    program_.outputs.push_back(array(id));
    StepInfo& info = add(info_of(graph_, id));
    info.op = "copy";
    info.reason = "to the output";
    info.bytes = static_cast<std::size_t>(checked_size(info.shape)) * (item_size(graph_.dtype(id)) + sizeof(T));
  }
}

template <class T>
void Lowering<T>::lower(ValueId id) {
  const Node& node = graph_[id];
  if (checked_size(node.shape) == 0) return define(id, preferred_order(node.shape));  // nothing to compute
  std::visit([&](const auto& o) {
    if constexpr (requires { o.kSlopes; })
      if (o.activation.kind == Activation::prelu) fail("the activation prelu does not run on device='cuda'");
    if constexpr (requires { lower(id, o); }) return lower(id, o);
    fail(operator_name(node.op), " does not run on device='cuda'");
  }, node.op);
}

// ---- Places ----

template <class T>
typename Lowering<T>::Place Lowering<T>::new_place(const Shape& shape, const Order& order) {
  return {new_buffer(checked_size(shape, sizeof(T))), 0, dense_strides(shape, order)};
}

template <class T>
void Lowering<T>::define(ValueId id, const Order& order) {
  const auto make = [&](ValueId value) { return new_place(graph_.shape(value), value == id ? order : kChannelsLast); };
  places_.define(id, make, [](Place whole, index_t channel, ValueId) {
    whole.offset += channel;
    return whole;
  });
}

template <class T>
void Lowering<T>::define_like(ValueId id, ValueId x) {
  define(id, memory_order(graph_.shape(x), place(x).strides));
}

template <class T>
const float* Lowering<T>::constant_data(ValueId id) const {
  return id == kNone ? nullptr : static_cast<const float*>(graph_[id].as<op::Constant>()->data.get());
}

template <class T>
const float* Lowering<T>::floats(ValueId id) {
  if (id == kNone) return nullptr;
  return static_cast<const float*>(constants_.get(id, "float32", [&] {
    const float* data = constant_data(id);
    return std::vector<float>(data, data + checked_size(graph_.shape(id)));
  }));
}

template <class T>
const typename Lowering<T>::Place& Lowering<T>::place(ValueId id) {
  if (places_.has(id) || !graph_.is_constant(id)) return places_[id];
  const Shape& shape = graph_.shape(id);
  const void* memory = constants_.get(id, "operand", [&] {
    std::vector<T> values(static_cast<std::size_t>(checked_size(shape)));
    const auto convert = [&](const auto* data) { std::transform(data, data + values.size(), values.begin(), rounded<T>); };
    if (graph_.dtype(id) == DType::boolean) convert(static_cast<const std::uint8_t*>(graph_[id].as<op::Constant>()->data.get()));
    else convert(constant_data(id));
    return values;
  });
  // `constants_` outlives what is lowered.
  const int buffer = buffers_.add_constant(std::shared_ptr<const void>(std::shared_ptr<const void>(), memory));
  places_.put(id, {buffer, 0, dense_strides(shape, logical_order(shape.size()))});
  return places_[id];
}

template <class T>
const typename Lowering<T>::Place& Lowering<T>::ordered(ValueId id, const Order& order, const char* why) {
  const Place& own = place(id);
  const Shape& shape = graph_.shape(id);
  const Shape dense = dense_strides(shape, order);
  bool there = true;
  for (std::size_t i = 0; i < shape.size(); ++i) there = there && (shape[i] <= 1 || own.strides[i] == dense[i]);
  if (there) return own;
  const auto [ordered, fresh] = places_.other_form(id, order, [&] { return new_place(shape, order); });
  if (fresh) {
    StepInfo& info = copy(id, array(own, shape), array(ordered, shape));
    info.op = "copy";
    info.reason = why;
  }
  return ordered;
}

template <class T>
const typename Lowering<T>::Place& Lowering<T>::channels_last(ValueId id) {
  const Place& own = place(id);
  if (own.strides[1] == 1 || graph_.shape(id)[1] == 1) return own;
  return ordered(id, kChannelsLast, "to channels last");
}

// ---- Views ----

template <class T>
typename Lowering<T>::Images Lowering<T>::images(const Place& place, const Shape& shape) const {
  for (const index_t size : shape)
    if (size > INT32_MAX) fail("device='cuda': an array of shape ", to_string(shape), " has an axis of more than 2**31 - 1 elements");
  const Shape& s = place.strides;
  return {place.buffer,
          place.offset,
          {nullptr, static_cast<int>(shape[0]), static_cast<int>(shape[2]), static_cast<int>(shape[3]), static_cast<int>(shape[1]),
           s[0], s[2], s[3]}};
}

template <class T>
typename Lowering<T>::Array Lowering<T>::array(const Place& place, const Shape& shape) const {
  return {place.buffer, place.offset, strided<T>(nullptr, shape, place.strides)};
}

template <class T>
typename Lowering<T>::Images Lowering<T>::pixels(ValueId id) {
  const Shape& shape = graph_.shape(id);
  const Place* from = &place(id);
  if (from->strides.back() != 1 && shape.back() != 1) from = &contiguous(id);
  const Shape& s = from->strides;
  const Place image{from->buffer, from->offset,  // its strides as op::Linear::as_image() has the axes
                    shape.size() == 1   ? Shape{shape[0], 1, shape[0], shape[0]}
                    : shape.size() == 2 ? Shape{s[0], 1, s[0], s[0]}
                    : shape.size() == 3 ? Shape{s[0], 1, s[0], s[1]}
                                        : Shape{s[0], 1, s[1], s[2]}};
  return images(image, op::Linear::as_image(shape));
}

// ---- Steps ----

template <class T>
StepInfo& Lowering<T>::copy(ValueId id, const Array& x, const Array& y) {
  return emit(id, [=](void* const* b, cudaStream_t stream) { cuda::copy<T, T>(x.at(b), y.at(b), stream); }, x, y);
}

template class Lowering<float>;
template class Lowering<__half>;
template class Lowering<__nv_bfloat16>;

}  // namespace fastconv::cuda
