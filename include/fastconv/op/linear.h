#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

// Over the last axis; weight is (out, in).
struct Linear {
  Activation activation = Activation::none;

  static constexpr std::array kNames{"linear"};
  static constexpr const char* kInputs = "x, weight, bias?, residual?, slopes?";
  static constexpr std::size_t kSlopes = 4;  // which input they are
  bool operator==(const Linear&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("activation", o.activation);
  }

  // A value whose last axis is channels, as (N, C, H, W): the image on which this is a 1x1
  // convolution.
  static Shape as_image(const Shape& x) {
    switch (x.size()) {
      case 1: return {1, x[0], 1, 1};
      case 2: return {x[0], x[1], 1, 1};
      case 3: return {x[0], x[2], 1, x[1]};
      default: return {x[0], x[3], x[1], x[2]};
    }
  }
  ConvGeometry geometry(const Shape& x, const Shape& weight) const {
    return conv_geometry(as_image(x), {weight[0], weight[1], 1, 1}, {1, 1}, {}, {1, 1}, 1);
  }
  Shape infer(const Inputs& in) const {
    const Shape &x = in.x(), &w = in.required(1, "weight");
    if (w.size() != 2) fail(in.name, ": weight must have shape (out_features, in_features), got ", to_string(w));
    if (x.empty() || x.back() != w[1])
      fail(in.name, ": weight has ", w[1], " input features but x has shape ", to_string(x), ": expected x.shape[-1] == ", w[1]);
    if (x.size() > 4) fail(in.name, ": x may have up to 4 dimensions here, got shape ", to_string(x), ": reshape it");
    in.vector_of_values(2, w[0], "bias");
    Shape y = x;
    y.back() = w[0];
    in.residual(3, y);
    in.slopes(kSlopes, w[0], activation);
    return y;
  }
};

}  // namespace fastconv::op
