#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct Reshape {
  Shape shape;  // when it is given: one size may be -1

  static constexpr std::array kNames{"reshape"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Reshape&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("shape", o.shape, kRequired);
  }

  void complete(const Inputs& in) {
    const auto unknown = std::find(shape.begin(), shape.end(), -1);
    if (unknown == shape.end()) return;
    *unknown = 1;
    const index_t rest = checked_size(shape), size = checked_size(in.x());
    if (rest == 0 || size % rest != 0)
      fail(in.name, ": shape ", to_string(in.x()), " does not divide by the sizes given");
    *unknown = size / rest;
  }
  bool is_identity(const Inputs& in, const Shape& y) const { return y == in.x(); }
  Shape infer(const Inputs& in) const {
    if (std::any_of(shape.begin(), shape.end(), [](index_t size) { return size < 0; }) ||
        checked_size(shape) != checked_size(in.x()))
      fail(in.name, ": shape ", to_string(in.x()), " has ", checked_size(in.x()), " elements, which do not fit ", to_string(shape));
    return shape;
  }
};

}  // namespace fastconv::op
