#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct Activate {
  Activation::Kind kind = Activation::relu;
  double negative_slope = 0.01;

  static constexpr std::array kNames{"activation"};
  static constexpr const char* kInputs = "x";
  static constexpr bool kPointwise = true;
  bool operator==(const Activate&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("kind", o.kind, kRequired);
    f("negative_slope", o.negative_slope);
  }

  Activation activation() const { return kind == Activation::leaky_relu ? Activation(kind, negative_slope) : kind; }
  bool keeps_layout() const { return true; }
  bool is_identity(const Inputs&, const Shape&) const { return kind == Activation::none; }
  Shape infer(const Inputs& in) const { return in.x(); }
};

}  // namespace fastconv::op
