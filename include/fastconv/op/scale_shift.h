#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

// activation(x * scale + shift), vectors along `axis`: what batch norms, and products and sums with
// constants, become.
struct ScaleShift {
  int axis = 1;
  Activation activation = Activation::none;

  static constexpr std::array kNames{"scale_shift"};
  static constexpr const char* kInputs = "x, scale, shift, slopes?";
  static constexpr std::size_t kSlopes = 3;  // which input they are
  bool operator==(const ScaleShift&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("axis", o.axis);
    f("activation", o.activation);
  }

  bool keeps_layout() const { return axis == 1; }
  Shape infer(const Inputs& in) const {
    in.axis(axis);
    in.weights(1, "scale");
    in.weights(2, "shift");
    in.vector(1, in.x()[axis], "scale");
    in.vector(2, in.x()[axis], "shift");
    in.slopes(kSlopes, in.x()[axis], activation);
    return in.x();
  }
};

}  // namespace fastconv::op
