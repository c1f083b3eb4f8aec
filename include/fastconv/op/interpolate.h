#pragma once

#include <cmath>

#include "fastconv/interpolation.h"
#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv {

namespace op {

struct Interpolate : Interpolation {
  Pair size{1, 1};

  static constexpr std::array kNames{"interpolate"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Interpolate&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("size", o.size, kRequired);
    f("scale", o.scale);
    f("mode", o.mode);
    f("coordinates", o.coordinates);
    f("nearest_mode", o.nearest_mode);
    f("antialias", o.antialias);
    f("cubic_coeff_a", o.cubic_coeff_a);
    f("exclude_outside", o.exclude_outside);
  }

  bool keeps_layout() const { return true; }
  Shape infer(const Inputs& in) const {
    if (size[0] < 1 || size[1] < 1) fail(in.name, ": size must be at least 1, got (", size[0], ", ", size[1], ")");
    for (const double step : scale)
      if (!(step >= 0 && std::isfinite(step)))
        fail(in.name, ": scale must be finite and not negative, got (", scale[0], ", ", scale[1], ")");
    if (!std::isfinite(cubic_coeff_a)) fail(in.name, ": cubic_coeff_a must be finite, got ", cubic_coeff_a);
    if (antialias && mode == Mode::nearest) fail(in.name, ": antialias is for bilinear and bicubic, got the mode nearest");
    if (exclude_outside && !antialias && mode != Mode::bicubic)
      fail(in.name, ": exclude_outside is for bicubic and for antialias, got the mode ", word(mode));
    const Shape& x = in.pixels();
    return {x[0], x[1], size[0], size[1]};
  }
};

}  // namespace op

template <>
struct Words<Interpolation::Mode> {
  static constexpr std::array names{"nearest", "bilinear", "bicubic"};
};
template <>
struct Words<Interpolation::Coordinates> {
  static constexpr std::array names{"half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric"};
};
template <>
struct Words<Interpolation::Rounding> {
  static constexpr std::array names{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
};

}  // namespace fastconv
