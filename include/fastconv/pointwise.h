// Pointwise programs: functions of corresponding elements of several arrays, in single
// instructions.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "fastconv/instructions.h"
#include "fastconv/types.h"

namespace fastconv {

struct InstructionInfo {
  const char* name;
  const char* operands;  // 'f' or 'm' for each: floats, or masks
  char result;
};
const InstructionInfo& info_of(Instruction instruction);
std::optional<Activation::Kind> activation_of(Instruction instruction);

// Values have numbers: the inputs come first, then `numbers`, then the results of the steps. The
// last one is the program's result.
struct PointwiseProgram {
  struct Step {
    Instruction instruction;
    std::array<int, 3> operands{-1, -1, -1};
    bool operator==(const Step&) const = default;
  };
  int inputs = 0;
  std::vector<double> numbers;
  std::vector<Step> steps;

  static PointwiseProgram of(Instruction instruction);  // the instruction alone, with its operands as inputs
  static std::optional<PointwiseProgram> of(const Activation& activation);  // absent for prelu, whose slopes vary, and for `none`
  std::optional<Instruction> instruction() const;       // the only one, if its operands are the inputs in their order
  // x0, x1, ... are inputs, t0, t1, ... results: "t0 = subtract(x0, x1); multiply(t0, 2.5)". Throws
  // std::invalid_argument.
  static PointwiseProgram from_text(const std::string& text);
  std::string text() const;
  PointwiseProgram followed_by(const PointwiseProgram& next) const;  // by a program of one input, the result of this one

  int first_result() const { return inputs + static_cast<int>(numbers.size()); }
  bool input_is_mask(int input) const;  // by its first use
  bool result_is_mask() const { return info_of(steps.back().instruction).result == 'm'; }
  bool operator==(const PointwiseProgram&) const = default;
};

}  // namespace fastconv
