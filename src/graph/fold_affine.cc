// Everything that is y = x * scale + shift along one axis (batch norms, ConvNeXt's layer scale,
// biases added by hand) becomes a ScaleShift, and goes into the weights of the convolution or
// linear layer before it. Computed in double and rounded once: only when weights are packed, so
// that there is never a second copy of them all.
#include <cmath>
#include <optional>

#include "graph/passes.h"

namespace fastconv {
namespace {

using Numbers = std::vector<double>;

// Of float32 or float64.
Numbers read(const Graph& graph, ValueId id) {
  const void* data = graph[id].as<op::Constant>()->data.get();
  const index_t count = checked_size(graph.shape(id));
  if (graph.dtype(id) == DType::f32) {
    const float* p = static_cast<const float*>(data);
    return {p, p + count};
  }
  const double* p = static_cast<const double*>(data);
  return {p, p + count};
}

Numbers read_or(const Graph& graph, ValueId id, index_t count, double otherwise) {
  return id == kNone ? Numbers(count, otherwise) : read(graph, id);
}

ValueId write(Graph& graph, const Shape& shape, DType dtype, Numbers values) {
  if (dtype == DType::f64) {
    auto owner = std::make_shared<Numbers>(std::move(values));
    return graph.add_constant(shape, dtype, std::shared_ptr<const void>(owner, owner->data()));
  }
  auto owner = std::make_shared<std::vector<float>>(values.begin(), values.end());
  return graph.add_constant(shape, dtype, std::shared_ptr<const void>(owner, owner->data()));
}

struct Affine {
  ValueId x;  // of the graph before
  int axis;
  Numbers scale, shift;
  Activation activation;
};

Affine of_batch_norm(const Graph& graph, const Node& node) {
  const auto& norm = *node.as<op::BatchNorm>();
  const index_t channels = node.shape[1];
  const Numbers mean = read(graph, node.inputs[1]), variance = read(graph, node.inputs[2]);
  Numbers scale = read_or(graph, node.input(3), channels, 1);
  Numbers shift = read_or(graph, node.input(4), channels, 0);
  for (index_t c = 0; c < channels; ++c) {
    scale[c] /= std::sqrt(variance[c] + norm.eps);
    shift[c] -= mean[c] * scale[c];
  }
  return {node.inputs[0], 1, std::move(scale), std::move(shift), norm.activation};
}

// x * constant or x + constant, where the constant varies along one axis (not the batch) or not at
// all.
std::optional<Affine> of_sum_or_product(const Graph& graph, const Node& node, int default_axis) {
  const int at = graph.is_constant(node.inputs[1]) ? 0 : 1;
  const ValueId x = node.inputs[at], constant = node.inputs[1 - at];
  const int rank = static_cast<int>(node.shape.size());
  if (!graph.is_constant(constant) || graph.is_constant(x) || graph.shape(x) != node.shape || rank < 2) return {};
  const Shape& shape = graph.shape(constant);
  int axis = -1;
  for (int i = 0; i < static_cast<int>(shape.size()); ++i) {
    if (shape[i] == 1) continue;
    if (axis >= 0) return {};
    axis = rank - static_cast<int>(shape.size()) + i;
  }
  if (axis == 0) return {};
  Numbers values = read(graph, constant);
  if (values.empty()) return {};
  if (axis < 0) axis = default_axis;
  const index_t size = node.shape[axis];
  if (static_cast<index_t>(values.size()) != size) values = Numbers(size, values.at(0));
  const bool add = is_instruction(node, Instruction::add);
  return Affine{x, axis, add ? Numbers(size, 1) : values, add ? values : Numbers(size, 0), Activation::none};
}

// The node `before`, a convolution or linear layer without epilogue, with the affine map in its
// weights; kNone if it is none such.
ValueId fold_into(Graph& out, const Node before, const Affine& affine) {
  if (!before.as<op::Conv2d>() && !before.as<op::ConvTranspose2d>() && !before.as<op::Linear>()) return kNone;
  const int channel_axis = before.as<op::Linear>() ? static_cast<int>(before.shape.size()) - 1 : 1;
  if (affine.axis != channel_axis || before.input(3) != kNone || !out.has_constant_weights(before)) return kNone;
  Operator op = before.op;
  const bool plain = std::visit(
      [&](auto& o) {
        if constexpr (requires { o.activation; }) {
          if (o.activation != Activation::none) return false;
          o.activation = affine.activation;
        }
        return true;
      },
      op);
  if (!plain) return kNone;
  const ValueId weight = before.inputs[1], bias = before.input(2);
  const Shape weight_shape = out.shape(weight);
  const index_t channels = before.shape[channel_axis];
  ValueId folded_weight = kNone;
  if (const auto* transposed = before.as<op::ConvTranspose2d>()) {  // (in, out / groups, kh, kw)
    const index_t group_in = weight_shape[0] / transposed->groups, group_out = weight_shape[1];
    const index_t taps = weight_shape[2] * weight_shape[3];
    Numbers w = read(out, weight);
    for (index_t i = 0; i < static_cast<index_t>(w.size()); ++i)
      w[i] *= affine.scale[i / taps / group_out / group_in * group_out + i / taps % group_out];
    folded_weight = write(out, weight_shape, before.dtype, std::move(w));
  } else {
    const op::Constant constant = *out[weight].as<op::Constant>();
    auto scale = std::make_shared<Numbers>(affine.scale);
    for (index_t c = 0; constant.scale && c < channels; ++c) (*scale)[c] *= (*constant.scale)[c];
    folded_weight = out.add_constant(weight_shape, before.dtype, constant.data, std::move(scale));
    out.set_name(folded_weight, out[weight].name);
  }
  Numbers b = read_or(out, bias, channels, 0);
  for (index_t c = 0; c < channels; ++c) b[c] = b[c] * affine.scale[c] + affine.shift[c];
  const ValueId folded_bias = write(out, {channels}, before.dtype, std::move(b));
  return out.add(std::move(op), {before.inputs[0], folded_weight, folded_bias}, before.name);
}

// Two maps in a row are one; kNone if `before` is none.
ValueId merge(Graph& out, const Node before, Affine affine, const std::string& name) {
  const auto* first = before.as<op::ScaleShift>();
  if (!first || first->activation != Activation::none || first->axis != affine.axis) return kNone;
  const Numbers scale = read(out, before.inputs[1]), shift = read(out, before.inputs[2]);
  for (std::size_t c = 0; c < scale.size(); ++c) {
    affine.shift[c] += shift[c] * affine.scale[c];
    affine.scale[c] *= scale[c];
  }
  const Shape shape{static_cast<index_t>(scale.size())};
  const ValueId merged_scale = write(out, shape, before.dtype, affine.scale);
  const ValueId merged_shift = write(out, shape, before.dtype, affine.shift);
  return out.add(op::ScaleShift{affine.axis, affine.activation}, {before.inputs[0], merged_scale, merged_shift}, name);
}

}  // namespace

Graph fold_affine(Graph graph) {
  Rewriter r(graph);
  return r.run([&](ValueId id) {
    const Node& node = graph[id];
    if (!is_computed_in(node.dtype)) return kNone;
    std::optional<Affine> affine;
    if (node.as<op::BatchNorm>()) {
      affine = of_batch_norm(graph, node);
    } else if (is_instruction(node, Instruction::add) || is_instruction(node, Instruction::multiply)) {
      const ValueId x = node.inputs[graph.is_constant(node.inputs[0]) ? 1 : 0];
      const bool last = r.made(x).as<op::Linear>();
      affine = of_sum_or_product(graph, node, last ? static_cast<int>(node.shape.size()) - 1 : 1);
    }
    if (!affine) return kNone;
    if (r.single_use(affine->x)) {
      if (const ValueId folded = fold_into(r.out, r.made(affine->x), *affine); folded != kNone) return folded;
      if (const ValueId merged = merge(r.out, r.made(affine->x), *affine, node.name); merged != kNone) return merged;
    }
    const Shape shape{static_cast<index_t>(affine->scale.size())};
    const ValueId scale = write(r.out, shape, node.dtype, affine->scale), shift = write(r.out, shape, node.dtype, affine->shift);
    return r.out.add(op::ScaleShift{affine->axis, affine->activation}, {r.mapped(affine->x), scale, shift}, node.name);
  });
}

}  // namespace fastconv
