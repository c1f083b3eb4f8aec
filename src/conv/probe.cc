#include "conv/probe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <random>
#include <vector>

#include "fastconv/thread_pool.h"

namespace fastconv {
namespace {

template <class T>
double dot(const T* x, const double* y, index_t count) {
  constexpr index_t kSums = 8;  // side by side
  double sums[kSums] = {};
  index_t k = 0;
  for (; k + kSums <= count; k += kSums)
    for (index_t i = 0; i < kSums; ++i) sums[i] += double(x[k + i]) * y[k + i];
  for (; k < count; ++k) sums[0] += double(x[k]) * y[k];
  return std::accumulate(sums, sums + kSums, 0.0);
}

}  // namespace

// Three images: Gaussian; Gaussian with each input channel divided by the size of its weights, as where a norm follows every
// layer; and one value everywhere, where no rounding errors cancel. Looked at is the diagonal of the output; the mean of the
// convolution of absolute values stands for its maximum over a larger image, and of random errors a multiple for their
// largest.
template <class T>
double probe_error(const ConvGeometry& given, index_t side, const T* weight,
                   const std::function<void(const ConvGeometry&, const TensorView<const T>&, const TensorView<T>&)>& run) {
  constexpr index_t kImages = 3;
  constexpr index_t kGrain = 1024;
  constexpr double kConstant = 1.1, kTail = 2.5;
  ConvGeometry g = given;
  const index_t channels = g.group_in(), taps = g.taps(), products = channels * taps;
  g.pad_top = g.pad_bottom = g.pad_left = g.pad_right = 0;
  g.stride_h = g.stride_w = 1;
  g.out_h = g.out_w = side;
  g.in_h = side + g.kernel_h - 1;
  g.in_w = side + g.kernel_w - 1;
  // Sums of the absolute weights: of each pair of channels, of each input channel.
  std::vector<double> pair_size(static_cast<std::size_t>(g.out_channels * channels)), size(static_cast<std::size_t>(g.in_channels));
  parallel_for(
      g.out_channels * channels,
      [&](index_t pair) {
        for (index_t tap = 0; tap < taps; ++tap) pair_size[pair] += std::abs(double(weight[pair * taps + tap]));
      },
      kGrain);
  for (index_t oc = 0; oc < g.out_channels; ++oc)
    for (index_t c = 0; c < channels; ++c) size[oc / g.group_out() * channels + c] += pair_size[oc * channels + c];
  const auto deviation = [&](index_t image, index_t c) { return image == 0 ? 1 : size[c] > 0 ? 1 / size[c] : 0; };
  std::vector<double> mean(static_cast<std::size_t>(kImages * g.in_channels));  // of absolute values
  for (index_t image = 0; image < kImages; ++image)
    for (index_t c = 0; c < g.in_channels; ++c)
      mean[image * g.in_channels + c] = image == 2 ? kConstant : std::sqrt(2 / std::numbers::pi) * deviation(image, c);
  std::vector<T> inputs(static_cast<std::size_t>(kImages * g.in_channels * g.in_h * g.in_w));
  std::vector<T> outputs(static_cast<std::size_t>(kImages * g.out_channels * g.out_h * g.out_w));
  const auto x = nchw_view(inputs.data(), kImages, g.in_channels, g.in_h, g.in_w);
  const auto y = nchw_view(outputs.data(), kImages, g.out_channels, g.out_h, g.out_w);
  std::minstd_rand random(1);
  const auto gaussian = [&] {  // by the central limit: the same numbers with every library
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += double(random()) / double(std::minstd_rand::max());
    return sum;
  };
  for (index_t image = 0; image < kImages; ++image)
    for (index_t c = 0; c < g.in_channels; ++c)
      for (index_t i = 0; i < g.in_h * g.in_w; ++i)
        x.channel(image, c)[i] = static_cast<T>(image == 2 ? kConstant : gaussian() * deviation(image, c));
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
    for (index_t image = 0; image < kImages; ++image) {
      const double* means = mean.data() + image * g.in_channels + first;
      const double scale = std::inner_product(means, means + channels, pair_size.data() + oc * channels, 0.0);
      double error = 0;
      for (index_t i = 0; i < side; ++i) {
        const double* window = windows.data() + ((image * side + i) * g.in_channels + first) * taps;
        const double exact = dot(weight + oc * products, window, products);
        error = std::max(error, std::abs(y.channel(image, oc)[i * y.sh + i] - exact));
      }
      if (scale > 0) worst[oc] = std::max(worst[oc], (image == 2 ? 1 : kTail) * error / scale);
    }
  });
  return *std::max_element(worst.begin(), worst.end()) / (std::numeric_limits<T>::epsilon() / 2);
}
template double probe_error(const ConvGeometry&, index_t, const float*,
                            const std::function<void(const ConvGeometry&, const TensorView<const float>&, const TensorView<float>&)>&);
template double probe_error(const ConvGeometry&, index_t, const double*,
                            const std::function<void(const ConvGeometry&, const TensorView<const double>&, const TensorView<double>&)>&);

}  // namespace fastconv
