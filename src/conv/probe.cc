#include "conv/probe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

#include "fastconv/thread_pool.h"
#include "kernels/gemm/gemm.h"

namespace fastconv {
namespace {

// By the central limit: the same with every library.
const std::vector<double>& gaussian_numbers() {
  static const std::vector<double> numbers = [] {
    std::minstd_rand random(1);
    std::vector<double> sums(8191, -6.0);  // a prime, so that no size of image repeats them in step
    for (double& sum : sums)
      for (int i = 0; i < 12; ++i) sum += double(random()) / double(std::minstd_rand::max());
    return sums;
  }();
  return numbers;
}

}  // namespace

// Three images: Gaussian; Gaussian with each input channel divided by the size of its weights, as
// where a norm follows every layer; and one value everywhere, where no rounding errors cancel.
// Looked at is the diagonal of the output; the mean of the convolution of absolute values stands
// for its maximum over a larger image. Where errors are random, a multiple of those that are seen
// stands for the largest of a larger image.
template <class T>
double probe_error(const ConvGeometry& given, index_t side, const T* weight,
                   const std::function<void(const ConvGeometry&, const TensorView<const T>&, const TensorView<T>&)>& run) {
  constexpr index_t kImages = 3;
  constexpr double kConstant = 1.1, kTail = 2.5;
  ConvGeometry g = given;
  const index_t channels = g.group_in(), taps = g.taps(), products = channels * taps;
  g.pad_top = g.pad_bottom = g.pad_left = g.pad_right = 0;
  g.stride_h = g.stride_w = 1;
  g.out_h = g.out_w = side;
  g.in_h = side + g.kernel_h - 1;
  g.in_w = side + g.kernel_w - 1;
  // Sums of the absolute weights of each input channel: of one output channel, of all.
  const auto add_sizes = [&](index_t oc, index_t first, index_t end, double* sums) {
    const T* w = weight + (oc * channels + first) * taps;
    const index_t count = end - first;
    if (taps == 1) {  // a loop that compilers vectorise
      for (index_t i = 0; i < count; ++i) sums[i] += double(std::abs(w[i]));
      return;
    }
    for (index_t i = 0; i < count; ++i) {
      T sum = 0;
      for (index_t tap = 0; tap < taps; ++tap) sum += std::abs(*w++);
      sums[i] += double(sum);
    }
  };
  std::vector<double> size(static_cast<std::size_t>(g.in_channels));
  constexpr index_t kChannels = 64;  // of a task
  const index_t chunks = ceil_div(channels, kChannels);
  parallel_for(g.groups * chunks, [&](index_t task) {
    const index_t group = task / chunks, first = task % chunks * kChannels, end = std::min(first + kChannels, channels);
    for (index_t oc = group * g.group_out(); oc < (group + 1) * g.group_out(); ++oc)
      add_sizes(oc, first, end, size.data() + group * channels + first);
  });
  const auto deviation = [&](index_t image, index_t c) { return image == 0 ? 1 : size[c] > 0 ? 1 / size[c] : 0; };
  std::vector<double> mean(static_cast<std::size_t>(kImages * g.in_channels));  // of absolute values
  for (index_t image = 0; image < kImages; ++image)
    for (index_t c = 0; c < g.in_channels; ++c)
      mean[image * g.in_channels + c] = image == 2 ? kConstant : std::sqrt(2 / std::numbers::pi) * deviation(image, c);
  std::vector<T> inputs(static_cast<std::size_t>(kImages * g.in_channels * g.in_h * g.in_w));
  std::vector<T> outputs(static_cast<std::size_t>(kImages * g.out_channels * g.out_h * g.out_w));
  const auto x = nchw_view(inputs.data(), kImages, g.in_channels, g.in_h, g.in_w);
  const auto y = nchw_view(outputs.data(), kImages, g.out_channels, g.out_h, g.out_w);
  const std::vector<double>& gaussian = gaussian_numbers();
  std::size_t next = 0;
  for (index_t image = 0; image < kImages; ++image)
    for (index_t c = 0; c < g.in_channels; ++c)
      for (index_t i = 0; i < g.in_h * g.in_w; ++i, ++next)
        x.channel(image, c)[i] = static_cast<T>(image == 2 ? kConstant : gaussian[next % gaussian.size()] * deviation(image, c));
  run(g, x, y);

  // What the diagonal sees of the images: [image][pixel][channel][tap].
  std::vector<double> windows(static_cast<std::size_t>(kImages * side * g.in_channels * taps));
  double* to = windows.data();
  for (index_t image = 0; image < kImages; ++image)
    for (index_t i = 0; i < side; ++i)
      for (index_t c = 0; c < g.in_channels; ++c)
        for (index_t tap = 0; tap < taps; ++tap) *to++ = x.channel(image, c)[(i + tap / g.kernel_w) * x.sh + i + tap % g.kernel_w];

  std::vector<double> worst(static_cast<std::size_t>(g.out_channels));
  parallel_for(g.out_channels, [&](index_t oc) {
    const index_t first = oc / g.group_out() * channels;
    std::vector<double> own_size(static_cast<std::size_t>(channels)), exact(static_cast<std::size_t>(kImages * side));
    add_sizes(oc, 0, channels, own_size.data());
    const std::vector<double> row(weight + oc * products, weight + (oc + 1) * products);
    double scales[kImages];
    gemm_kernels<double>().matrix_vector({mean.data() + first, g.in_channels, kImages, channels, own_size.data(), scales, 1});
    gemm_kernels<double>().matrix_vector(
        {windows.data() + first * taps, g.in_channels * taps, kImages * side, products, row.data(), exact.data(), 1});
    for (index_t image = 0; image < kImages; ++image) {
      const double scale = scales[image];
      double error = 0;
      for (index_t i = 0; i < side; ++i) {
        const double difference = std::abs(y.channel(image, oc)[i * y.sh + i] - exact[image * side + i]);
        error = difference <= error ? error : difference;  // or NaN
      }
      // Weights that would spoil other outputs, transforms that overflow, errors where all weights
      // are zero.
      if (!std::isfinite(scale) || !std::isfinite(error) || (scale == 0 && error > 0)) worst[oc] = std::numeric_limits<double>::infinity();
      else if (scale > 0) worst[oc] = std::max(worst[oc], (image == 2 ? 1 : kTail) * error / scale);
    }
  });
  return *std::max_element(worst.begin(), worst.end()) / (std::numeric_limits<T>::epsilon() / 2);
}
template double probe_error(const ConvGeometry&, index_t, const float*,
                            const std::function<void(const ConvGeometry&, const TensorView<const float>&, const TensorView<float>&)>&);
template double probe_error(const ConvGeometry&, index_t, const double*,
                            const std::function<void(const ConvGeometry&, const TensorView<const double>&, const TensorView<double>&)>&);

}  // namespace fastconv
