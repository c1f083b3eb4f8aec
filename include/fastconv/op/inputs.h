// What an operator sees of its inputs while it checks them and says what its result's shape is.
#pragma once

#include <algorithm>
#include <vector>

#include "fastconv/error.h"
#include "fastconv/tensor.h"

namespace fastconv::op {

class Inputs {
 public:
  struct Value {
    const Shape* shape;  // null for an optional input that is absent
    bool is_constant;
  };

  Inputs(const char* name, std::vector<Value> values) : name(name), values_(std::move(values)) {}

  const char* const name;  // of the operator, for messages

  std::size_t size() const { return values_.size(); }
  bool has(std::size_t i) const { return i < values_.size() && values_[i].shape; }
  const Shape& x(std::size_t i = 0) const {
    if (!has(i)) fail(name, ": input ", i, " is missing");
    return *values_[i].shape;
  }
  // x as images (N, C, H, W); with channels; with pixels.
  const Shape& image() const {
    if (x().size() != 4) fail(name, ": x must have shape (N, C, H, W), got ", to_string(x()));
    return x();
  }
  const Shape& channels() const {
    if (image()[1] < 1) fail(name, ": x must have at least one channel, got shape ", to_string(x()));
    return x();
  }
  const Shape& pixels() const {
    if (channels()[2] < 1 || x()[3] < 1) fail(name, ": x has no pixels: shape ", to_string(x()));
    return x();
  }
  // The shape of an input that must be there.
  const Shape& required(std::size_t i, const char* what) const {
    if (!has(i)) fail(name, ": ", what, " is missing");
    return *values_[i].shape;
  }
  // The same for one that must be an array.
  const Shape& weights(std::size_t i, const char* what) const {
    required(i, what);
    if (!values_[i].is_constant) fail(name, ": ", what, " must be an array, not a symbolic value");
    return *values_[i].shape;
  }
  // Checks an optional vector of weights; or of values, too.
  void vector(std::size_t i, index_t size, const char* what) const {
    if (has(i)) weights(i, what);
    vector_of_values(i, size, what);
  }
  void vector_of_values(std::size_t i, index_t size, const char* what) const {
    if (!has(i)) return;
    const Shape& shape = x(i);
    if (shape != Shape{size}) fail(name, ": ", what, " must have shape ", to_string({size}), ", got ", to_string(shape));
  }
  void residual(std::size_t i, const Shape& y) const {
    if (has(i) && x(i) != y) fail(name, ": residual must have the output's shape ", to_string(y), ", got ", to_string(x(i)));
  }
  // Checks the slopes, which prelu alone has.
  void slopes(std::size_t i, index_t size, const Activation& activation) const {
    if (has(i) != (activation.kind == Activation::prelu)) fail(name, ": slopes go with the activation prelu, and it with slopes");
    vector(i, size, "slopes");
  }
  void axis(int at) const {
    if (at < 0 || at >= rank()) fail(name, ": axis ", at, " is out of range for shape ", to_string(x()));
  }
  int rank() const { return static_cast<int>(x().size()); }
  int counted_from_end(int axis) const { return axis < 0 ? axis + rank() : axis; }

 private:
  const std::vector<Value> values_;
};

// The shape that two arrays have together by NumPy's broadcasting.
inline Shape broadcast(const char* name, const Shape& a, const Shape& b) {
  Shape y(std::max(a.size(), b.size()));
  for (std::size_t i = 0; i < y.size(); ++i) {  // from the last axis
    const index_t m = i < a.size() ? a[a.size() - 1 - i] : 1, n = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (m != n && m != 1 && n != 1) fail(name, ": shapes ", to_string(a), " and ", to_string(b), " do not broadcast");
    y[y.size() - 1 - i] = m == 1 ? n : m;
  }
  return y;
}

}  // namespace fastconv::op
