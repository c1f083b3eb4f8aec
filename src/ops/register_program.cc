#include "ops/register_program.h"

#include <algorithm>

#include "kernels/pointwise/pointwise.h"

namespace fastconv {

RegisterProgram in_registers(const PointwiseProgram& program) {
  const int first = program.first_result(), count = static_cast<int>(program.steps.size());
  // Which operand a step takes from registers: of two the one that is there, else the first, which
  // is loaded.
  const auto operands_of = [&](int i) {
    const auto& all = program.steps[i].operands;
    return static_cast<int>(std::find(all.begin(), all.end(), -1) - all.begin());
  };
  const auto in_register = [&](int i) {
    const auto& operands = program.steps[i].operands;
    const int before = i > 0 ? first + i - 1 : -1;
    return operands_of(i) == 2 && operands[0] != before && operands[1] == before ? 1 : 0;
  };
  std::vector<bool> is_kept(first + count);
  for (int i = 0; i < count; ++i)
    for (int k = 0; k < operands_of(i); ++k) {
      const int value = program.steps[i].operands[k];
      if (value >= first && !(k == in_register(i) && value == first + i - 1)) is_kept[value] = true;
    }

  RegisterProgram result;
  const auto move = [](PointwiseMove m) { return kInstructions + static_cast<int>(m); };
  for (int i = 0; i < count; ++i) {
    const auto& step = program.steps[i];
    const int taken = in_register(i), value = step.operands[taken];
    if (i == 0 || value != first + i - 1) result.steps.push_back({move(PointwiseMove::load), false, {value, -1}});
    RegisterProgram::Step& made = result.steps.emplace_back();
    made.operation = static_cast<int>(step.instruction);
    made.exchanged = taken == 1;
    for (int k = 0, at = 0; k < operands_of(i); ++k)
      if (k != taken) made.operands[at++] = step.operands[k];
    if (is_kept[first + i]) {
      result.steps.push_back({move(PointwiseMove::keep), false, {first + i, -1}});
      result.kept.push_back(first + i);
    }
  }
  return result;
}

}  // namespace fastconv
