#include <cmath>
#include <limits>
#include <optional>

#include "graph/passes.h"

namespace fastconv {
namespace {

// A node that is an activation of x; the slopes of prelu are a constant.
struct Follower {
  ValueId x;
  Activation activation;
  ValueId slopes = kNone;
};

// The only element of a constant.
std::optional<double> number(const Graph& graph, ValueId id) {
  if (!graph.is_constant(id) || checked_size(graph.shape(id)) != 1) return {};
  const void* data = graph[id].as<op::Constant>()->data.get();
  if (!data) return {};
  if (graph.dtype(id) == DType::f32) return *static_cast<const float*>(data);
  if (graph.dtype(id) == DType::f64) return *static_cast<const double*>(data);
  return {};
}

// A program that clips one value by numbers. Of zeros of either sign minimum and maximum give the
// second one, and so does clip: the bound.
std::optional<Follower> clip_of(const Graph& graph, const Node& node, const PointwiseProgram& program) {
  const auto& step = program.steps[0];
  if (program.steps.size() != 1) return {};
  if (step.instruction != Instruction::clip && step.instruction != Instruction::minimum && step.instruction != Instruction::maximum) return {};
  const auto operand = [&](int k) -> std::optional<double> {
    const int value = step.operands[k];
    return value < program.inputs ? number(graph, node.inputs[value]) : std::optional(program.numbers[value - program.inputs]);
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const int at = operand(0) ? 1 : 0;  // of the value
  if (operand(at)) return {};
  const ValueId x = node.inputs[step.operands[at]];
  if (step.instruction == Instruction::clip) {
    const auto low = operand(1), high = operand(2);
    if (at != 0 || !low || !high) return {};
    return Follower{x, {Activation::clip, *low, *high}};
  }
  const auto bound = operand(1 - at);
  if (!bound) return {};
  if (at == 1 && *bound == 0) {
    if (step.instruction != Instruction::maximum || std::signbit(*bound)) return {};
    return Follower{x, Activation::relu};
  }
  if (step.instruction == Instruction::minimum) return Follower{x, {Activation::clip, -kInfinity, *bound}};
  return Follower{x, {Activation::clip, *bound, kInfinity}};
}

// A program that is prelu. Its weight has as many axes as it needs to vary along the channels at
// most.
std::optional<Follower> prelu_of(const Graph& graph, const Node& node, const PointwiseProgram& program) {
  static const PointwiseProgram prelu = PointwiseProgram::from_text("t0 = less(x0, 0); t1 = multiply(x0, x1); where(t0, t1, x0)");
  if (!(program == prelu)) return {};
  const ValueId x = node.inputs[0], weight = node.inputs[1];
  if (const auto slope = number(graph, weight)) return Follower{x, {Activation::leaky_relu, *slope}};
  return Follower{x, Activation::prelu, weight};
}

std::optional<Follower> follower(const Graph& graph, const Node& node) {
  if (const auto* activate = node.as<op::Activate>()) return Follower{node.inputs[0], activate->activation()};
  const auto* pointwise = node.as<op::Pointwise>();
  if (!pointwise) return {};
  if (const auto clip = clip_of(graph, node, pointwise->program)) return clip;
  return prelu_of(graph, node, pointwise->program);
}

// The slopes as a vector along the channels of a host, of which there are `channels` along this
// axis; kNone if they are none.
ValueId slopes_of(Rewriter& r, const Follower& f, int axis, index_t channels) {
  const Shape& shape = r.in.shape(f.slopes);
  const int rank = static_cast<int>(r.in.shape(f.x).size()), at = axis - (rank - static_cast<int>(shape.size()));
  if (!r.in.is_constant(f.slopes) || at < 0 || shape[at] != channels || checked_size(shape) != channels) return kNone;
  const ValueId slopes = r.out.add_constant({channels}, r.in.dtype(f.slopes), r.in[f.slopes].as<op::Constant>()->data);
  r.out.set_name(slopes, r.in[f.slopes].name);
  return slopes;
}

// The axis along which the slopes of an operator vary.
int channel_axis(const Node& host) {
  if (const auto* scale_shift = host.as<op::ScaleShift>()) return scale_shift->axis;
  return host.as<op::Linear>() ? static_cast<int>(host.shape.size()) - 1 : 1;
}

ValueId fuse_activation(Rewriter& r, const Node& node, const Follower& f) {
  const bool unordered = std::isnan(f.activation.a) || std::isnan(f.activation.b);
  if (!r.single_use(f.x) || r.in.shape(f.x) != node.shape || unordered) return kNone;
  const Node before = r.made(f.x);
  return std::visit(
      [&](auto host) -> ValueId {
        if constexpr (requires { host.activation; }) {
          if (host.activation != Activation::none) return kNone;
          host.activation = f.activation;
          std::vector<ValueId> inputs = before.inputs;
          if (f.activation.kind == Activation::prelu) {
            if constexpr (requires { host.kSlopes; }) {
              if (!r.out.has_constant_weights(before)) return kNone;  // weights that are packed in the call go without slopes
              const int axis = channel_axis(before);
              const ValueId slopes = slopes_of(r, f, axis, node.shape[axis]);
              if (slopes == kNone) return kNone;
              inputs.resize(host.kSlopes + 1, kNone);
              inputs[host.kSlopes] = slopes;
            } else {
              return kNone;
            }
          }
          return r.out.add(host, std::move(inputs), before.name);
        }
        return kNone;
      },
      before.op);
}

// A convolution or linear layer that can still take a residual.
bool takes_residual(const Node& node) {
  if (node.inputs.size() > 3 && node.inputs[3] != kNone) return false;
  if (const auto* conv = node.as<op::Conv2d>()) return conv->activation == Activation::none;
  if (const auto* linear = node.as<op::Linear>()) return linear->activation == Activation::none;
  return false;
}

ValueId fuse_residual(Rewriter& r, const Node& node) {
  const ValueId a = node.inputs[0], b = node.inputs[1];
  if (r.in.is_constant(a) || r.in.is_constant(b)) return kNone;
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
    if (is_instruction(node, Instruction::add)) return fuse_residual(r, node);
    const std::optional<Follower> found = follower(graph, node);
    return found ? fuse_activation(r, node, *found) : kNone;
  });
}

}  // namespace fastconv
