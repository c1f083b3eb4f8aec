// What a graph starts from: its inputs, and constants.
#pragma once

#include <memory>

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct Input {
  static constexpr std::array kNames{"input"};
  static constexpr const char* kInputs = "";
  bool operator==(const Input&) const = default;
  template <class Self, class F>
  static void fields(Self&, F&&) {}
  Shape infer(const Inputs&) const { return {}; }
};

// Contiguous.
struct Constant {
  std::shared_ptr<const void> data;  // null once its last user has packed it
  // Of some weights: a factor for each index of the first axis, applied when they are packed (see
  // fold_affine).
  std::shared_ptr<const std::vector<double>> scale = nullptr;

  static constexpr std::array kNames{"constant"};
  static constexpr const char* kInputs = "";
  bool operator==(const Constant&) const = default;
  template <class Self, class F>
  static void fields(Self&, F&&) {}
  Shape infer(const Inputs&) const { return {}; }
};

}  // namespace fastconv::op
