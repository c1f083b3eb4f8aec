#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

// With NumPy's broadcasting.
struct Binary {
  BinaryKind kind = BinaryKind::add;

  static constexpr std::array kNames{"add", "multiply"};
  static constexpr const char* kInputs = "a, b";
  bool operator==(const Binary&) const = default;
  std::size_t which() const { return static_cast<std::size_t>(kind); }
  void set_which(std::size_t i) { kind = static_cast<BinaryKind>(i); }
  template <class Self, class F>
  static void fields(Self&, F&&) {}

  Shape infer(const Inputs& in) const { return broadcast(in.name, in.x(0), in.x(1)); }
};

}  // namespace fastconv::op
