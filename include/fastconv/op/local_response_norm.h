#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv::op {

struct LocalResponseNorm {
  index_t size = 5;
  double alpha = 1e-4, beta = 0.75, k = 1;

  static constexpr std::array kNames{"local_response_norm"};
  static constexpr const char* kInputs = "x";
  bool operator==(const LocalResponseNorm&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("size", o.size, kRequired);
    f("alpha", o.alpha);
    f("beta", o.beta);
    f("k", o.k);
  }

  bool keeps_layout() const { return true; }
  Shape infer(const Inputs& in) const {
    if (size < 1) fail(in.name, ": size must be at least 1, got ", size);
    return in.image();
  }
};

}  // namespace fastconv::op
