#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct Slice {
  Shape start, stop, step;  // of each axis, as Python's slice.indices gives them

  static constexpr std::array kNames{"slice"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Slice&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("start", o.start, kRequired);
    f("stop", o.stop, kRequired);
    f("step", o.step, kRequired);
  }

  bool is_identity(const Inputs& in, const Shape& y) const {
    return y == in.x() && std::all_of(step.begin(), step.end(), [](index_t s) { return s == 1; });
  }
  Shape infer(const Inputs& in) const {
    const std::size_t rank = in.x().size();
    if (start.size() != rank || stop.size() != rank || step.size() != rank)
      fail(in.name, ": start, stop and step must have one element for each axis of ", to_string(in.x()));
    Shape y;
    for (std::size_t i = 0; i < rank; ++i) {
      const index_t first = start[i], end = stop[i], by = step[i], size = in.x()[i];
      if (by == 0) fail(in.name, ": step must not be zero");
      const index_t low = by > 0 ? 0 : -1, high = size + low;  // -1 is what lies before the first element
      if (first < low || first > high || end < low || end > high)
        fail(in.name, ": ", first, ":", end, ":", by, " leaves axis ", i, " of shape ", to_string(in.x()));
      if (by > 0 ? end <= first : end >= first) {
        y.push_back(0);
        continue;
      }
      y.push_back(by > 0 ? (end - first - 1) / by + 1 : (end - first + 1) / by + 1);
    }
    return y;
  }
};

}  // namespace fastconv::op
