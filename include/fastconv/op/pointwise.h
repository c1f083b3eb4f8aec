#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"
#include "fastconv/pointwise.h"

namespace fastconv::op {

// A pointwise program on inputs with NumPy's broadcasting: one instruction, under its name, or
// several.
struct Pointwise {
  PointwiseProgram program = PointwiseProgram::of(Instruction::add);

#define ROW(name, operands, result) #name,
  static constexpr auto kNames = std::to_array<const char*>({FASTCONV_NAMED_INSTRUCTIONS(ROW) "pointwise"});
#undef ROW
  static constexpr const char* kInputs = "inputs...";
  static constexpr bool kPointwise = true;
  bool operator==(const Pointwise&) const = default;
  std::size_t which() const {
    const std::optional<Instruction> alone = program.instruction();
    return alone ? std::min(static_cast<std::size_t>(*alone), kNames.size() - 1) : kNames.size() - 1;
  }
  void set_which(std::size_t i) {
    if (i + 1 < kNames.size()) program = PointwiseProgram::of(static_cast<Instruction>(i));
    else program.steps.clear();
  }
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    if (o.program.steps.empty() || o.which() + 1 == kNames.size()) f("program", o.program, kRequired);
  }

  bool keeps_layout() const { return program.inputs == 1 && !program.input_is_mask(0) && !program.result_is_mask(); }
  bool takes_mask(std::size_t input) const { return program.input_is_mask(static_cast<int>(input)); }
  DType result(DType in) const { return program.result_is_mask() ? DType::boolean : in; }

  Shape infer(const Inputs& in) const {
    if (static_cast<int>(in.size()) != program.inputs) fail(in.name, ": takes ", program.inputs, " inputs, got ", in.size());
    Shape y = in.x(0);
    for (std::size_t i = 1; i < in.size(); ++i) y = broadcast(in.name, y, in.x(i));
    return y;
  }
};

}  // namespace fastconv::op
