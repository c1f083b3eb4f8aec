#include "fastconv/graph.h"

#include <cstring>

#include "fastconv/error.h"
#include "graph/passes.h"

namespace fastconv {

const char* operator_name(const Operator& op) {
  struct Name {
    const char* operator()(const op::Input&) const { return "input"; }
    const char* operator()(const op::Constant&) const { return "constant"; }
    const char* operator()(const op::Conv2d&) const { return "conv2d"; }
    const char* operator()(const op::ConvTranspose2d&) const { return "conv_transpose2d"; }
    const char* operator()(const op::Linear&) const { return "linear"; }
    const char* operator()(const op::BatchNorm&) const { return "batch_norm"; }
    const char* operator()(const op::ScaleShift&) const { return "scale_shift"; }
    const char* operator()(const op::LayerNorm&) const { return "layer_norm"; }
    const char* operator()(const op::LocalResponseNorm&) const { return "local_response_norm"; }
    const char* operator()(const op::Activate&) const { return "activation"; }
    const char* operator()(const op::Binary& o) const {
      return o.kind == BinaryKind::add ? "add" : "multiply";
    }
    const char* operator()(const op::Pool& o) const {
      return o.kind == op::Pool::Kind::max ? "max_pool2d" : "avg_pool2d";
    }
    const char* operator()(const op::AdaptivePool& o) const {
      return o.kind == op::Pool::Kind::max ? "adaptive_max_pool2d" : "adaptive_avg_pool2d";
    }
    const char* operator()(const op::Mean&) const { return "mean"; }
    const char* operator()(const op::Reshape&) const { return "reshape"; }
    const char* operator()(const op::Permute&) const { return "permute"; }
    const char* operator()(const op::Slice&) const { return "slice"; }
    const char* operator()(const op::Concat&) const { return "concat"; }
    const char* operator()(const op::Pad&) const { return "pad"; }
    const char* operator()(const op::Softmax& o) const { return o.log ? "log_softmax" : "softmax"; }
    const char* operator()(const op::Interpolate&) const { return "interpolate"; }
    const char* operator()(const op::ChannelShuffle&) const { return "channel_shuffle"; }
    const char* operator()(const op::PixelShuffle&) const { return "pixel_shuffle"; }
  };
  return std::visit(Name{}, op);
}

const char* activation_suffix(Activation activation) {
  constexpr const char* suffixes[] = {"",       "+relu",      "+relu6",       "+leaky_relu", "+gelu", "+gelu_tanh",
                                      "+silu", "+hardswish", "+hardsigmoid", "+sigmoid",    "+tanh"};
  return suffixes[static_cast<int>(activation)];
}

ValueId Graph::add_input(const Shape& shape) {
  checked_size(shape, sizeof(double));
  nodes_.push_back({op::Input{}, {}, shape, ""});
  inputs_.push_back(size() - 1);
  return inputs_.back();
}

ValueId Graph::add_constant(const Shape& shape, std::shared_ptr<const void> data, std::shared_ptr<const std::vector<double>> scale) {
  nodes_.push_back({op::Constant{std::move(data), std::move(scale)}, {}, shape, ""});
  return size() - 1;
}

ValueId Graph::add(Operator op, std::vector<ValueId> inputs, std::string name) {
  for (const ValueId id : inputs)
    if (id < kNone || id >= size()) fail("graph: there is no input value ", id);
  Shape shape = infer_shape(*this, op, inputs);
  checked_size(shape, sizeof(double));
  nodes_.push_back({std::move(op), std::move(inputs), std::move(shape), std::move(name)});
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

Graph Graph::with_batch(index_t batch) const {
  Graph out(dtype_);
  for (const Node& node : nodes_) {
    if (node.as<op::Input>()) {
      Shape shape = node.shape;
      if (!shape.empty()) shape[0] = batch;
      out.add_input(shape);
    } else if (const auto* constant = node.as<op::Constant>()) {
      out.add_constant(node.shape, constant->data, constant->scale);
    } else {
      Operator op = node.op;
      const Shape& x = shape(node.inputs[0]);
      // What keeps the first dimension, or takes all of it, does so at any batch size.
      if (auto* reshape = std::get_if<op::Reshape>(&op); reshape && !x.empty() && !reshape->shape.empty()) {
        if (reshape->shape[0] == x[0]) reshape->shape[0] = out.shape(node.inputs[0])[0];
      } else if (auto* slice = std::get_if<op::Slice>(&op); slice && !x.empty()) {
        if (slice->start[0] == 0 && slice->stop[0] == x[0]) slice->stop[0] = out.shape(node.inputs[0])[0];
      }
      out.add(std::move(op), node.inputs, node.name);
    }
    out.nodes_.back().name = node.name;
  }
  out.outputs_ = outputs_;
  return out;
}

namespace {

bool same_constants(const Node& a, const Node& b, DType dtype) {
  const op::Constant &s = *a.as<op::Constant>(), &t = *b.as<op::Constant>();
  if (s.scale != t.scale && !(s.scale && t.scale && *s.scale == *t.scale)) return false;
  const void *x = s.data.get(), *y = t.data.get();
  return x && y && std::memcmp(x, y, static_cast<std::size_t>(checked_size(a.shape)) * item_size(dtype)) == 0;
}

}  // namespace

bool Graph::same_as(const Graph& other) const {
  if (dtype_ != other.dtype_ || size() != other.size() || outputs_ != other.outputs_) return false;
  for (ValueId id = 0; id < size(); ++id) {
    const Node &a = nodes_[id], &b = other.nodes_[id];
    if (a.inputs != b.inputs || a.shape != b.shape) return false;
    if (!(a.op == b.op) && !(is_constant(id) && other.is_constant(id) && same_constants(a, b, dtype_))) return false;
  }
  return true;
}

ValueId Rewriter::copy(ValueId id) {
  const Node& node = in[id];
  if (node.as<op::Input>()) return out.add_input(node.shape);
  if (const auto* constant = node.as<op::Constant>()) return out.add_constant(node.shape, constant->data, constant->scale);
  std::vector<ValueId> inputs;
  for (const ValueId input : node.inputs) inputs.push_back(mapped(input));
  return out.add(node.op, std::move(inputs), node.name);
}

Graph optimize(const Graph& graph) {
  Graph g = remove_identities(remove_dead(graph));
  g = fold_padding(remove_identities(sink_permutes(g)));
  return fuse_epilogues(pool_first(fold_affine(g)));
}

}  // namespace fastconv
