#pragma once

#include <cmath>

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

// Axes in their final form: ascending, from the front.
inline void complete_axes(std::vector<int>& axes, const Inputs& in) {
  for (int& axis : axes) axis = in.counted_from_end(axis);
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) fail("axis names an axis twice");
}

// The result's shape where axes are left out, or become 1.
inline Shape reduced_shape(const std::vector<int>& axes, bool keepdims, const Inputs& in) {
  Shape y;
  for (const int axis : axes) in.axis(axis);
  for (int i = 0; i < in.rank(); ++i) {
    const bool reduced = std::find(axes.begin(), axes.end(), i) != axes.end();
    if (!reduced || keepdims) y.push_back(reduced ? 1 : in.x()[i]);
  }
  return y;
}

// For what has no value of no elements.
inline void check_elements(const std::vector<int>& axes, const Inputs& in) {
  for (const int axis : axes)
    if (in.x()[axis] == 0) fail(in.name, ": axis ", axis, " of x has no elements, and there is no ", in.name, " of none: shape ", to_string(in.x()));
}

struct Reduce {
  ReduceKind kind = ReduceKind::mean;
  std::vector<int> axes;
  bool keepdims = false;

  static constexpr std::array kNames{"mean", "sum", "prod", "max", "min"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Reduce&) const = default;
  std::size_t which() const { return static_cast<std::size_t>(kind); }
  void set_which(std::size_t i) { kind = static_cast<ReduceKind>(i); }
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("axis", o.axes, kRequired);
    f("keepdims", o.keepdims);
  }

  void complete(const Inputs& in) { complete_axes(axes, in); }
  bool is_global_average() const { return kind == ReduceKind::mean && axes == std::vector<int>{2, 3}; }
  bool keeps_layout() const { return keepdims && is_global_average(); }
  bool is_identity(const Inputs&, const Shape&) const { return axes.empty(); }
  Shape infer(const Inputs& in) const {
    const Shape y = reduced_shape(axes, keepdims, in);
    const bool needs_elements = kind == ReduceKind::max || kind == ReduceKind::min;
    if (needs_elements && checked_size(y) > 0) check_elements(axes, in);
    return y;
  }
};

// The index of the first greatest or least element, NaN before all others, along one axis or, in C
// order, all of them.
struct ArgMax {
  enum class Kind : std::uint8_t { max, min } kind = Kind::max;
  std::vector<int> axes;
  bool keepdims = false;

  static constexpr std::array kNames{"argmax", "argmin"};
  static constexpr const char* kInputs = "x";
  bool operator==(const ArgMax&) const = default;
  std::size_t which() const { return static_cast<std::size_t>(kind); }
  void set_which(std::size_t i) { kind = static_cast<Kind>(i); }
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("axis", o.axes, kRequired);
    f("keepdims", o.keepdims);
  }

  void complete(const Inputs& in) { complete_axes(axes, in); }
  DType result(DType) const { return DType::i64; }
  Shape infer(const Inputs& in) const {
    const Shape y = reduced_shape(axes, keepdims, in);
    if (axes.size() != 1 && axes.size() != in.x().size())
      fail(in.name, ": axis must be one axis or all of them, got ", axes.size(), " for shape ", to_string(in.x()));
    check_elements(axes, in);
    return y;
  }
};

// (sum |x|^ord)^(1 / ord), with its limits for 0 (how many are not zero) and infinities, whatever
// the number of axes.
struct Norm {
  double ord = 2;
  std::vector<int> axes;
  bool keepdims = false;

  static constexpr std::array kNames{"norm"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Norm&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("ord", o.ord);
    f("axis", o.axes, kRequired);
    f("keepdims", o.keepdims);
  }

  void complete(const Inputs& in) { complete_axes(axes, in); }
  Shape infer(const Inputs& in) const {
    const Shape y = reduced_shape(axes, keepdims, in);
    if (axes.empty() && in.rank() > 0) fail(in.name, ": axis must name an axis");
    if (std::isnan(ord)) fail(in.name, ": ord must be a number, got nan");
    if (std::isinf(ord) && ord < 0 && checked_size(y) > 0) check_elements(axes, in);
    return y;
  }
};

// Sums of the elements up to each one.
struct CumSum {
  int axis = 0;
  bool exclusive = false, reverse = false;  // without the element itself; from the end

  static constexpr std::array kNames{"cumsum"};
  static constexpr const char* kInputs = "x";
  bool operator==(const CumSum&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("axis", o.axis, kRequired);
    f("exclusive", o.exclusive);
    f("reverse", o.reverse);
  }

  void complete(const Inputs& in) { axis = in.counted_from_end(axis); }
  Shape infer(const Inputs& in) const {
    in.axis(axis);
    return in.x();
  }
};

}  // namespace fastconv::op
