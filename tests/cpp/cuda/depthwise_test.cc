// Depthwise convolutions against plain loops in double.
#include <algorithm>

#include "arrays.h"
#include "cuda/conv.h"
#include "random.h"

using namespace fastconv;
using namespace fastconv::cuda;

namespace {

struct Case {
  index_t n, h, w, channels, kernel_h, kernel_w, stride_h, stride_w;
  index_t pad_top, pad_bottom, pad_left, pad_right;
  index_t dilation = 1, multiplier = 1;
  index_t more = 0;  // elements between pixels, of all arrays
};

ConvGeometry geometry(const Case& c) {
  ConvGeometry g;
  g.in_channels = g.groups = c.channels;
  g.out_channels = c.channels * c.multiplier;
  g.in_h = c.h;
  g.in_w = c.w;
  g.kernel_h = c.kernel_h;
  g.kernel_w = c.kernel_w;
  g.stride_h = c.stride_h;
  g.stride_w = c.stride_w;
  g.pad_top = c.pad_top;
  g.pad_bottom = c.pad_bottom;
  g.pad_left = c.pad_left;
  g.pad_right = c.pad_right;
  g.dilation_h = g.dilation_w = c.dilation;
  g.out_h = (c.h + c.pad_top + c.pad_bottom - c.dilation * (c.kernel_h - 1) - 1) / c.stride_h + 1;
  g.out_w = (c.w + c.pad_left + c.pad_right - c.dilation * (c.kernel_w - 1) - 1) / c.stride_w + 1;
  return g;
}

template <class T>
constexpr Precision precision_of() {
  if constexpr (std::is_same_v<T, __half>) return Precision::fp16;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) return Precision::bf16;
  return Precision::fp32;
}

std::vector<double> expected(const ConvGeometry& g, index_t n, index_t x_pixel, index_t y_pixel, const std::vector<float>& x,
                             const std::vector<float>& weight, const std::vector<float>& bias,
                             const std::vector<float>& residual) {
  std::vector<double> y(static_cast<std::size_t>(n * g.out_h * g.out_w * y_pixel), NAN);
  for_each_index({n, g.out_h, g.out_w, g.out_channels}, [&](const std::vector<index_t>& i) {
    double sum = bias[i[3]];
    for (index_t kh = 0; kh < g.kernel_h; ++kh)
      for (index_t kw = 0; kw < g.kernel_w; ++kw) {
        const index_t row = i[1] * g.stride_h + kh * g.dilation_h - g.pad_top;
        const index_t column = i[2] * g.stride_w + kw * g.dilation_w - g.pad_left;
        const bool inside = row >= 0 && row < g.in_h && column >= 0 && column < g.in_w;
        const double value = inside ? x[((i[0] * g.in_h + row) * g.in_w + column) * x_pixel + i[3] / g.group_out()] : 0;
        sum += value * weight[i[3] * g.taps() + kh * g.kernel_w + kw];
      }
    const index_t at = ((i[0] * g.out_h + i[1]) * g.out_w + i[2]) * y_pixel + i[3];
    if (!residual.empty()) sum += residual[at];
    y[at] = std::max(sum, 0.0);
  });
  return y;
}

// Small integers: nothing is rounded but the results, which a 16-bit type may not hold.
template <class T>
void check(const Case& c, bool with_residual, bool in_place) {
  const ConvGeometry g = geometry(c);
  Random random(static_cast<std::uint64_t>(c.h * 100 + c.channels));
  const index_t x_pixel = c.channels + c.more, y_pixel = g.out_channels + c.more;
  const auto x = random.integers<float>(c.n * c.h * c.w * x_pixel);
  const auto weight = random.integers<float>(g.out_channels * g.taps());
  const auto bias = random.integers<float>(g.out_channels);
  const auto residual = random.integers<float>(with_residual ? c.n * g.out_h * g.out_w * y_pixel : 0);
  const std::vector<double> doubled(static_cast<std::size_t>(g.out_channels), 2.0);
  std::vector<float> twice = weight;
  for (float& w : twice) w *= 2;

  const std::vector<std::byte> packed = pack_depthwise(g, precision_of<T>(), weight.data(), doubled.data());
  CHECK(packed.size() == weight.size() * sizeof(T));
  const Memory weights(packed.size(), 0, nullptr);
  copy_to_device(weights.as<>(), packed.data(), packed.size(), nullptr);
  const Array<T> from(x), added(residual), y(c.n * g.out_h * g.out_w * y_pixel);
  const Array<float> shift(bias);
  Epilogue<T> epilogue;
  epilogue.bias = shift.data();
  epilogue.activation = Activation::relu;
  T* const to = in_place ? added.data() : y.data();
  if (with_residual) epilogue.residual = images<const T>(added.data(), c.n, g.out_h, g.out_w, g.out_channels, y_pixel);
  depthwise_conv2d<T>(g, images<const T>(from.data(), c.n, c.h, c.w, c.channels, x_pixel), weights.template as<T>(), epilogue,
                      images(to, c.n, g.out_h, g.out_w, g.out_channels, y_pixel), nullptr);
  const auto result = in_place ? added.read() : y.read();
  const auto wanted = expected(g, c.n, x_pixel, y_pixel, x, twice, bias, residual);
  for (std::size_t i = 0; i < result.size(); ++i) {
    const bool between = static_cast<index_t>(i) % y_pixel >= g.out_channels;  // must not be written
    CHECK(close(result[i], between && in_place ? residual[i] : wanted[i], sizeof(T) == 4 ? 0 : kRounding<T>));
  }
}

void check_all(const Case& c) {
  for_each_type([&]<class T>() {
    check<T>(c, false, false);
    check<T>(c, true, false);
    check<T>(c, true, true);
  });
}

}  // namespace

TEST(depthwise_common_kernels) {
  for (const index_t k : {3, 5, 7})
    for (const index_t stride : {1, 2}) {
      const index_t pad = k / 2;
      check_all({2, 9, 11, 24, k, k, stride, stride, pad, pad, pad, pad});
      check_all({1, 17, 6, 6, k, k, stride, stride, pad, pad - 1, pad, 0});
      check_all({1, 8, 41, 8, k, k, stride, stride, 0, 1, k - 1, k});  // several tiles of columns
    }
}

TEST(depthwise_tiles_of_channels) {
  check_all({1, 7, 7, 200, 3, 3, 1, 1, 1, 1, 1, 1});
  check_all({1, 7, 7, 80, 7, 7, 1, 1, 3, 3, 3, 3});
  check_all({1, 8, 8, 72, 5, 5, 2, 2, 2, 2, 2, 2});
}

TEST(depthwise_many_rows_in_a_tile) { check_all({40, 20, 5, 4, 3, 3, 1, 1, 1, 1, 1, 1}); }

TEST(depthwise_odd_channels_and_slices) {
  check_all({2, 6, 7, 5, 3, 3, 1, 1, 1, 1, 1, 1});
  check_all({2, 6, 7, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 8});   // part of the channels
  check_all({2, 6, 7, 8, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 2});   // the same, in narrower copies
  check_all({1, 6, 7, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1});   // and unaligned
  check_all({1, 6, 7, 10, 7, 7, 1, 1, 3, 3, 3, 3});
}

TEST(depthwise_any_window) {
  check_all({1, 9, 8, 16, 3, 3, 1, 1, 2, 2, 2, 2, 2});        // dilated
  check_all({1, 9, 8, 8, 3, 5, 2, 1, 1, 1, 2, 2});
  check_all({1, 9, 8, 7, 4, 1, 3, 2, 1, 0, 0, 0});
  check_all({2, 6, 6, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 3});      // channel multiplier
  check_all({1, 9, 10, 8, 3, 3, 1, 1, -2, -1, -3, 0});        // cropping
  check_all({1, 9, 10, 8, 3, 3, 3, 3, -2, 1, -1, 2, 2});
  check_all({1, 2, 1, 4, 7, 7, 2, 2, 5, 6, 6, 7});            // padding larger than the image
}

TEST(depthwise_padding_takes_part) {
  for (const index_t dilation : {1, 2}) {  // both kernels
    const ConvGeometry g = geometry({1, 3, 3, 4, 3, 3, 1, 1, dilation, dilation, dilation, dilation, dilation});
    std::vector<float> weight(36, 0.f);
    weight[0] = INFINITY;  // of channel 0's top left tap: zero padding times it is NaN
    const auto packed = pack_depthwise(g, Precision::fp32, weight.data(), nullptr);
    const Memory weights(packed.size(), 0, nullptr);
    copy_to_device(weights.as<>(), packed.data(), packed.size(), nullptr);
    const Array<float> x(std::vector<float>(36, 1.f)), y(36);
    depthwise_conv2d<float>(g, nhwc_view<const float>(x.data(), 1, 3, 3, 4), weights.as<float>(), {},
                            nhwc_view(y.data(), 1, 3, 3, 4), nullptr);
    const auto result = y.read();
    CHECK(std::isnan(result[0]) && result[1] == 0 && result[32] == INFINITY);
  }
}

TEST(depthwise_of_nothing) {
  const ConvGeometry g = geometry({0, 3, 3, 4, 3, 3, 1, 1, 1, 1, 1, 1});
  depthwise_conv2d<float>(g, nhwc_view<const float>(nullptr, 0, 3, 3, 4), nullptr, {}, nhwc_view<float>(nullptr, 0, 3, 3, 4),
                          nullptr);
}
