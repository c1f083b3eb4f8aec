// Operators that compute: elementwise, pools, norms, reductions.
#include "cpu/lower.h"
#include "cpu/strided.h"

namespace fastconv {

template <class T>
void Lowering<T>::lower(ValueId id, const op::ScaleShift& o) {
  const ValueId x = graph_[id].inputs[0];
  const Shape& shape = graph_.shape(id);
  const auto scale = constant_data(graph_[id].inputs[1]), shift = constant_data(graph_[id].inputs[2]);
  const auto zeros = std::make_shared<const std::vector<T>>(shape[o.axis]);
  const Place from = as(x, blocked_[id]);
  define_in_place(id, x);
  const auto view_of = [&](const Place& place) {
    if (shape.size() == 4 && o.axis == 1) return image(place, shape);
    const Shape s = around(id, o.axis, o.axis + 1);
    if (s[3] > 1) return planes(place, s);
    // Rows of channels are pixels of one block.
    return Operand<T>{place.buffer, place.offset, blocked_view<T>(nullptr, 1, s[1], 1, s[0], s[1])};
  };
  const Operand<T> a = view_of(from), y = view_of(places_[id]);
  emit(id, {a, y}, [=, act = o.activation](void* const* b) {
    affine<T>(a.at(b), y.at(b), zeros->data(), scale.get(), shift.get(), act);
  });
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::LayerNorm& o) {
  const Node& node = graph_[id];
  const ValueId x = node.inputs[0];
  const auto weight = constant_data(node.inputs.size() > 1 ? node.inputs[1] : kNone);
  const auto bias = constant_data(node.inputs.size() > 2 ? node.inputs[2] : kNone);
  const Place from = as(x, blocked_[id]);
  if (o.end < static_cast<int>(node.shape.size())) {  // over the channels of an image: sink_permutes made it
    define(id);
    const Operand<T> a = image(from, node.shape), y = image(id);
    emit(id, {a, y}, [=, eps = o.eps](void* const* b) {
      layer_norm_channels<T>(a.at(b), y.at(b), weight.get(), bias.get(), eps);
    });
    return;
  }
  define_in_place(id, x);
  const Shape s = around(id, o.begin, o.end);
  const Operand<T> a = planes(from, s), y = planes(places_[id], s);
  emit(id, {a, y}, [=, rows = s[0], count = s[1], eps = o.eps](void* const* b) {
    fastconv::layer_norm<T>(a.at(b).data, y.at(b).data, rows, count, weight.get(), bias.get(), eps);
  });
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::LocalResponseNorm& o) {
  const Operand<T> x = image(graph_[id].inputs[0]);
  define(id);
  const Operand<T> y = image(id);
  emit(id, {x, y},
       [=](void* const* b) { fastconv::local_response_norm<T>(x.at(b), y.at(b), o.size, o.alpha, o.beta, o.k); });
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Activate& o) {
  const ValueId x = graph_[id].inputs[0];
  const Shape& shape = graph_.shape(id);
  const Place from = as(x, blocked_[id]);
  define_in_place(id, x);
  const Operand<T> a = flat(from, x), y = flat(places_[id], id);
  // Images of a blocked value may be apart, where it is part of a concatenation.
  index_t images = 1, count = checked_size(shape);
  if (blocked_[id]) {
    images = shape[0];
    count = a.view.sb * ceil_div(shape[1], block_);
    if (a.view.sn == count && y.view.sn == count) {
      count *= images;
      images = 1;
    }
  }
  emit(id, {a, y}, [=](void* const* b) {
    for (index_t n = 0; n < images; ++n)
      fastconv::activate<T>(o.kind, a.at(b).data + n * a.view.sn, y.at(b).data + n * y.view.sn, count,
                            static_cast<T>(o.negative_slope));
  });
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Binary& o) {
  const Shape& shape = graph_.shape(id);
  const bool blocked = blocked_[id];
  const ValueId inputs[2] = {graph_[id].inputs[0], graph_[id].inputs[1]};
  const Place places[2] = {as(inputs[0], blocked), as(inputs[1], blocked)};
  const auto can_take = [&](int i) {  // the place of operand i, in which operand 1 - i must not lie otherwise
    return !graph_.is_constant(inputs[i]) && (inputs[0] == inputs[1] || places[0].buffer != places[1].buffer);
  };
  if (!(can_take(0) && reuse(id, inputs[0])) && !(can_take(1) && reuse(id, inputs[1]))) define(id);

  // Blocked values are arrays (n, blocks, h, w, block).
  Shape sizes = shape;
  if (blocked) sizes = {shape[0], ceil_div(shape[1], block_), shape[2], shape[3], block_};
  const auto strides_of = [&](ValueId value, const Place& place) {
    Shape own = graph_.shape(value), strides;
    if (blocked) {
      own.insert(own.begin(), 4 - own.size(), 1);
      const Operand<T> a = image(place, own);
      strides = {a.view.sn, a.view.sb, a.view.sh, a.view.sw, own[1] == 1 && shape[1] != 1 ? 0 : 1};
      own = {own[0], own[1] == 1 ? 1 : 2, own[2], own[3], 2};  // 1 marks what repeats
    } else {
      strides = contiguous_strides(own);
      strides.insert(strides.begin(), sizes.size() - own.size(), 0);
      own.insert(own.begin(), sizes.size() - own.size(), 1);
    }
    for (std::size_t i = 0; i < own.size(); ++i)
      if (own[i] == 1) strides[i] = 0;
    return strides;
  };
  const Shape sa = strides_of(inputs[0], places[0]), sb = strides_of(inputs[1], places[1]);
  const Shape sy = strides_of(id, places_[id]);
  const Operand<T> a = flat(places[0], inputs[0]), b = flat(places[1], inputs[1]), y = flat(places_[id], id);
  emit(id, {a, b, y}, [=, kind = o.kind](void* const* at) {
    fastconv::binary<T>(kind, sizes, a.at(at).data, sa, b.at(at).data, sb, y.at(at).data, sy);
  });
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Pool& o) {
  const Shape& in = graph_.shape(graph_[id].inputs[0]);
  const auto geometry = std::make_shared<const PoolGeometry>(
      pool_geometry({in[2], in[3]}, o.kernel, o.stride, o.padding, o.dilation, o.ceil_mode, o.count_include_pad));
  run_pool(id, o.kind, geometry);
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::AdaptivePool& o) {
  const Shape& in = graph_.shape(graph_[id].inputs[0]);
  if (o.kind == op::Pool::Kind::average && o.size == op::Pair{1, 1}) return global_average(id);
  run_pool(id, o.kind, std::make_shared<const PoolGeometry>(adaptive_pool_geometry({in[2], in[3]}, o.size)));
}

template <class T>
void Lowering<T>::run_pool(ValueId id, op::Pool::Kind kind, std::shared_ptr<const PoolGeometry> geometry) {
  const Operand<T> x = image(graph_[id].inputs[0]);
  define(id);
  const Operand<T> y = image(id);
  const auto function = kind == op::Pool::Kind::max ? max_pool2d<T> : avg_pool2d<T>;
  emit(id, {x, y}, [=](void* const* b) { function(*geometry, x.at(b), y.at(b)); });
}

template <class T>
void Lowering<T>::global_average(ValueId id) {
  const Operand<T> x = image(graph_[id].inputs[0]);
  define(id);
  const Operand<T> y = image(places_[id], {x.view.n, x.view.c, 1, 1});
  emit(id, {x, y}, [=](void* const* b) { global_avg_pool2d<T>(x.at(b), y.at(b)); });
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Mean& o) {
  const ValueId x = graph_[id].inputs[0];
  Shape shape = graph_.shape(x);
  if (shape.size() == 4 && o.axes == std::vector<int>{2, 3}) return global_average(id);
  Place from = as(x, false);
  // Neighbouring axes at once, from the last: the mean of means, for all have the same size.
  for (std::size_t end = o.axes.size(); end > 0;) {
    std::size_t begin = end - 1;
    while (begin > 0 && o.axes[begin - 1] == o.axes[begin] - 1) --begin;
    index_t outer = 1, count = 1, inner = 1;
    for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
      (axis < o.axes[begin] ? outer : axis <= o.axes[end - 1] ? count : inner) *= shape[axis];
    for (std::size_t i = begin; i < end; ++i) shape[o.axes[i]] = 1;
    if (begin == 0) define(id);
    const Place to = begin == 0 ? places_[id] : new_place(shape, false);
    const Operand<T> a = planes(from, {outer, count, 1, inner}), y = planes(to, {outer, 1, 1, inner});
    emit(id, {a, y},
         [=](void* const* b) { fastconv::mean<T>(a.at(b).data, y.at(b).data, outer, count, inner); });
    from = to;
    end = begin;
  }
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Softmax& o) {
  const Shape s = around(id, o.axis, o.axis + 1);
  const Operand<T> x = planes(as(graph_[id].inputs[0], false), s);
  define(id);
  const Operand<T> y = planes(places_[id], s);
  emit(id, {x, y}, [=](void* const* b) { fastconv::softmax<T>(x.at(b).data, y.at(b).data, s[0], s[1], s[3], o.log); });
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Interpolate& o) {
  const Operand<T> x = image(graph_[id].inputs[0]);
  const auto geometry = std::make_shared<const InterpolationGeometry>(interpolation_geometry(
      {x.view.h, x.view.w}, o.size, o.scale, o.mode == op::Interpolate::Mode::bilinear, o.align_corners));
  define(id);
  const Operand<T> y = image(id);
  emit(id, {x, y}, [=](void* const* b) { fastconv::interpolate<T>(*geometry, x.at(b), y.at(b)); });
}

#define INSTANTIATE(T)                                                               \
  template void Lowering<T>::lower(ValueId, const op::ScaleShift&);            \
  template void Lowering<T>::lower(ValueId, const op::LayerNorm&);              \
  template void Lowering<T>::lower(ValueId, const op::LocalResponseNorm&); \
  template void Lowering<T>::lower(ValueId, const op::Activate&);                 \
  template void Lowering<T>::lower(ValueId, const op::Binary&);                     \
  template void Lowering<T>::lower(ValueId, const op::Pool&);                         \
  template void Lowering<T>::lower(ValueId, const op::AdaptivePool&);        \
  template void Lowering<T>::lower(ValueId, const op::Mean&);                         \
  template void Lowering<T>::lower(ValueId, const op::Softmax&);                   \
  template void Lowering<T>::lower(ValueId, const op::Interpolate&);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace fastconv
