#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

// Over the axes [begin, end).
struct LayerNorm {
  int begin = 0, end = 0;
  double eps = 1e-5;

  static constexpr std::array kNames{"layer_norm"};
  static constexpr const char* kInputs = "x, weight?, bias?";
  bool operator==(const LayerNorm&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("begin", o.begin, kRequired);
    f("end", o.end, kRequired);
    f("eps", o.eps);
  }

  bool keeps_layout() const { return begin == 1 && end == 2; }
  Shape infer(const Inputs& in) const {
    const Shape& x = in.x();
    if (begin < 0 || begin >= end || end > in.rank())
      fail(in.name, ": axes ", begin, " to ", end, " are no axes of x, which has shape ", to_string(x));
    const Shape normalized(x.begin() + begin, x.begin() + end);
    const char* what[] = {"weight", "bias"};
    for (std::size_t i = 1; i <= 2; ++i)
      if (in.has(i) && in.weights(i, what[i - 1]) != normalized)
        fail(in.name, ": ", what[i - 1], " must have shape ", to_string(normalized), ", got ", to_string(in.x(i)));
    return x;
  }
};

}  // namespace fastconv::op
