#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct Concat {
  int axis = 1;

  static constexpr std::array kNames{"concat"};
  static constexpr const char* kInputs = "arrays...";
  bool operator==(const Concat&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("axis", o.axis);
  }

  void complete(const Inputs& in) { axis = in.counted_from_end(axis); }
  bool is_identity(const Inputs& in, const Shape&) const { return in.size() == 1; }
  Shape infer(const Inputs& in) const {
    Shape y = in.x(0);
    in.axis(axis);
    for (std::size_t i = 1; i < in.size(); ++i) {
      Shape other = in.x(i);
      if (other.size() == y.size()) {
        const index_t size = other[axis];
        other[axis] = y[axis];
        if (other == y) {
          y[axis] = checked_sum(y[axis], size);
          continue;
        }
      }
      fail(in.name, ": arrays[", i, "] of shape ", to_string(in.x(i)), " does not fit arrays[0] of shape ", to_string(in.x(0)),
           ": all axes but ", axis, " must agree");
    }
    return y;
  }
};

}  // namespace fastconv::op
