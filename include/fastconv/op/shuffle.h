#pragma once

#include "fastconv/op/attributes.h"
#include "fastconv/op/inputs.h"

namespace fastconv {

namespace op {

struct ChannelShuffle {
  index_t groups = 1;

  static constexpr std::array kNames{"channel_shuffle"};
  static constexpr const char* kInputs = "x";
  bool operator==(const ChannelShuffle&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("groups", o.groups, kRequired);
  }

  bool is_identity(const Inputs&, const Shape&) const { return groups == 1; }
  Shape infer(const Inputs& in) const {
    if (groups < 1 || in.image()[1] % groups != 0)
      fail(in.name, ": groups = ", groups, " does not divide the ", in.x()[1], " channels of x");
    return in.x();
  }
};

// Which channel each pixel of an r x r block becomes, the last of these counted fastest: CRD
// (channel, row, column) or DCR (row, column, channel).
enum class ChannelOrder : std::uint8_t { crd, dcr };

struct PixelShuffle {
  index_t upscale = 1;
  ChannelOrder mode = ChannelOrder::crd;

  static constexpr std::array kNames{"pixel_shuffle"};
  static constexpr const char* kInputs = "x";
  bool operator==(const PixelShuffle&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("upscale_factor", o.upscale, kRequired);
    f("mode", o.mode);
  }

  bool is_identity(const Inputs&, const Shape&) const { return upscale == 1; }
  Shape infer(const Inputs& in) const {
    const Shape& x = in.image();
    const index_t r = upscale, c = x[1];
    if (r < 1 || r > kLargestArgument || c % r != 0 || c / r % r != 0)
      fail(in.name, ": upscale_factor must be positive and its square divide the ", c, " channels of x, got ", r);
    return {x[0], c / r / r, checked_size({x[2], r}), checked_size({x[3], r})};
  }
};

// The inverse of PixelShuffle.
struct PixelUnshuffle {
  index_t downscale = 1;
  ChannelOrder mode = ChannelOrder::crd;

  static constexpr std::array kNames{"pixel_unshuffle"};
  static constexpr const char* kInputs = "x";
  bool operator==(const PixelUnshuffle&) const = default;
  template <class Self, class F>
  static void fields(Self& o, F&& f) {
    f("downscale_factor", o.downscale, kRequired);
    f("mode", o.mode);
  }

  bool is_identity(const Inputs&, const Shape&) const { return downscale == 1; }
  Shape infer(const Inputs& in) const {
    const Shape& x = in.image();
    const index_t r = downscale;
    if (r < 1 || r > kLargestArgument || x[2] % r != 0 || x[3] % r != 0)
      fail(in.name, ": downscale_factor must be positive and divide the height and width of x, ", x[2], " and ", x[3], ", got ", r);
    return {x[0], checked_size({x[1], r, r}), x[2] / r, x[3] / r};
  }
};

}  // namespace op

template <>
struct Words<op::ChannelOrder> {
  static constexpr std::array names{"CRD", "DCR"};
};

}  // namespace fastconv
