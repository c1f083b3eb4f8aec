#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv {

namespace op {

struct Pad {
  enum class Mode : std::uint8_t { constant, reflect, replicate } mode = Mode::constant;
  Shape before, after;  // of each axis; negative crops
  double value = 0;

  static constexpr std::array kNames{"pad"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Pad&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("before", o.before, kRequired);
    f("after", o.after, kRequired);
    f("mode", o.mode);
    f("value", o.value);
  }

  bool is_identity(const Inputs&, const Shape&) const {
    const auto zero = [](index_t size) { return size == 0; };
    return std::all_of(before.begin(), before.end(), zero) && std::all_of(after.begin(), after.end(), zero);
  }
  Shape infer(const Inputs& in) const {
    Shape y = in.x();
    if (before.size() != y.size() || after.size() != y.size()) fail(in.name, ": pad must name each axis of x");
    for (std::size_t i = 0; i < y.size(); ++i) {
      const index_t first = before[i], last = after[i], size = y[i], most = std::max(first, last);
      if (first == 0 && last == 0) continue;
      if (std::min(first, last) < -kLargestArgument || most > kLargestArgument)
        fail(in.name, ": pad must be from -2**40 to 2**40, got (", first, ", ", last, ") for axis ", i);
      y[i] = checked_sum(size, first + last);
      const index_t cropped = std::max<index_t>(-first, 0) + std::max<index_t>(-last, 0);
      if (y[i] < 0 || (mode == Mode::constant && cropped > size))
        fail(in.name, ": pad crops more of axis ", i, " than its size ", size, ": (", first, ", ", last, ")");
      if (mode == Mode::reflect && most >= size)
        fail(in.name, ": pad must be below the size ", size, " of axis ", i, " to reflect, got (", first, ", ", last, ")");
      if (mode == Mode::replicate && size == 0) fail(in.name, ": axis ", i, " of x is empty: there is nothing to replicate");
    }
    return y;
  }
};

}  // namespace op

template <>
struct Words<op::Pad::Mode> {
  static constexpr std::array names{"constant", "reflect", "replicate"};
};

}  // namespace fastconv
