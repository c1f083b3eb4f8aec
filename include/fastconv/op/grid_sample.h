#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"
#include "fastconv/ops.h"

namespace fastconv {

namespace op {

struct GridSample : GridSampling {
  static constexpr std::array kNames{"grid_sample"};
  static constexpr const char* kInputs = "x, grid";
  bool operator==(const GridSample&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("mode", o.mode);
    f("padding_mode", o.padding_mode);
    f("align_corners", o.align_corners);
  }

  bool keeps_layout() const { return true; }
  Shape infer(const Inputs& in) const {
    const Shape &x = in.pixels(), &grid = in.x(1);
    if (grid.size() != 4 || grid[0] != x[0] || grid[3] != 2)
      fail(in.name, ": grid must have shape (", x[0], ", H_out, W_out, 2), as x has shape ", to_string(x), ", got ", to_string(grid));
    return {x[0], x[1], grid[1], grid[2]};
  }
};

}  // namespace op

template <>
struct Words<GridSampling::Mode> {
  static constexpr std::array names{"bilinear", "nearest", "bicubic"};
};
template <>
struct Words<GridSampling::Padding> {
  static constexpr std::array names{"zeros", "border", "reflection"};
};

}  // namespace fastconv
