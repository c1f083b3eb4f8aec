// Pointwise operators that follow one another become one program, which goes through memory once.
#include <algorithm>
#include <map>

#include "graph/passes.h"

namespace fastconv {
namespace {

constexpr int kMostInputs = 8;
constexpr std::size_t kMostSteps = 32;

// The program that a node is, of the node's inputs.
std::optional<PointwiseProgram> program_of(const Node& node) {
  if (!is_computed_in(node.dtype) && node.dtype != DType::boolean) return {};
  if (const auto* pointwise = node.as<op::Pointwise>()) return pointwise->program;
  if (const auto* activate = node.as<op::Activate>()) return PointwiseProgram::of(activate->activation());
  const auto* affine = node.as<op::ScaleShift>();
  if (!affine) return {};
  const auto multiply_add = PointwiseProgram::of(Instruction::multiply_add);
  if (affine->activation == Activation::none) return multiply_add;
  const auto activation = PointwiseProgram::of(affine->activation);
  return activation ? std::optional(multiply_add.followed_by(*activation)) : std::nullopt;
}

// What a node's program computes in; bool where it has masks alone.
DType computed_in(const Graph& graph, const Node& node) {
  for (const ValueId input : node.inputs)
    if (graph.dtype(input) != DType::boolean) return graph.dtype(input);
  return DType::boolean;
}

// A program that is put together: of `inputs`, values of the new graph.
class Builder {
 public:
  explicit Builder(Graph& graph) : graph_(graph) {}

  // Appends a program whose inputs are these operands; returns the operand that is its result.
  int append(const PointwiseProgram& part, const std::vector<int>& inputs) {
    std::vector<int> operand_of = inputs;
    for (const double number : part.numbers) operand_of.push_back(number_operand(number));
    for (const auto& step : part.steps) {
      PointwiseProgram::Step moved{step.instruction, {-1, -1, -1}};
      for (std::size_t k = 0; k < step.operands.size(); ++k)
        if (step.operands[k] >= 0) moved.operands[k] = operand_of[step.operands[k]];
      steps_.push_back(moved);
      operand_of.push_back(kResult + static_cast<int>(steps_.size()) - 1);
    }
    return operand_of.back();
  }
  // Input `i` of `node`, which is `id` here. Vectors of scale_shift get the axes that broadcasting
  // asks for.
  int input_of(const Node& node, std::size_t i, ValueId id) {
    const auto* affine = node.as<op::ScaleShift>();
    if (!affine || i == 0) return input(id);
    Shape shape(node.shape.size() - affine->axis, 1);
    shape[0] = node.shape[affine->axis];
    return input(graph_.add_constant(shape, graph_.dtype(id), graph_[id].as<op::Constant>()->data));
  }
  // An input of the program, once; a float constant of one element becomes a number.
  int input(ValueId id) {
    const auto* constant = graph_[id].as<op::Constant>();
    if (constant && graph_.shape(id).empty() && is_computed_in(graph_.dtype(id)) && constant->data)
      return number_operand(graph_.dtype(id) == DType::f32 ? *static_cast<const float*>(constant->data.get())
                                                           : *static_cast<const double*>(constant->data.get()));
    const auto [at, fresh] = input_of_.emplace(id, static_cast<int>(inputs_.size()));
    if (fresh) inputs_.push_back(id);
    return at->second;
  }

  PointwiseProgram program() const {
    PointwiseProgram program{static_cast<int>(inputs_.size()), numbers_, steps_};
    for (auto& step : program.steps)
      for (int& operand : step.operands)
        if (operand >= kResult) operand += program.first_result() - kResult;
        else if (operand >= kNumber) operand += program.inputs - kNumber;
    return program;
  }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  std::size_t steps() const { return steps_.size(); }

 private:
  // Operands: inputs from 0 on, numbers and results from these on.
  static constexpr int kNumber = 1 << 10, kResult = 1 << 20;

  int number_operand(double number) {
    numbers_.push_back(number);
    return kNumber + static_cast<int>(numbers_.size()) - 1;
  }

  Graph& graph_;
  std::vector<ValueId> inputs_;
  std::map<ValueId, int> input_of_;
  std::vector<double> numbers_;
  std::vector<PointwiseProgram::Step> steps_;
};

// Node `id` with those of its inputs in it that are programs for it alone; kNone if there is none
// such.
ValueId fuse(Rewriter& r, ValueId id) {
  const Node& node = r.in[id];
  const auto own = program_of(node);
  if (!own) return kNone;
  for (std::size_t i = 0; i < static_cast<std::size_t>(own->inputs); ++i)
    if ((r.in.dtype(node.inputs[i]) == DType::boolean) != own->input_is_mask(static_cast<int>(i))) return kNone;  // lowering refuses it
  Builder builder(r.out);
  std::vector<int> operands;
  bool fused = false;
  DType computed = computed_in(r.in, node);
  const auto agrees = [&](DType other) { return other == computed || other == DType::boolean || computed == DType::boolean; };
  for (std::size_t i = 0; i < static_cast<std::size_t>(own->inputs); ++i) {
    const ValueId input = node.inputs[i];
    const Node before = r.made(input);
    const auto part = program_of(before);
    const bool fits = part && r.single_use(input) && before.shape == node.shape && agrees(computed_in(r.out, before)) &&
                      part->inputs + own->inputs <= kMostInputs && part->steps.size() + own->steps.size() <= kMostSteps;
    if (!fits) {
      operands.push_back(builder.input_of(node, i, r.mapped(input)));
      continue;
    }
    std::vector<int> inputs;
    for (std::size_t k = 0; k < static_cast<std::size_t>(part->inputs); ++k)
      inputs.push_back(builder.input_of(before, k, before.inputs[k]));
    operands.push_back(builder.append(*part, inputs));
    if (computed == DType::boolean) computed = computed_in(r.out, before);
    fused = true;
  }
  if (!fused) return kNone;
  builder.append(*own, operands);
  if (builder.steps() > kMostSteps || builder.inputs().size() > kMostInputs || builder.inputs().empty()) return kNone;
  return r.out.add(op::Pointwise{builder.program()}, builder.inputs(), node.name);
}

}  // namespace

Graph fuse_pointwise(Graph graph) {
  Rewriter r(graph);
  return r.run([&](ValueId id) { return fuse(r, id); });
}

}  // namespace fastconv
