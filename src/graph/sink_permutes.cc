// Sections written for channels last, as ConvNeXt's (permute, layer norm, linear, GELU, linear,
// permute), compute on the NCHW value instead: a permutation is not carried out but remembered,
// axis-wise operators are applied to the value before it, and only who cannot work so gets the
// permuted value.
#include <algorithm>

#include "graph/passes.h"

namespace fastconv {
namespace {

using Order = std::vector<int>;

class Sink {
 public:
  explicit Sink(const Graph& in) : r_(in), in_(in), lazy_(in.size()) {}

  Graph run() {
    for (ValueId id = 0; id < in_.size(); ++id) {
      if (sink(id)) continue;
      for (const ValueId input : in_[id].inputs) carry_out(input);
      r_.new_id[id] = r_.copy(id);
    }
    std::vector<ValueId> outputs;
    for (const ValueId id : in_.outputs()) {
      carry_out(id);
      outputs.push_back(r_.new_id[id]);
    }
    r_.out.set_outputs(std::move(outputs));
    return remove_dead(std::move(r_.out));
  }

 private:
  // The value is permute(base, order); its new_id is set once someone needs it carried out.
  struct Lazy {
    ValueId base = kNone;
    Order order;
  };

  void carry_out(ValueId id) {
    if (id == kNone || r_.new_id[id] != kNone) return;
    r_.new_id[id] = r_.out.add(op::Permute{lazy_[id].order}, {lazy_[id].base}, in_[id].name);
  }

  bool remember(ValueId id, ValueId base, Order order) {
    if (std::is_sorted(order.begin(), order.end()))
      r_.new_id[id] = base;
    else
      lazy_[id] = {base, std::move(order)};
    return true;
  }

  // Whether node `id` was taken care of without carrying out its input's permutation.
  bool sink(ValueId id) {
    const Node& node = in_[id];
    if (node.inputs.empty()) return false;
    const ValueId x = node.inputs[0];
    const Lazy from = lazy_[x];
    if (const auto* permute = node.as<op::Permute>()) {
      if (from.base == kNone) return remember(id, r_.new_id[x], permute->order);
      Order order;
      for (const int axis : permute->order) order.push_back(from.order[axis]);
      return remember(id, from.base, std::move(order));
    }
    if (is_pointwise(node.op)) return sink_pointwise(id);
    if (from.base == kNone) return false;
    const bool channels_last = from.order.size() == 4 && from.order[3] == 1;
    if (const auto* norm = node.as<op::LayerNorm>(); norm && channels_last && norm->begin == 3) {
      op::LayerNorm moved = *norm;
      moved.begin = 1;
      moved.end = 2;
      return remember(id, r_.out.add(moved, {from.base, constant(node, 1), constant(node, 2)}, node.name), from.order);
    }
    if (const auto* linear = node.as<op::Linear>(); linear && channels_last && in_.has_constant_weights(node)) {
      ValueId residual = node.inputs.size() > 3 ? node.inputs[3] : kNone;
      if (residual != kNone) {
        if (lazy_[residual].order != from.order) return false;
        residual = lazy_[residual].base;
      }
      op::Conv2d conv;
      conv.activation = linear->activation;
      const Shape& w = in_.shape(node.inputs[1]);
      const ValueId weight = reshaped(node.inputs[1], {w[0], w[1], 1, 1});
      return remember(id, r_.out.add(conv, {from.base, weight, constant(node, 2), residual, constant(node, 4)}, node.name), from.order);
    }
    return false;
  }

  // All inputs must be permuted alike, but for constants that vary along one axis at most: those
  // only need their sizes in another order.
  bool sink_pointwise(ValueId id) {
    const Node& node = in_[id];
    const auto is_permuted = [&](ValueId input) { return lazy_[input].base != kNone; };
    const auto permuted = std::find_if(node.inputs.begin(), node.inputs.end(), is_permuted);
    if (permuted == node.inputs.end()) return false;
    const Order order = lazy_[*permuted].order;
    if (order.size() != node.shape.size()) return false;  // another operand has more axes
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) {
      const Shape& shape = in_.shape(input);
      if (is_permuted(input)) {
        if (lazy_[input].order != order || shape != node.shape) return false;
        inputs.push_back(lazy_[input].base);
        continue;
      }
      if (!in_.is_constant(input) || shape.size() > node.shape.size()) return false;
      const std::size_t lead = node.shape.size() - shape.size();
      Shape moved(node.shape.size(), 1);
      for (std::size_t i = 0; i < shape.size(); ++i) moved[order[lead + i]] = shape[i];
      if (std::count_if(moved.begin(), moved.end(), [](index_t size) { return size != 1; }) > 1) return false;
      inputs.push_back(shape.empty() ? r_.mapped(input) : reshaped(input, moved));
    }
    return remember(id, r_.out.add(node.op, std::move(inputs), node.name), order);
  }

  ValueId constant(const Node& node, std::size_t i) const { return i < node.inputs.size() ? r_.mapped(node.inputs[i]) : kNone; }
  ValueId reshaped(ValueId constant, const Shape& shape) {
    return r_.out.add_constant(shape, in_.dtype(constant), in_[constant].as<op::Constant>()->data);
  }

  Rewriter r_;
  const Graph& in_;
  std::vector<Lazy> lazy_;
};

}  // namespace

Graph sink_permutes(Graph graph) {
  if (!any_node(graph, [](const Node& node) { return node.as<op::Permute>() != nullptr; })) return graph;
  return Sink(graph).run();
}

}  // namespace fastconv
