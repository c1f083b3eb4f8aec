#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

// Axis i of the result is axis order[i] of x.
struct Permute {
  std::vector<int> order;

  static constexpr std::array kNames{"permute"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Permute&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("order", o.order, kRequired);
  }

  void complete(const Inputs& in) {
    for (int& axis : order) axis = in.counted_from_end(axis);
  }
  bool is_identity(const Inputs&, const Shape&) const { return std::is_sorted(order.begin(), order.end()); }
  Shape infer(const Inputs& in) const {
    std::vector<int> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    bool good = sorted.size() == in.x().size();
    for (std::size_t i = 0; good && i < sorted.size(); ++i) good = sorted[i] == static_cast<int>(i);
    if (!good) fail(in.name, ": order must name each of the ", in.rank(), " axes of x once");
    Shape y;
    for (const int axis : order) y.push_back(in.x()[axis]);
    return y;
  }
};

}  // namespace fastconv::op
