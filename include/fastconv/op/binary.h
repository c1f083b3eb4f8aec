#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

// With NumPy's broadcasting.
struct Binary {
  BinaryKind kind = BinaryKind::add;

  static constexpr std::array kNames{"add", "multiply"};
  static constexpr const char* kInputs = "a, b";
  bool operator==(const Binary&) const = default;
  std::size_t which() const { return static_cast<std::size_t>(kind); }
  void set_which(std::size_t i) { kind = static_cast<BinaryKind>(i); }
  template <class Self, class F>
  static void fields(Self&, F&&) {}

  Shape infer(const Inputs& in) const {
    const Shape &a = in.x(0), &b = in.x(1);
    Shape y(std::max(a.size(), b.size()));
    for (std::size_t i = 0; i < y.size(); ++i) {  // from the last axis
      const index_t m = i < a.size() ? a[a.size() - 1 - i] : 1, n = i < b.size() ? b[b.size() - 1 - i] : 1;
      if (m != n && m != 1 && n != 1) fail(in.name, ": shapes ", to_string(a), " and ", to_string(b), " do not broadcast");
      y[y.size() - 1 - i] = m == 1 ? n : m;
    }
    return y;
  }
};

}  // namespace fastconv::op
