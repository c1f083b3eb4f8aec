#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"
#include "fastconv/ops.h"

namespace fastconv::op {

struct Pool {
  enum class Kind : std::uint8_t { max, average } kind = Kind::max;
  Pair kernel{1, 1}, stride{1, 1}, padding{}, dilation{1, 1};
  bool ceil_mode = false, count_include_pad = true;

  static constexpr std::array kNames{"max_pool2d", "avg_pool2d"};
  static constexpr const char* kInputs = "x";
  bool operator==(const Pool&) const = default;
  std::size_t which() const { return static_cast<std::size_t>(kind); }
  void set_which(std::size_t i) { kind = static_cast<Kind>(i); }
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("kernel_size", o.kernel, kRequired);
    f("stride", o.stride, kRequired);
    f("padding", o.padding);
    f("dilation", o.dilation);
    f("ceil_mode", o.ceil_mode);
    f("count_include_pad", o.count_include_pad);
  }

  bool keeps_layout() const { return true; }
  Shape infer(const Inputs& in) const {
    const Shape& x = in.channels();
    const auto [h, w] = pool_output_size({x[2], x[3]}, kernel, stride, padding, dilation, ceil_mode);
    return {x[0], x[1], h, w};
  }
};

struct AdaptivePool {
  Pool::Kind kind = Pool::Kind::average;
  Pair size{1, 1};

  static constexpr std::array kNames{"adaptive_max_pool2d", "adaptive_avg_pool2d"};
  static constexpr const char* kInputs = "x";
  bool operator==(const AdaptivePool&) const = default;
  std::size_t which() const { return static_cast<std::size_t>(kind); }
  void set_which(std::size_t i) { kind = static_cast<Pool::Kind>(i); }
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("output_size", o.size, kRequired);
  }

  bool keeps_layout() const { return true; }
  Shape infer(const Inputs& in) const {
    if (size[0] < 0 || size[1] < 0) fail(in.name, ": output_size must not be negative, got (", size[0], ", ", size[1], ")");
    const Shape& x = in.pixels();
    return {x[0], x[1], size[0], size[1]};
  }
};

}  // namespace fastconv::op
