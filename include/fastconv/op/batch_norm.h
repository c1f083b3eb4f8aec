#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct BatchNorm {
  double eps = 1e-5;
  Activation activation = Activation::none;

  static constexpr std::array kNames{"batch_norm"};
  static constexpr const char* kInputs = "x, running_mean, running_var, weight?, bias?";
  bool operator==(const BatchNorm&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("eps", o.eps);
    f("activation", o.activation);
  }

  Shape infer(const Inputs& in) const {
    if (in.rank() < 2) fail(in.name, ": x must have shape (N, C, ...), got ", to_string(in.x()));
    if (activation.kind == Activation::prelu) fail(in.name, ": takes no slopes, and so not the activation prelu");
    const char* what[] = {"running_mean", "running_var", "weight", "bias"};
    in.weights(1, what[0]);
    in.weights(2, what[1]);
    for (std::size_t i = 1; i <= 4; ++i) in.vector(i, in.x()[1], what[i - 1]);
    return in.x();
  }
};

}  // namespace fastconv::op
