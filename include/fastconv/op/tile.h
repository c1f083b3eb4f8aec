#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

// x so many times along each axis, one after the other.
struct Tile {
  Shape repeats;

  static constexpr std::array kNames{"tile"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Tile&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("repeats", o.repeats, kRequired);
  }

  bool is_identity(const Inputs& in, const Shape& y) const { return y == in.x(); }
  Shape infer(const Inputs& in) const {
    Shape y = in.x();
    if (repeats.size() != y.size())
      fail(in.name, ": repeats must have one element for each axis of ", to_string(y), ", got ", to_string(repeats));
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (repeats[i] < 0) fail(in.name, ": repeats must not be negative, got ", to_string(repeats));
      y[i] = checked_size({y[i], repeats[i]});
    }
    return y;
  }
};

}  // namespace fastconv::op
