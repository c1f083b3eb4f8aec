#pragma once

#include <array>
#include <vector>

#include "fastconv/pointwise.h"

namespace fastconv {

// A program whose steps find the result before them in registers. Other operands are values that
// lie in memory: inputs, numbers, and results that are kept in a slot each.
struct RegisterProgram {
  struct Step {
    int operation;
    bool exchanged = false;
    std::array<int, 2> operands{-1, -1};  // values; of `keep` the result itself
  };
  std::vector<Step> steps;
  std::vector<int> kept;  // values
};

RegisterProgram in_registers(const PointwiseProgram& program);

}  // namespace fastconv
