#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct GroupNorm {
  index_t num_groups = 1;
  double eps = 1e-5;

  static constexpr std::array kNames{"group_norm"};
  static constexpr const char* kInputs = "x, weight?, bias?";
  bool operator==(const GroupNorm&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("num_groups", o.num_groups, kRequired);
    f("eps", o.eps);
  }

  Shape infer(const Inputs& in) const {
    if (in.rank() < 2) fail(in.name, ": x must have shape (N, C, ...), got ", to_string(in.x()));
    const index_t channels = in.x()[1];
    if (num_groups < 1 || channels % num_groups != 0)
      fail(in.name, ": num_groups must divide the ", channels, " channels of x, got ", num_groups);
    in.vector(1, channels, "weight");
    in.vector(2, channels, "bias");
    return in.x();
  }
};

}  // namespace fastconv::op
