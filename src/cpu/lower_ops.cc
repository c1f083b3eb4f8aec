// Operators that compute: elementwise, pools, norms, reductions.
#include "cpu/lower.h"
#include "cpu/strided.h"

namespace fastconv {

void Lowering::lower(ValueId id, const op::ScaleShift& o) {
  const ValueId x = graph_[id].inputs[0];
  const Shape& shape = graph_.shape(id);
  const Place from = as(x, blocked_[id]);
  define_in_place(id, x);
  const auto view_of = [&](const Place& place) {
    if (shape.size() == 4 && o.axis == 1) return image(place, shape);
    const Shape s = around(id, o.axis, o.axis + 1);
    if (s[3] > 1) return planes(place, s);
    // Rows of channels are pixels of one block.
    return Operand{place.buffer, place.offset, place.dtype, blocked_view<void>(nullptr, 1, s[1], 1, s[0], s[1])};
  };
  const Operand a = view_of(from), y = view_of(places_[id]);
  floats(id, [&]<class T>() {
    const auto scale = constant_data<T>(graph_[id].inputs[1]), shift = constant_data<T>(graph_[id].inputs[2]);
    const auto slopes = constant_data<T>(graph_[id].input(o.kSlopes));
    const auto zeros = std::make_shared<const std::vector<T>>(shape[o.axis]);
    const auto run = [=, activation = o.activation](void* const* b) {
      affine<T>(a.at<const T>(b), y.at<T>(b), zeros->data(), scale.get(), shift.get(), activation, slopes.get());
    };
    emit(id, {a, y}, run).op += activation_suffix(o.activation);
  });
}

void Lowering::lower(ValueId id, const op::LayerNorm& o) {
  const Node& node = graph_[id];
  const ValueId x = node.inputs[0];
  const Place from = as(x, blocked_[id]);
  if (o.end < static_cast<int>(node.shape.size())) {  // over the channels of an image: sink_permutes made it
    define(id);
    const Operand a = image(from, node.shape), y = image(id);
    return floats(id, [&]<class T>() {
      const auto weight = constant_data<T>(node.input(1)), bias = constant_data<T>(node.input(2));
      emit(id, {a, y}, [=, eps = o.eps](void* const* b) {
        layer_norm_channels<T>(a.at<const T>(b), y.at<T>(b), weight.get(), bias.get(), eps);
      });
    });
  }
  define_in_place(id, x);
  const Shape s = around(id, o.begin, o.end);
  const Operand a = planes(from, s), y = planes(places_[id], s);
  floats(id, [&]<class T>() {
    const auto weight = constant_data<T>(node.input(1)), bias = constant_data<T>(node.input(2));
    emit(id, {a, y}, [=, rows = s[0], count = s[1], eps = o.eps](void* const* b) {
      fastconv::layer_norm<T>(a.data<T>(b), y.data<T>(b), rows, count, weight.get(), bias.get(), eps);
    });
  });
}

void Lowering::lower(ValueId id, const op::GroupNorm& o) {
  const Node& node = graph_[id];
  const ValueId x = node.inputs[0];
  const Place from = as(x, false);
  define_in_place(id, x);
  const Operand a = flat(from, x), y = flat(places_[id], id);
  const Shape& s = node.shape;
  const index_t pixels = checked_size(Shape(s.begin() + 2, s.end()));
  floats(id, [&]<class T>() {
    const auto weight = constant_data<T>(node.input(1)), bias = constant_data<T>(node.input(2));
    emit(id, {a, y}, [=, n = s[0], channels = s[1] / o.num_groups](void* const* b) {
      group_norm<T>(a.data<T>(b), y.data<T>(b), n, o.num_groups, channels, pixels, weight.get(), bias.get(), o.eps);
    });
  });
}

void Lowering::lower(ValueId id, const op::LocalResponseNorm& o) {
  const Operand x = image(graph_[id].inputs[0]);
  define(id);
  const Operand y = image(id);
  emit_float(id, {x, y}, [=]<class T>(void* const* b) {
    fastconv::local_response_norm<T>(x.at<const T>(b), y.at<T>(b), o.size, o.alpha, o.beta, o.k);
  });
}

void Lowering::lower(ValueId id, const op::Activate& o) {
  const ValueId x = graph_[id].inputs[0];
  const Shape& shape = graph_.shape(id);
  const Place from = as(x, blocked_[id]);
  define_in_place(id, x);
  const Operand a = flat(from, x), y = flat(places_[id], id);
  // Images of a blocked value may be apart, where it is part of a concatenation.
  index_t images = 1, count = checked_size(shape);
  if (blocked_[id]) {
    images = shape[0];
    count = a.view.sb * ceil_div(shape[1], a.view.block);
    if (a.view.sn == count && y.view.sn == count) {
      count *= images;
      images = 1;
    }
  }
  emit_float(id, {a, y}, [=, activation = o.activation()]<class T>(void* const* b) {
    for (index_t n = 0; n < images; ++n)
      fastconv::activate<T>(activation, a.data<T>(b) + n * a.view.sn, y.data<T>(b) + n * y.view.sn, count);
  });
}

void Lowering::lower(ValueId id, const op::Pointwise& o) {
  const std::vector<ValueId>& inputs = graph_[id].inputs;
  DType computed = DType::f32;  // of masks alone
  for (std::size_t i = inputs.size(); i-- > 0;)
    if (!o.takes_mask(i)) computed = graph_.dtype(inputs[i]);
  std::vector<Place> places;
  for (const ValueId input : inputs) places.push_back(as(input, blocked_[id]));
  const auto can_take = [&](std::size_t i) {  // the place of this input, in which no other may lie otherwise
    if (graph_.is_constant(inputs[i]) || graph_.shape(inputs[i]) != graph_.shape(id) || graph_.dtype(inputs[i]) != graph_.dtype(id)) return false;
    for (std::size_t k = 0; k < inputs.size(); ++k)
      if (inputs[k] != inputs[i] && places[k].buffer == places[i].buffer) return false;
    return true;
  };
  bool placed = false;
  for (std::size_t i = 0; i < inputs.size() && !placed; ++i) placed = can_take(i) && reuse(id, inputs[i]);
  if (!placed) define(id);

  const Shape sizes = broadcast_sizes(id);
  std::vector<Operand> operands;
  std::vector<Shape> strides;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    operands.push_back(flat(places[i], inputs[i]));
    strides.push_back(broadcast_strides(inputs[i], places[i], id));
  }
  operands.push_back(flat(places_[id], id));
  strides.push_back(broadcast_strides(id, places_[id], id));
  with_float(computed, operator_name(graph_[id].op), [&]<class T>() {
    emit(id, operands, [operands, run = pointwise<T>(o.program, sizes, strides)](void* const* b) {
      std::vector<void*> data;
      for (const Operand& operand : operands) data.push_back(operand.data(b));
      run(data.data());
    });
  });
}

void Lowering::lower(ValueId id, const op::Pool& o) {
  const Shape& in = graph_.shape(graph_[id].inputs[0]);
  const auto geometry = std::make_shared<const PoolGeometry>(
      pool_geometry({in[2], in[3]}, o.kernel, o.stride, o.padding, o.dilation, o.ceil_mode, o.count_include_pad));
  run_pool(id, o.kind, geometry);
}

void Lowering::lower(ValueId id, const op::AdaptivePool& o) {
  const Shape& in = graph_.shape(graph_[id].inputs[0]);
  if (o.kind == op::Pool::Kind::average && o.size == op::Pair{1, 1}) return global_average(id);
  run_pool(id, o.kind, std::make_shared<const PoolGeometry>(adaptive_pool_geometry({in[2], in[3]}, o.size)));
}

void Lowering::run_pool(ValueId id, op::Pool::Kind kind, std::shared_ptr<const PoolGeometry> geometry) {
  const Operand x = image(graph_[id].inputs[0]);
  define(id);
  const Operand y = image(id);
  emit_float(id, {x, y}, [=]<class T>(void* const* b) {
    (kind == op::Pool::Kind::max ? max_pool2d<T> : avg_pool2d<T>)(*geometry, x.at<const T>(b), y.at<T>(b));
  });
}

void Lowering::global_average(ValueId id) {
  const Operand x = image(graph_[id].inputs[0]);
  define(id);
  const Operand y = image(places_[id], {x.view.n, x.view.c, 1, 1});
  emit_float(id, {x, y}, [=]<class T>(void* const* b) { global_avg_pool2d<T>(x.at<const T>(b), y.at<T>(b)); });
}

template <class Emit>
void Lowering::reduce(ValueId id, const std::vector<int>& axes, Emit&& emit) {
  const ValueId x = graph_[id].inputs[0];
  Shape shape = graph_.shape(x);
  Place from = as(x, false);
  std::size_t end = axes.size();
  do {
    std::size_t begin = end > 0 ? end - 1 : 0;
    while (begin > 0 && axes[begin - 1] == axes[begin] - 1) --begin;
    index_t outer = 1, count = 1, inner = 1;
    for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
      (axis < axes[begin] ? outer : axis <= axes[end - 1] ? count : inner) *= shape[axis];
    for (std::size_t i = begin; i < end; ++i) shape[axes[i]] = 1;
    if (begin == 0) define(id);
    const Place to = begin == 0 ? places_[id] : new_place(shape, from.dtype, false);
    emit(planes(from, {outer, count, 1, inner}), planes(to, {outer, 1, 1, inner}), std::array{outer, count, inner});
    from = to;
    end = begin;
  } while (end > 0);
}

void Lowering::lower(ValueId id, const op::Reduce& o) {
  if (graph_.shape(graph_[id].inputs[0]).size() == 4 && o.is_global_average()) return global_average(id);
  // The mean of means, for all have the same size; the sum of sums and so on.
  reduce(id, o.axes, [&](const Operand& x, const Operand& y, const std::array<index_t, 3>& s) {
    emit_float(id, {x, y}, [=, kind = o.kind]<class T>(void* const* b) {
      fastconv::reduce<T>(kind, x.data<T>(b), y.data<T>(b), s[0], s[1], s[2]);
    });
  });
}

void Lowering::lower(ValueId id, const op::ArgMax& o) {
  reduce(id, o.axes, [&](const Operand& x, const Operand& y, const std::array<index_t, 3>& s) {
    emit_float(id, {x, y}, [=, least = o.kind == op::ArgMax::Kind::min]<class T>(void* const* b) {
      argmax<T>(least, x.data<T>(b), y.data<std::int64_t>(b), s[0], s[1], s[2]);
    });
  });
}

void Lowering::lower(ValueId id, const op::Norm& o) {
  double ord = o.ord;
  reduce(id, o.axes, [&](const Operand& x, const Operand& y, const std::array<index_t, 3>& s) {
    emit_float(id, {x, y}, [=]<class T>(void* const* b) {
      fastconv::norm<T>(ord, x.data<T>(b), y.data<T>(b), s[0], s[1], s[2]);
    });
    if (ord == 0) ord = 1;  // the norm of norms, but the sum of counts
  });
}

void Lowering::lower(ValueId id, const op::CumSum& o) {
  const Shape s = around(id, o.axis, o.axis + 1);
  const Operand x = planes(as(graph_[id].inputs[0], false), s);
  define(id);
  const Operand y = planes(places_[id], s);
  emit_float(id, {x, y}, [=]<class T>(void* const* b) {
    fastconv::cumsum<T>(x.data<T>(b), y.data<T>(b), s[0], s[1], s[3], o.exclusive, o.reverse);
  });
}

void Lowering::lower(ValueId id, const op::Softmax& o) {
  const Shape s = around(id, o.axis, o.axis + 1);
  const Operand x = planes(as(graph_[id].inputs[0], false), s);
  define(id);
  const Operand y = planes(places_[id], s);
  emit_float(id, {x, y}, [=]<class T>(void* const* b) {
    fastconv::softmax<T>(x.data<T>(b), y.data<T>(b), s[0], s[1], s[3], o.log);
  });
}

void Lowering::lower(ValueId id, const op::Interpolate& o) {
  const Operand x = image(graph_[id].inputs[0]);
  const auto geometry =
      std::make_shared<const InterpolationGeometry>(interpolation_geometry({x.view.h, x.view.w}, o.size, o));
  define(id);
  const Operand y = image(id);
  emit_float(id, {x, y},
             [=]<class T>(void* const* b) { fastconv::interpolate<T>(*geometry, x.at<const T>(b), y.at<T>(b)); });
}

void Lowering::lower(ValueId id, const op::GridSample& o) {
  const ValueId values[2] = {graph_[id].inputs[0], graph_[id].inputs[1]};
  const Operand x = image(as(values[0], blocked_[id]), graph_.shape(values[0])), grid = flat(as(values[1], false), values[1]);
  define(id);
  const Operand y = image(id);
  emit_float(id, {x, grid, y}, [=, how = static_cast<const GridSampling&>(o)]<class T>(void* const* b) {
    fastconv::grid_sample<T>(how, x.at<const T>(b), grid.data<T>(b), y.at<T>(b));
  });
}

std::pair<Operand, Shape> Lowering::strided(ValueId id) {
  if (graph_.is_constant(id) || places_.has(id)) return {flat(as(id, false), id), contiguous_strides(graph_.shape(id))};
  const ValueId x = graph_[id].inputs[0];
  const Shape strides = contiguous_strides(graph_.shape(x));
  Shape permuted;
  for (const int axis : graph_[id].as<op::Permute>()->order) permuted.push_back(strides[axis]);
  return {flat(as(x, false), x), std::move(permuted)};
}

void Lowering::lower(ValueId id, const op::Matmul&) {
  const auto [a, a_strides] = strided(graph_[id].inputs[0]);
  const auto [b, b_strides] = strided(graph_[id].inputs[1]);
  define(id);
  const Operand y = flat(places_[id], id);
  const MatmulGeometry g =
      matmul_geometry(graph_.shape(graph_[id].inputs[0]), a_strides, graph_.shape(graph_[id].inputs[1]), b_strides, graph_.shape(id));
  const bool exact = options_.accuracy == Accuracy::exact;
  StepInfo& info = emit_float(id, {a, b, y}, [g, exact, a = a, b = b, y]<class T>(void* const* at) {
    fastconv::matmul<T>(g, a.data<T>(at), b.data<T>(at), y.data<T>(at), exact);
  });
  info.macs = g.macs();
}

void Lowering::lower(ValueId id, const op::ScatterAdd& o) {
  const ValueId inputs[2] = {graph_[id].inputs[0], graph_[id].inputs[1]};
  const Shape s = around(inputs[0], o.axis, o.axis + 1);
  const Operand x = flat(as(inputs[0], false), inputs[0]), updates = flat(as(inputs[1], false), inputs[1]);
  define(id);
  const Operand y = flat(places_[id], id);
  emit_float(id, {x, updates, y}, [=, indices = o.indices]<class T>(void* const* b) {
    fastconv::scatter_add<T>(x.data<T>(b), updates.data<T>(b), y.data<T>(b), s[0], s[1], s[3], indices);
  });
}

}  // namespace fastconv
