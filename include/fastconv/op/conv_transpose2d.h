#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct ConvTranspose2d {
  Pair stride{1, 1}, padding{}, output_padding{}, dilation{1, 1};
  index_t groups = 1;
  Activation activation = Activation::none;

  static constexpr std::array kNames{"conv_transpose2d"};
  static constexpr const char* kInputs = "x, weight, bias?, slopes?";
  static constexpr std::size_t kSlopes = 3;  // which input they are
  bool operator==(const ConvTranspose2d&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("stride", o.stride);
    f("padding", o.padding);
    f("output_padding", o.output_padding);
    f("dilation", o.dilation);
    f("groups", o.groups);
    f("activation", o.activation);
  }

  // That of the convolution whose gradient it is.
  ConvGeometry geometry(const Shape& x, const Shape& weight) const {
    return conv_transpose_geometry(x, weight, stride, padding, output_padding, dilation, groups);
  }
  Shape infer(const Inputs& in) const {
    const ConvGeometry g = geometry(in.x(), in.required(1, "weight"));
    in.vector_of_values(2, g.in_channels, "bias");
    in.slopes(kSlopes, g.in_channels, activation);
    return {in.x()[0], g.in_channels, g.in_h, g.in_w};
  }
};

}  // namespace fastconv::op
