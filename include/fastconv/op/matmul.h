#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

// The shape of a product as NumPy's matmul has it: matrices in the last two axes, batches that
// broadcast before them; a vector is a row on the left and a column on the right, whose axis the
// result does not have.
inline Shape matmul_shape(const Shape& a, const Shape& b) {
  const auto check = [](const Shape& shape, const char* name) {
    if (shape.empty()) fail("matmul: ", name, " must have at least one dimension: for a number use multiply");
  };
  check(a, "a");
  check(b, "b");
  const bool row = a.size() == 1, column = b.size() == 1;
  const index_t rows = column ? b[0] : b[b.size() - 2];
  if (a.back() != rows)
    fail("matmul: a of shape ", to_string(a), " has ", a.back(), " columns, but b of shape ", to_string(b), " has ", rows,
         " rows: they must be as many");
  const auto batch = [](const Shape& s) { return Shape(s.begin(), s.end() - static_cast<index_t>(std::min<std::size_t>(s.size(), 2))); };
  Shape y = broadcast("matmul", batch(a), batch(b));
  if (!row) y.push_back(a[a.size() - 2]);
  if (!column) y.push_back(b.back());
  return y;
}

struct Matmul {
  static constexpr std::array kNames{"matmul"};
  static constexpr const char* kInputs = "a, b";
  bool operator==(const Matmul&) const = default;
  template <class Self, class F>
  static void fields(Self&, F&&) {}

  Shape infer(const Inputs& in) const { return matmul_shape(in.x(0), in.x(1)); }
};

}  // namespace fastconv::op
