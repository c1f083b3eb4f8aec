#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct Softmax {
  int axis = -1;
  bool log = false;

  static constexpr std::array kNames{"softmax", "log_softmax"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Softmax&) const = default;
  std::size_t which() const { return log ? 1 : 0; }
  void set_which(std::size_t i) { log = i == 1; }
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("axis", o.axis);
  }

  void complete(const Inputs& in) { axis = in.counted_from_end(axis); }
  Shape infer(const Inputs& in) const {
    in.axis(axis);
    return in.x();
  }
};

}  // namespace fastconv::op
