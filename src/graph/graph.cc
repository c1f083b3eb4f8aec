#include "fastconv/graph.h"

#include <algorithm>
#include <cstring>

#include "fastconv/error.h"
#include "fastconv/words.h"
#include "graph/inputs_of.h"
#include "graph/passes.h"

namespace fastconv {

namespace {

bool takes_mask(const Operator& op, std::size_t input) {
  return std::visit([&](const auto& o) {
    if constexpr (requires { o.takes_mask(input); }) return o.takes_mask(input);
    return false;
  }, op);
}

// That of the result, which follows from the one that all inputs have; but masks are bool.
DType result_dtype(const Graph& graph, const Operator& op, const std::vector<ValueId>& inputs) {
  const char* name = operator_name(op);
  std::size_t first = inputs.size();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == kNone) continue;
    const DType dtype = graph.dtype(inputs[i]);
    if (takes_mask(op, i)) {
      if (dtype != DType::boolean) fail(name, ": ", input_name(op, i), " must be bool, got ", word(dtype));
      continue;
    }
    if (first == inputs.size()) first = i;
    if (dtype != graph.dtype(inputs[first]))
      fail(name, ": the inputs must have one dtype, but ", input_name(op, first), " is ", word(graph.dtype(inputs[first])), " and ",
           input_name(op, i), " is ", word(dtype));
  }
  const bool only_masks = first == inputs.size();
  if (only_masks && std::none_of(inputs.begin(), inputs.end(), [](ValueId id) { return id != kNone; })) fail(name, ": an input is missing");
  const DType common = only_masks ? DType::boolean : graph.dtype(inputs[first]);
  return std::visit([&](const auto& o) {
    if constexpr (requires { o.result(common); }) return o.result(common);
    return common;
  }, op);
}

}  // namespace

ValueId Graph::add_input(const Shape& shape, DType dtype) {
  checked_size(shape, sizeof(double));
  nodes_.push_back({op::Input{}, {}, shape, dtype, ""});
  inputs_.push_back(size() - 1);
  return inputs_.back();
}

ValueId Graph::add_constant(const Shape& shape, DType dtype, std::shared_ptr<const void> data,
                            std::shared_ptr<const std::vector<double>> scale) {
  nodes_.push_back({op::Constant{std::move(data), std::move(scale)}, {}, shape, dtype, ""});
  return size() - 1;
}

ValueId Graph::add(Operator op, std::vector<ValueId> inputs, std::string name) {
  for (const ValueId id : inputs)
    if (id < kNone || id >= size()) fail("graph: there is no input value ", id);
  Shape shape = std::visit([&](const auto& o) { return o.infer(inputs_of(*this, operator_name(op), inputs)); }, op);
  checked_size(shape, sizeof(double));
  const DType dtype = result_dtype(*this, op, inputs);
  nodes_.push_back({std::move(op), std::move(inputs), std::move(shape), dtype, std::move(name)});
  return size() - 1;
}

void Graph::set_outputs(std::vector<ValueId> outputs) {
  for (const ValueId id : outputs)
    if (id < 0 || id >= size()) fail("graph: there is no output value ", id);
  outputs_ = std::move(outputs);
}

std::vector<int> Graph::use_counts() const {
  std::vector<int> uses(nodes_.size());
  for (const Node& node : nodes_)
    for (const ValueId id : node.inputs)
      if (id != kNone) ++uses[id];
  for (const ValueId id : outputs_) ++uses[id];
  return uses;
}

std::vector<ValueId> Graph::last_uses() const {
  std::vector<ValueId> last(nodes_.size(), kNone);
  for (ValueId id = 0; id < size(); ++id)
    for (const ValueId input : nodes_[id].inputs)
      if (input != kNone) last[input] = id;
  for (const ValueId id : outputs_) last[id] = size();
  return last;
}

namespace {

bool same_constants(const Node& a, const Node& b) {
  const op::Constant &s = *a.as<op::Constant>(), &t = *b.as<op::Constant>();
  if (s.scale != t.scale && !(s.scale && t.scale && *s.scale == *t.scale)) return false;
  const void *x = s.data.get(), *y = t.data.get();
  return x && y && (x == y || std::memcmp(x, y, static_cast<std::size_t>(checked_size(a.shape)) * item_size(a.dtype)) == 0);
}

}  // namespace

bool Graph::same_but_sizes(const Graph& other) const {
  if (size() != other.size() || outputs_ != other.outputs_) return false;
  for (ValueId id = 0; id < size(); ++id) {
    const Node &a = nodes_[id], &b = other.nodes_[id];
    if (a.inputs != b.inputs || a.dtype != b.dtype || a.op.index() != b.op.index()) return false;
    if (is_constant(id)) {
      if (a.shape != b.shape || !(a.op == b.op || same_constants(a, b))) return false;
    } else if (a.as<op::Conv2d>()) {
      op::Conv2d conv = *a.as<op::Conv2d>();
      conv.padding = b.as<op::Conv2d>()->padding;  // "same" is another one for another size
      if (!(conv == *b.as<op::Conv2d>())) return false;
    } else if ((a.as<op::Linear>() || a.as<op::ConvTranspose2d>()) && !(a.op == b.op)) {
      return false;
    }
  }
  return true;
}

ValueId Rewriter::copy(ValueId id) {
  const Node& node = in[id];
  if (node.as<op::Input>()) return out.add_input(node.shape, node.dtype);
  if (const auto* constant = node.as<op::Constant>()) {
    const ValueId copied = out.add_constant(node.shape, node.dtype, constant->data, constant->scale);
    out.set_name(copied, node.name);
    return copied;
  }
  std::vector<ValueId> inputs;
  inputs.reserve(node.inputs.size());
  for (const ValueId input : node.inputs) inputs.push_back(mapped(input));
  const auto is_like = [&](ValueId a, ValueId b) { return a == kNone || (in.shape(a) == out.shape(b) && in.dtype(a) == out.dtype(b)); };
  if (!std::equal(node.inputs.begin(), node.inputs.end(), inputs.begin(), is_like))
    return out.add(node.op, std::move(inputs), node.name);
  out.nodes_.push_back({node.op, std::move(inputs), node.shape, node.dtype, node.name});  // nothing to infer
  return out.size() - 1;
}

Graph optimize(Graph graph) {
  graph = products_to_linear(remove_identities(remove_dead(std::move(graph))));
  graph = remove_identities(sink_reshapes(sink_permutes(std::move(graph))));
  graph = fold_padding(std::move(graph));
  return fuse_epilogues(pool_first(fold_affine(std::move(graph))));
}

}  // namespace fastconv
