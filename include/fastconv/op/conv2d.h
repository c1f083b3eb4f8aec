#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct Conv2d {
  Pair stride{1, 1};
  Padding padding;  // explicit sizes, once it is in a graph
  Pair dilation{1, 1};
  index_t groups = 1;
  Activation activation = Activation::none;

  static constexpr std::array kNames{"conv2d"};
  static constexpr const char* kInputs = "x, weight, bias?, residual?, slopes?";
  static constexpr std::size_t kSlopes = 4;  // which input they are
  bool operator==(const Conv2d&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("stride", o.stride);
    f("padding", o.padding);
    f("dilation", o.dilation);
    f("groups", o.groups);
    f("activation", o.activation);
  }

  ConvGeometry geometry(const Shape& x, const Shape& weight) const {
    return conv_geometry(x, weight, stride, padding, dilation, groups);
  }
  void complete(const Inputs& in) {
    const ConvGeometry g = geometry(in.x(), in.required(1, "weight"));
    padding = {Padding::Mode::explicit_sizes, g.pad_top, g.pad_bottom, g.pad_left, g.pad_right};
  }
  Shape infer(const Inputs& in) const {
    const ConvGeometry g = geometry(in.x(), in.required(1, "weight"));
    in.vector_of_values(2, g.out_channels, "bias");
    Shape y{in.x()[0], g.out_channels, g.out_h, g.out_w};
    in.residual(3, y);
    in.slopes(kSlopes, g.out_channels, activation);
    return y;
  }
};

}  // namespace fastconv::op
