#include "graph/passes.h"

namespace fastconv {
namespace {

// Sets the activation of an operator that has one and does not use it yet.
bool set_activation(Operator& op, Activation activation) {
  return std::visit(
      [&](auto& o) {
        if constexpr (requires { o.activation; }) {
          if (o.activation != Activation::none) return false;
          o.activation = activation;
          return true;
        }
        return false;
      },
      op);
}

// A convolution or linear layer that can still take a residual.
bool takes_residual(const Node& node) {
  if (node.inputs.size() > 3 && node.inputs[3] != kNone) return false;
  if (const auto* conv = node.as<op::Conv2d>()) return conv->activation == Activation::none;
  if (const auto* linear = node.as<op::Linear>()) return linear->activation == Activation::none;
  return false;
}

ValueId fuse_activation(Rewriter& r, const Node& node) {
  const auto& activate = *node.as<op::Activate>();
  if (!r.single_use(node.inputs[0])) return kNone;
  if (activate.kind == Activation::leaky_relu && activate.negative_slope != 0.01) return kNone;  // the epilogue's slope
  const Node before = r.made(node.inputs[0]);
  Operator op = before.op;
  if (!set_activation(op, activate.kind)) return kNone;
  return r.out.add(std::move(op), before.inputs, before.name);
}

ValueId fuse_residual(Rewriter& r, const Node& node) {
  const auto& binary = *node.as<op::Binary>();
  const ValueId a = node.inputs[0], b = node.inputs[1];
  if (binary.kind != BinaryKind::add || r.in.is_constant(a) || r.in.is_constant(b)) return kNone;
  if (r.in.shape(a) != node.shape || r.in.shape(b) != node.shape) return kNone;
  const bool a_can = r.single_use(a) && takes_residual(r.made(a)), b_can = r.single_use(b) && takes_residual(r.made(b));
  if (!a_can && !b_can) return kNone;
  // Where both can, the later one adds: it then runs where it stood.
  const bool a_adds = a_can && (!b_can || r.mapped(a) > r.mapped(b));
  const Node host = r.made(a_adds ? a : b);
  std::vector<ValueId> inputs = host.inputs;
  inputs.resize(4, kNone);
  inputs[3] = r.mapped(a_adds ? b : a);
  return r.out.add(host.op, std::move(inputs), host.name);
}

}  // namespace

Graph fuse_epilogues(Graph graph) {
  Rewriter r(graph);
  return r.run([&](ValueId id) {
    const Node& node = graph[id];
    if (node.as<op::Activate>()) return fuse_activation(r, node);
    if (node.as<op::Binary>()) return fuse_residual(r, node);
    return kNone;
  });
}

}  // namespace fastconv
