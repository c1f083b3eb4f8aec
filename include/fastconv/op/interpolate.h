#pragma once

#include <limits>

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv {

namespace op {

struct Interpolate {
  enum class Mode : std::uint8_t { nearest, bilinear } mode = Mode::nearest;
  Pair size{1, 1};
  std::array<double, 2> scale{};  // input step per output pixel; 0: input size / output size
  bool align_corners = false;

  static constexpr std::array kNames{"interpolate"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Interpolate&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("size", o.size, kRequired);
    f("scale", o.scale);
    f("mode", o.mode);
    f("align_corners", o.align_corners);
  }

  bool keeps_layout() const { return true; }
  Shape infer(const Inputs& in) const {
    if (size[0] < 1 || size[1] < 1) fail(in.name, ": size must be at least 1, got (", size[0], ", ", size[1], ")");
    for (const double step : scale)
      if (!(step >= 0 && step < std::numeric_limits<double>::infinity()))
        fail(in.name, ": scale must be finite and not negative, got (", scale[0], ", ", scale[1], ")");
    const Shape& x = in.pixels();
    return {x[0], x[1], size[0], size[1]};
  }
};

}  // namespace op

template <>
struct Words<op::Interpolate::Mode> {
  static constexpr std::array names{"nearest", "bilinear"};
};

}  // namespace fastconv
