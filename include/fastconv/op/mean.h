#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct Mean {
  std::vector<int> axes;  // ascending
  bool keepdims = false;

  static constexpr std::array kNames{"mean"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Mean&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("axis", o.axes, kRequired);
    f("keepdims", o.keepdims);
  }

  void complete(const Inputs& in) {
    for (int& axis : axes) axis = in.counted_from_end(axis);
    std::sort(axes.begin(), axes.end());
    if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) fail("axis names an axis twice");
  }
  bool keeps_layout() const { return keepdims && axes == std::vector<int>{2, 3}; }
  bool is_identity(const Inputs&, const Shape&) const { return axes.empty(); }
  Shape infer(const Inputs& in) const {
    Shape y;
    for (const int axis : axes) in.axis(axis);
    for (int i = 0; i < in.rank(); ++i) {
      const bool reduced = std::find(axes.begin(), axes.end(), i) != axes.end();
      if (!reduced || keepdims) y.push_back(reduced ? 1 : in.x()[i]);
    }
    return y;
  }
};

}  // namespace fastconv::op
