#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

// Those that are counted from the end count from the start, then.
inline void complete_indices(const Inputs& in, int& axis, Shape& indices) {
  axis = in.counted_from_end(axis);
  in.axis(axis);
  for (index_t& index : indices)
    if (index < 0) index += in.x()[axis];
}

inline void check_indices(const Inputs& in, int axis, const Shape& indices) {
  in.axis(axis);
  const index_t size = in.x()[axis];
  for (const index_t index : indices)
    if (index < 0 || index >= size) fail(in.name, ": indices leave axis ", axis, " of shape ", to_string(in.x()));
}

// Element i of the result, along the axis, is element indices[i] of x.
struct Take {
  int axis = 0;
  Shape indices;

  static constexpr std::array kNames{"take"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Take&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("axis", o.axis, kRequired);
    f("indices", o.indices, kRequired);
  }

  void complete(const Inputs& in) { complete_indices(in, axis, indices); }
  bool is_identity(const Inputs& in, const Shape& y) const {
    for (std::size_t i = 0; i < indices.size(); ++i)
      if (indices[i] != static_cast<index_t>(i)) return false;
    return y == in.x();
  }
  Shape infer(const Inputs& in) const {
    check_indices(in, axis, indices);
    Shape y = in.x();
    y[axis] = static_cast<index_t>(indices.size());
    return y;
  }
};

// x with element i of the updates, along the axis, added to its element indices[i], one after the
// other.
struct ScatterAdd {
  int axis = 0;
  Shape indices;

  static constexpr std::array kNames{"scatter_add"};
  static constexpr const char* kInputs = "x, updates";
  bool operator==(const ScatterAdd&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("axis", o.axis, kRequired);
    f("indices", o.indices, kRequired);
  }

  void complete(const Inputs& in) { complete_indices(in, axis, indices); }
  Shape infer(const Inputs& in) const {
    check_indices(in, axis, indices);
    Shape updates = in.x();
    updates[axis] = static_cast<index_t>(indices.size());
    if (in.x(1) != updates)
      fail(in.name, ": updates must have shape ", to_string(updates), ", got ", to_string(in.x(1)));
    return in.x();
  }
};

}  // namespace fastconv::op
