// Programs of several instructions become an operator for each, for a back end that runs single
// ones.
#include "graph/passes.h"

namespace fastconv {
namespace {

// A number of a program as a constant.
ValueId constant(Graph& graph, DType dtype, double number) {
  if (dtype == DType::f64) return graph.add_constant({}, dtype, std::make_shared<double>(number));
  return graph.add_constant({}, DType::f32, std::make_shared<float>(static_cast<float>(number)));
}

ValueId split(Rewriter& r, const Node& node) {
  const auto* pointwise = node.as<op::Pointwise>();
  if (!pointwise || pointwise->which() + 1 < op::Pointwise::kNames.size()) return kNone;
  const PointwiseProgram& program = pointwise->program;
  DType dtype = DType::f32;  // of the numbers
  std::vector<ValueId> values;
  for (const ValueId input : node.inputs) {
    values.push_back(r.mapped(input));
    if (r.in.dtype(input) != DType::boolean) dtype = r.in.dtype(input);
  }
  for (const double number : program.numbers) values.push_back(constant(r.out, dtype, number));
  for (const auto& step : program.steps) {
    std::vector<ValueId> operands;
    for (const int operand : step.operands)
      if (operand >= 0) operands.push_back(values[operand]);
    Operator op = op::Pointwise{PointwiseProgram::of(step.instruction)};
    if (const auto activation = activation_of(step.instruction)) op = op::Activate{*activation};
    values.push_back(r.out.add(std::move(op), std::move(operands), node.name));
  }
  return r.out.shape(values.back()) == node.shape ? values.back() : kNone;  // an input that nothing uses may widen it
}

}  // namespace

Graph split_programs(Graph graph) {
  Rewriter r(graph);
  return r.run([&](ValueId id) { return split(r, graph[id]); });
}

}  // namespace fastconv
