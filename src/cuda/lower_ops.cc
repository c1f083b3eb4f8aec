// Operators that compute: elementwise, pools, norms, reductions.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <array>
#include <cmath>

#include "cuda/lower.h"
#include "fastconv/error.h"

namespace fastconv::cuda {

template <class T>
void Lowering<T>::lower(ValueId id, const op::ScaleShift& o) {
  const std::vector<ValueId>& inputs = graph_[id].inputs;
  const float *scale = floats(inputs[1]), *shift = floats(inputs[2]);
  const Array x = array(inputs[0]);
  if (!reuse(id, inputs[0])) define_like(id, inputs[0]);
  const Array y = array(id);
  const auto run = [=](void* const* b, cudaStream_t stream) {
    cuda::scale_shift<T>(x.at(b), scale, shift, o.axis, o.activation, y.at(b), stream);
  };
  emit(id, run, x, y).op += activation_suffix(o.activation);
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::LayerNorm& o) {
  const Node& node = graph_[id];
  const ValueId x = node.inputs[0];
  const Shape& shape = node.shape;
  const float* weight = floats(node.input(1));
  const float* bias = floats(node.input(2));
  Order before = logical_order(shape.size());
  const Order inside(before.begin() + o.begin, before.begin() + o.end);
  before.erase(before.begin() + o.begin, before.begin() + o.end);
  Order order = before;
  order.insert(order.end(), inside.begin(), inside.end());

  // Rows of neighbouring elements, at equal distances.
  const auto as_rows = [&](const Place& place) -> std::optional<std::pair<Run, Run>> {
    const auto rows = merged(shape, place.strides, before), elements = merged(shape, place.strides, inside);
    if (!rows || !elements || (elements->size != 1 && elements->stride != 1)) return {};
    return std::pair{*rows, *elements};
  };
  Place from = place(x);
  if (!as_rows(from)) from = ordered(x, order, "to rows");
  const auto [rows, row] = *as_rows(from);
  if (!(places_[x].strides == from.strides && places_[x].buffer == from.buffer && reuse(id, x))) define(id, order);
  const index_t y_stride = as_rows(places_[id])->first.stride;
  const Array a = array(from, shape), y = array(id);
  const auto run = [=, rows = rows, row = row, eps = static_cast<float>(o.eps)](void* const* b, cudaStream_t stream) {
    cuda::layer_norm<T>(rows.size, row.size, a.at(b).data, rows.stride, weight, bias, eps, y.at(b).data, y_stride, stream);
  };
  emit(id, run, a, y);
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::LocalResponseNorm& o) {
  const Shape& shape = graph_.shape(id);
  const Images x = images(channels_last(graph_[id].inputs[0]), shape);
  define(id, kChannelsLast);
  const Images y = images(id);
  const auto run = [=](void* const* b, cudaStream_t stream) {
    cuda::local_response_norm<T>(o.size, static_cast<float>(o.alpha), static_cast<float>(o.beta), static_cast<float>(o.k), x.at(b), y.at(b), stream);
  };
  emit(id, run, x, y);
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Activate& o) {
  const ValueId x = graph_[id].inputs[0];
  const Array a = array(x);
  if (!reuse(id, x)) define_like(id, x);
  const Array y = array(id);
  const auto run = [=, activation = o.activation()](void* const* b, cudaStream_t stream) {
    cuda::activate<T>(activation, a.at(b), y.at(b), stream);
  };
  emit(id, run, a, y);
}

template <class T>
std::vector<typename Lowering<T>::Array> Lowering<T>::broadcast(ValueId id) {
  const Shape& shape = graph_.shape(id);
  const std::vector<ValueId>& inputs = graph_[id].inputs;
  std::vector<Array> arrays;
  for (const ValueId input : inputs) {
    const Shape& own = graph_.shape(input);
    Place from = place(input);
    for (std::size_t i = 0; i < own.size(); ++i)
      if (own[i] == 1) from.strides[i] = 0;
    from.strides.insert(from.strides.begin(), shape.size() - own.size(), 0);
    arrays.push_back(array(from, shape));
  }
  // In the place of an input, in which no other one must lie otherwise.
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    bool alone = true;
    for (std::size_t k = 0; k < inputs.size(); ++k) alone = alone && (inputs[k] == inputs[i] || arrays[k].buffer != arrays[i].buffer);
    if (alone && reuse(id, inputs[i])) return arrays;
  }
  for (const ValueId input : inputs)
    if (graph_.shape(input) == shape && !graph_.is_constant(input)) {
      define_like(id, input);
      return arrays;
    }
  define(id, shape.size() == 4 ? kChannelsLast : logical_order(shape.size()));
  return arrays;
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Pointwise& o) {
  const Instruction instruction = o.program.steps[0].instruction;
  if (o.program != PointwiseProgram::of(instruction))
    fail(operator_name(o), " does not run on device='cuda'");
  const std::vector<Array> x = broadcast(id);
  const Array y = array(id);
  const auto run = [=](void* const* at, cudaStream_t stream) {
    Strided<const T> inputs[3];
    for (std::size_t i = 0; i < x.size(); ++i) inputs[i] = x[i].at(at);
    cuda::pointwise<T>(instruction, inputs, y.at(at), stream);
  };
  switch (x.size()) {
    case 1: emit(id, run, x[0], y); break;
    case 2: emit(id, run, x[0], x[1], y); break;
    default: emit(id, run, x[0], x[1], x[2], y);
  }
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Pool& o) {
  const ValueId x = graph_[id].inputs[0];
  PoolParameters parameters{.maximum = o.kind == op::Pool::Kind::max, .count_include_pad = o.count_include_pad};
  const auto narrow = [](const char* what, index_t value) {
    if (value >= index_t{1} << 30) fail("device='cuda': ", what, " of a pool must be below 2**30, got ", value);
    return static_cast<int>(value);
  };
  for (int i = 0; i < 2; ++i) {
    parameters.kernel[i] = narrow("kernel_size", o.kernel[i]);
    parameters.stride[i] = narrow("stride", o.stride[i]);
    parameters.padding[i] = narrow("padding", o.padding[i]);
    parameters.dilation[i] = narrow("dilation", o.dilation[i]);
    narrow("dilation * kernel_size", o.dilation[i] * (o.kernel[i] - 1));
  }
  const Images a = images(channels_last(x), graph_.shape(x));
  define(id, kChannelsLast);
  const Images y = images(id);
  emit(id, [=](void* const* b, cudaStream_t stream) { pool2d<T>(parameters, a.at(b), y.at(b), stream); }, a, y);
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::AdaptivePool& o) {
  const ValueId x = graph_[id].inputs[0];
  const bool maximum = o.kind == op::Pool::Kind::max;
  if (!maximum && o.size == op::Pair{1, 1} && !places_.has_home(id)) return lower(id, op::Reduce{ReduceKind::mean, {2, 3}, true});
  const Images a = images(channels_last(x), graph_.shape(x));
  define(id, kChannelsLast);
  const Images y = images(id);
  emit(id, [=](void* const* b, cudaStream_t stream) { adaptive_pool2d<T>(maximum, a.at(b), y.at(b), stream); }, a, y);
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Reduce& o) {
  if (o.kind != ReduceKind::mean) fail(operator_name(o), " does not run on device='cuda'");
  const ValueId x = graph_[id].inputs[0];
  const Shape& shape = graph_.shape(x);
  if (checked_size(shape) == 0) {
    define(id, logical_order(graph_.shape(id).size()));
    const Array y = array(id);
    emit(id, [=](void* const* b, cudaStream_t stream) { fill<T>(y.at(b), NAN, stream); }, y);
    return;
  }
  const auto is_reduced = [&](int axis) { return std::find(o.axes.begin(), o.axes.end(), axis) != o.axes.end(); };
  Place from = place(x);
  std::optional<Around> parts = around(shape, from.strides, o.axes);
  if (!parts) {  // the o.axes that stay first
    Order order = logical_order(shape.size());
    std::stable_partition(order.begin(), order.end(), [&](int axis) { return !is_reduced(axis); });
    from = ordered(x, order, "to rows");
    parts = around(shape, from.strides, o.axes);
  }
  // The result's axes lie as those of x that stay.
  Shape strides(shape.size(), 1);
  index_t stride = 1;
  for (const Order& part : {parts->inner_axes, parts->outer_axes})
    for (auto axis = part.rbegin(); axis != part.rend(); ++axis) {
      strides[*axis] = stride;
      stride *= shape[*axis];
    }
  Place to{new_buffer(stride), 0, {}};
  for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
    if (o.keepdims || !is_reduced(axis)) to.strides.push_back(strides[axis]);
  places_.put(id, std::move(to));
  const Rows rows{parts->outer.size,   parts->count.size,   parts->inner.size,
                  parts->outer.stride, parts->count.stride, parts->inner.stride};
  const Array a = array(from, shape), y = array(id);
  emit(id, [=](void* const* b, cudaStream_t stream) { cuda::mean<T>(rows, a.at(b).data, y.at(b).data, stream); }, a, y);
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Softmax& o) {
  const ValueId x = graph_[id].inputs[0];
  const Shape& shape = graph_.shape(id);
  Place from = place(x);
  if (!is_dense(shape, from.strides) || !around(shape, from.strides, {o.axis})) from = contiguous(x);
  const Around parts = *around(shape, from.strides, {o.axis});
  places_.put(id, {new_buffer(checked_size(shape)), 0, from.strides});
  const Rows rows{parts.outer.size,   parts.count.size,   parts.inner.size,
                  parts.outer.stride, parts.count.stride, parts.inner.stride};
  const Array a = array(from, shape), y = array(id);
  const auto run = [=, logarithm = o.log](void* const* b, cudaStream_t stream) {
    cuda::softmax<T>(rows, logarithm, a.at(b).data, y.at(b).data, stream);
  };
  emit(id, run, a, y);
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Interpolate& o) {
  using Coordinates = Interpolation::Coordinates;
  const bool nearest = o.mode == Interpolation::Mode::nearest && o.coordinates == Coordinates::asymmetric &&
                       o.nearest_mode == Interpolation::Rounding::floor;
  const bool align_corners = o.coordinates == Coordinates::align_corners;
  const bool bilinear = o.mode == Interpolation::Mode::bilinear && !o.antialias &&
                        (align_corners || o.coordinates == Coordinates::half_pixel);
  if (!nearest && !bilinear)
    fail("interpolate with the mode ", word(o.mode), ", the coordinates ", word(o.coordinates),
         o.mode == Interpolation::Mode::nearest ? std::string(" and the rounding ") + word(o.nearest_mode) : "",
         o.antialias ? " and antialias" : "",
         " does not run on device='cuda': mode='nearest', 'bilinear' without antialias and 'area' do");
  const ValueId x = graph_[id].inputs[0];
  const Images a = images(channels_last(x), graph_.shape(x));
  define(id, kChannelsLast);
  const Images y = images(id);
  const auto run = [=](void* const* b, cudaStream_t stream) {
    const double scale[2] = {o.scale[0], o.scale[1]};
    cuda::interpolate<T>(bilinear, align_corners, scale, a.at(b), y.at(b), stream);
  };
  emit(id, run, a, y);
}

#define INSTANTIATE(T)                                                                   \
  template void Lowering<T>::lower(ValueId, const op::ScaleShift&);                \
  template void Lowering<T>::lower(ValueId, const op::LayerNorm&);                  \
  template void Lowering<T>::lower(ValueId, const op::LocalResponseNorm&); \
  template void Lowering<T>::lower(ValueId, const op::Activate&);                     \
  template void Lowering<T>::lower(ValueId, const op::Pointwise&);                      \
  template void Lowering<T>::lower(ValueId, const op::Pool&);                             \
  template void Lowering<T>::lower(ValueId, const op::AdaptivePool&);            \
  template void Lowering<T>::lower(ValueId, const op::Reduce&);             \
  template void Lowering<T>::lower(ValueId, const op::Softmax&);                       \
  template void Lowering<T>::lower(ValueId, const op::Interpolate&);
INSTANTIATE(float)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace fastconv::cuda
