// A 1x1 convolution with the depthwise one after it as one: bits are those of one after the other,
// on data that rounds.
#include "conv/pointwise_depthwise.h"

#include <cmath>
#include <vector>

#include "fastconv/thread_pool.h"
#include "random.h"
#include "test.h"

using namespace fastconv;

namespace {

template <class T>
std::vector<T> noise(index_t count, Random& random) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& v : values) v = static_cast<T>(double(random.between(-1000000, 1000000)) / 800000);
  return values;
}

template <class T>
using Pair = std::pair<std::shared_ptr<const Conv2d<T>>, std::shared_ptr<const Conv2d<T>>>;

template <class T>
Pair<T> convolutions(const Shape& x, index_t channels, index_t kernel, index_t stride, const Padding& padding, Random& random) {
  constexpr Activation activations[] = {Activation::none, Activation::relu, Activation::relu6, Activation::silu, Activation::hardswish};
  const ConvGeometry g = conv_geometry(x, {channels, x[1], 1, 1}, {1, 1}, {}, {1, 1}, 1);
  const ConvGeometry h =
      conv_geometry({x[0], channels, x[2], x[3]}, {channels, 1, kernel, kernel}, {stride, stride}, padding, {1, 1}, channels);
  const auto conv = [&](const ConvGeometry& geometry) {
    const auto weight = noise<T>(geometry.out_channels * geometry.group_in() * geometry.taps(), random);
    const auto bias = noise<T>(geometry.out_channels, random);
    return std::make_shared<const Conv2d<T>>(plan_conv({geometry, dtype_of<T>, activations[random.below(5)]}), weight.data(), bias.data());
  };
  auto first = conv(g), second = conv(h);
  return {std::move(first), std::move(second)};
}

template <class T>
void check(const Shape& x_shape, index_t channels, index_t kernel, index_t stride, const Padding& padding, Random& random) {
  const index_t n = x_shape[0], h = x_shape[2], w = x_shape[3], lanes = channel_block(dtype_of<T>);
  const auto [first, second] = convolutions<T>(x_shape, channels, kernel, stride, padding, random);
  const ConvGeometry& g = second->geometry();
  const auto tensor = [&](index_t c, index_t rows, index_t columns) {
    return noise<T>(n * ceil_div(c, lanes) * lanes * rows * columns, random);
  };
  const auto view = [&](std::vector<T>& memory, index_t c, index_t rows, index_t columns) {
    return blocked_view(memory.data(), n, c, rows, columns, lanes);
  };
  std::vector<T> x = tensor(x_shape[1], h, w), between = tensor(channels, h, w), residual = tensor(channels, g.out_h, g.out_w);
  std::vector<T> expected = residual, actual = residual;
  const bool adds = random.coin();  // then to the output in place

  const TensorView<T> y = view(between, channels, h, w), to = view(expected, channels, g.out_h, g.out_w);
  first->run(view(x, x_shape[1], h, w), nullptr, y);
  const TensorView<const T> r = view(expected, channels, g.out_h, g.out_w);
  second->run(y, adds ? &r : nullptr, to);

  const auto joined = PointwiseDepthwise<T>::make(first, second);
  CHECK(bool(joined) == (x_shape[1] >= lanes && depthwise_skips_outside(kernel, stride, 1)));
  if (!joined) return;
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    actual = residual;
    const TensorView<const T> s = view(actual, channels, g.out_h, g.out_w);
    joined->run(view(x, x_shape[1], h, w), adds ? &s : nullptr, view(actual, channels, g.out_h, g.out_w));
    for (index_t i = 0; i < n; ++i)
      for (index_t c = 0; c < channels; ++c)
        for (index_t p = 0; p < g.out_h * g.out_w; ++p) {
          const index_t at = ((i * ceil_div(channels, lanes) + c / lanes) * g.out_h * g.out_w + p) * lanes + c % lanes;
          CHECK(std::isfinite(expected[at]) && actual[at] == expected[at]);
        }
  }
}

}  // namespace

TEST(pointwise_and_depthwise_as_one) {
  Random random(1);
  const int former = num_threads();
  constexpr index_t kernels[] = {3, 3, 5, 7, 4};
  for (int repeat = 0; repeat < 60; ++repeat) {
    const index_t kernel = kernels[random.below(5)], stride = random.between(1, 2);
    const Shape x{random.coin() ? 1 : 3, random.between(1, 5) * 8, random.between(7, 40), random.between(7, 40)};
    // At times so much that whole bands lie outside of the image.
    const index_t pad = kernel / 2, top = random.below(8) ? pad : 40;
    const Padding padding{Padding::Mode::explicit_sizes, top, pad, pad, random.below(4)};
    check<float>(x, random.between(2, 70), kernel, stride, padding, random);
    check<double>(x, random.between(2, 70), kernel, stride, padding, random);
  }
  // Too large for one band.
  const Padding same{Padding::Mode::explicit_sizes, 2, 2, 2, 2};
  check<float>({1, 16, 130, 200}, 20, 5, 1, same, random);
  check<double>({1, 16, 130, 200}, 20, 5, 2, same, random);
  set_num_threads(former);
}
