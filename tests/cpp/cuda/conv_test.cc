// Convolutions on the device against their definition, in double: on small integers, whose sums
// every precision holds, they are equal but for the rounding of the output; on fractions within the
// bounds of docs/accuracy.md.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "cuda/conv.h"
#include "cuda/conv_gemm.h"
#include "cuda/float_bits.h"
#include "random.h"
#include "test.h"

using namespace fastconv;
using namespace fastconv::cuda;

namespace {

constexpr int kDevice = 0;

template <class T>
T to_storage(float x) {
  if constexpr (sizeof(T) > 2) {
    return x;
  } else {
    const std::uint16_t bits = std::is_same_v<T, __half> ? to_fp16_bits(x) : to_bf16_bits(x);
    T y;
    std::memcpy(&y, &bits, sizeof y);
    return y;
  }
}
template <class T>
double value(T x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    std::uint16_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    if constexpr (std::is_same_v<T, __nv_bfloat16>) return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double size = exponent == 31 ? (fraction ? std::nan("") : INFINITY)
                                       : exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24);
    return bits & 0x8000 ? -size : size;
  }
}

// Images in host memory, perhaps some channels (from `before` on) of wider ones.
template <class T>
struct Images {
  std::vector<T> memory;
  Nhwc<T> view;  // of `memory`
  index_t before;

  Images(index_t n, index_t h, index_t w, index_t c, index_t before_, index_t after)
      : memory(static_cast<std::size_t>(n * h * w * (before_ + c + after)), to_storage<T>(NAN)), before(before_) {
    view = nhwc_view<T>(memory.data(), n, h, w, before + c + after);
    view.data += before;
    view.c = static_cast<int>(c);
  }
  T& at(index_t n, index_t h, index_t w, index_t c) { return view.data[n * view.sn + h * view.sh + w * view.sw + c]; }
  template <class F>
  void each(const F& f) {
    for (index_t n = 0; n < view.n; ++n)
      for (index_t h = 0; h < view.h; ++h)
        for (index_t w = 0; w < view.w; ++w)
          for (index_t c = 0; c < view.c; ++c) f(n, h, w, c);
  }
};

template <class T>
struct OnDevice {
  Memory memory;
  Nhwc<T> view;
};
template <class T>
OnDevice<T> upload(const Images<T>& images) {
  OnDevice<T> device{Memory(images.memory.size() * sizeof(T), kDevice, nullptr), images.view};
  copy_to_device(device.memory.template as<T>(), images.memory.data(), images.memory.size() * sizeof(T), nullptr);
  device.view.data = device.memory.template as<T>() + images.before;
  return device;
}
template <class T>
Memory upload(const std::vector<T>& values) {
  Memory memory(values.size() * sizeof(T), kDevice, nullptr);
  copy_to_device(memory.as<T>(), values.data(), values.size() * sizeof(T), nullptr);
  return memory;
}

struct Case {
  ConvGeometry geometry;
  index_t n = 1;
  Precision precision = Precision::fp32;
  bool bias = false, residual = false, aliased = false, fractions = false;
  Activation activation = Activation::none;
  index_t before = 0, after = 0;  // channels beside x's, y's and the residual's
  int tile = -1, split_k = 0;     // instead of the plan's
  bool ffma = false;              // no 3xTF32
  std::optional<ConvAlgorithm> algorithm;
  Limits limits;
};

float small(Random& random, bool fraction) {
  return fraction ? static_cast<float>(random.between(-(1 << 20), 1 << 20)) / (1 << 20) : static_cast<float>(random.between(-2, 2));
}

const Activation kHalved{Activation::leaky_relu, 0.5}, kClipped{Activation::clip, -1.5, 4};

double activated(const Activation& activation, double x) {
  switch (activation.kind) {
    case Activation::relu: return std::max(x, 0.0);
    case Activation::relu6: return std::clamp(x, 0.0, 6.0);
    case Activation::leaky_relu: return x < 0 ? x * activation.a : x;
    case Activation::clip: return std::clamp(x, activation.a, activation.b);
    default: return x;
  }
}

// The error of one output over the sum of the absolute products, and of the output itself
// (docs/accuracy.md).
struct Bound {
  double sum, output;
};
Bound bound(const Case& test) {
  const double k = static_cast<double>(test.geometry.group_in() * test.geometry.taps());
  switch (test.precision) {
    case Precision::fp32: return {2e-6, 0};
    case Precision::tf32: return {0x1p-10 + (k / 8 + 4) * 0x1p-23, 0};
    case Precision::fp16: return {0x1p-11 + (k / 16 + 4) * 0x1p-23, 0x1p-11};  // x is in fp16 already
    case Precision::bf16: return {0x1p-8 + (k / 16 + 4) * 0x1p-23, 0x1p-8};
  }
  return {};
}

// y by definition, before the activation; `absolute` is the same of absolute values.
template <class T>
void definition(const ConvGeometry& g, Images<T>& x, const std::vector<float>& weight, index_t n, index_t h, index_t w, index_t o, double& sum,
                double& absolute) {
  sum = absolute = 0;
  for (index_t c = 0; c < g.group_in(); ++c)
    for (index_t ky = 0; ky < g.kernel_h; ++ky)
      for (index_t kx = 0; kx < g.kernel_w; ++kx) {
        const index_t iy = h * g.stride_h + ky * g.dilation_h - g.pad_top, ix = w * g.stride_w + kx * g.dilation_w - g.pad_left;
        if (iy < 0 || iy >= g.in_h || ix < 0 || ix >= g.in_w) continue;
        const double product = value(x.at(n, iy, ix, o / g.group_out() * g.group_in() + c)) *
                               weight[static_cast<std::size_t>(((o * g.group_in() + c) * g.kernel_h + ky) * g.kernel_w + kx)];
        sum += product;
        absolute += std::abs(product);
      }
}

template <class T>
void check(const Case& test, Random& random) {
  const ConvGeometry& g = test.geometry;
  cuda::ConvPlan plan = plan_conv(g, test.n, test.precision, test.limits, test.algorithm);
  if (test.ffma) plan.split_tf32 = false;
  if (test.tile >= 0) plan.tile = test.tile;
  if (test.split_k) {
    plan.split_k = test.split_k;
    plan.workspace_bytes = std::size_t(test.split_k) * test.n * g.out_h * g.out_w * g.out_channels * 4;
  }
  Images<T> x(test.n, g.in_h, g.in_w, g.in_channels, test.before, test.after);
  Images<T> y(test.n, g.out_h, g.out_w, g.out_channels, test.before, test.after), residual = y;
  residual.view.data = residual.memory.data() + residual.before;
  x.each([&](auto... at) { x.at(at...) = to_storage<T>(small(random, test.fractions)); });
  residual.each([&](auto... at) { residual.at(at...) = to_storage<T>(small(random, test.fractions)); });
  std::vector<float> weight(static_cast<std::size_t>(g.out_channels * g.group_in() * g.taps())), bias(static_cast<std::size_t>(g.out_channels));
  for (float& w : weight) w = small(random, test.fractions);
  for (float& b : bias) b = small(random, test.fractions);

  const OnDevice<T> device_x = upload(x), device_residual = upload(residual), device_y = upload(y);
  const OnDevice<T>& out = test.residual && test.aliased ? device_residual : device_y;
  const Memory packed = upload(pack_weights(plan, weight.data(), nullptr)), device_bias = upload(bias);
  const Memory workspace = upload(std::vector<unsigned char>(plan.workspace_bytes, 0xff));
  Epilogue<T> epilogue;
  if (test.bias) epilogue.bias = device_bias.as<float>();
  if (test.residual) epilogue.residual = device_residual.view;
  epilogue.activation = test.activation;
  run_conv<T>(plan, device_x.view, packed.as(), epilogue, out.view, workspace.as(), nullptr);
  copy_to_host(y.memory.data(), out.memory.template as<T>(), y.memory.size() * sizeof(T), nullptr);

  std::vector<double> largest(static_cast<std::size_t>(g.out_channels), 0.0);
  Images<double> expected(test.n, g.out_h, g.out_w, g.out_channels, 0, 0), error = expected;
  expected.view.data = expected.memory.data();
  error.view.data = error.memory.data();
  expected.each([&](index_t n, index_t h, index_t w, index_t c) {
    double sum, absolute;
    definition(g, x, weight, n, h, w, c, sum, absolute);
    const double b = test.bias ? bias[static_cast<std::size_t>(c)] : 0, r = test.residual ? value(residual.at(n, h, w, c)) : 0;
    absolute += std::abs(b) + std::abs(r);
    expected.at(n, h, w, c) = activated(test.activation, sum + b + r);
    error.at(n, h, w, c) = std::abs(value(y.at(n, h, w, c)) - expected.at(n, h, w, c));
    largest[static_cast<std::size_t>(c)] = std::max(largest[static_cast<std::size_t>(c)], absolute);
  });
  const Bound limit = bound(test);
  expected.each([&](index_t n, index_t h, index_t w, index_t c) {
    const double e = expected.at(n, h, w, c);
    if (test.fractions || plan.algorithm == ConvAlgorithm::winograd4)
      CHECK(error.at(n, h, w, c) <= limit.sum * largest[static_cast<std::size_t>(c)] + limit.output * std::abs(e));
    else
      CHECK(value(y.at(n, h, w, c)) == value(to_storage<T>(static_cast<float>(e))));
    y.at(n, h, w, c) = to_storage<T>(NAN);
  });
  for (const T element : y.memory) CHECK(std::isnan(value(element)));  // nothing beside y was written
}

void check_any(const Case& test, Random& random) {
  if (test.precision == Precision::fp16)
    check<__half>(test, random);
  else if (test.precision == Precision::bf16)
    check<__nv_bfloat16>(test, random);
  else
    check<float>(test, random);
}

struct Pads {
  index_t top = 0, bottom = 0, left = 0, right = 0;
};
ConvGeometry geometry(index_t in, index_t out, index_t h, index_t w, index_t kh, index_t kw, index_t stride = 1, Pads pads = {},
                      index_t dilation = 1, index_t groups = 1) {
  return conv_geometry({1, in, h, w}, {out, in / groups, kh, kw}, {stride, stride},
                       {Padding::Mode::explicit_sizes, pads.top, pads.bottom, pads.left, pads.right}, {dilation, dilation}, groups);
}
// Padding may be negative here.
ConvGeometry cropped(index_t in, index_t out, index_t size, index_t kernel, Pads pads) {
  ConvGeometry g;
  g.in_channels = in;
  g.out_channels = out;
  g.in_h = g.in_w = size;
  g.kernel_h = g.kernel_w = kernel;
  g.pad_top = pads.top;
  g.pad_bottom = pads.bottom;
  g.pad_left = pads.left;
  g.pad_right = pads.right;
  g.out_h = size + pads.top + pads.bottom - kernel + 1;
  g.out_w = size + pads.left + pads.right - kernel + 1;
  return g;
}

constexpr Precision kPrecisions[] = {Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16};

std::vector<ConvGeometry> odd_shapes() {
  return {geometry(1, 1, 5, 4, 1, 1),
          geometry(3, 16, 13, 11, 7, 7, 2, {3, 3, 3, 3}),
          geometry(3, 17, 7, 9, 5, 1, 3, {2, 1, 0, 1}),
          geometry(5, 33, 6, 7, 3, 3, 1, {1, 1, 1, 1}),
          geometry(16, 64, 9, 8, 3, 3, 2, {1, 0, 0, 1}),
          geometry(17, 5, 9, 6, 1, 7, 1, {0, 0, 3, 3}),
          geometry(33, 48, 5, 5, 1, 1, 2),
          geometry(64, 65, 6, 5, 1, 1),
          geometry(64, 32, 7, 7, 3, 3, 1, {2, 2, 2, 2}, 2),
          geometry(24, 36, 5, 6, 3, 3, 1, {1, 1, 1, 1}, 1, 3),
          geometry(32, 32, 5, 6, 3, 3, 1, {1, 1, 1, 1}, 1, 8),
          geometry(14, 21, 5, 6, 3, 3, 2, {1, 1, 1, 1}, 1, 7),
          geometry(128, 80, 6, 6, 1, 1, 1, {}, 1, 2),
          cropped(8, 40, 9, 3, {-2, -1, -3, 1}),
          cropped(16, 12, 8, 2, {3, -1, -1, 3})};
}

}  // namespace

TEST(conv_odd_shapes) {
  Random random(10);
  for (const Precision precision : kPrecisions)
    for (const ConvGeometry& g : odd_shapes()) {
      Case test;
      test.geometry = g;
      test.precision = precision;
      test.algorithm = ConvAlgorithm::implicit_gemm;
      test.n = random.between(1, 3);
      test.bias = random.coin();
      test.residual = random.coin();
      test.aliased = random.coin();
      const Activation activations[] = {Activation::none, Activation::relu, Activation::relu6, kHalved, kClipped};
      test.activation = activations[random.below(5)];
      if (random.coin()) test.before = random.coin() ? 8 : 3, test.after = random.coin() ? 8 : 5;
      check_any(test, random);
      if (precision != Precision::fp32) continue;
      test.ffma = true;
      check_any(test, random);
    }
}

TEST(conv_tiles_and_parts) {
  Random random(11);
  for (const Precision precision : kPrecisions)
    for (const bool ffma : {false, true})
      for (int tile = 0; tile < kTiles; ++tile)
        for (const int parts : {1, 3}) {
          if (ffma && precision != Precision::fp32) continue;
          Case test;
          test.geometry = geometry(24, parts == 1 ? 136 : 72, 9, 15, 3, 3, 1, {1, 1, 1, 1});
          test.precision = precision;
          test.bias = test.residual = true;
          test.activation = Activation::relu;
          test.algorithm = ConvAlgorithm::implicit_gemm;
          test.tile = tile;
          test.split_k = parts;
          test.ffma = ffma;
          check_any(test, random);
        }
}

TEST(conv_split_k_odd) {
  Random random(12);
  for (const Precision precision : kPrecisions)
    for (const ConvGeometry& g : {geometry(33, 19, 5, 5, 3, 3, 1, {1, 1, 1, 1}), geometry(256, 64, 3, 3, 1, 1),
                                  geometry(96, 24, 4, 4, 3, 3, 1, {1, 1, 1, 1}, 1, 2)}) {
      Case test;
      test.geometry = g;
      test.precision = precision;
      test.n = 2;
      test.bias = test.residual = test.aliased = true;
      test.activation = kHalved;
      test.before = 4;
      test.after = 4;
      test.algorithm = ConvAlgorithm::implicit_gemm;
      test.split_k = 2;
      check_any(test, random);
    }
}

TEST(conv_fractions) {
  Random random(13);
  for (const Precision precision : kPrecisions)
    for (const ConvGeometry& g :
         {geometry(64, 40, 6, 6, 3, 3, 1, {1, 1, 1, 1}), geometry(9, 33, 6, 6, 5, 5, 2, {2, 2, 2, 2}), geometry(512, 64, 4, 4, 1, 1)}) {
      Case test;
      test.geometry = g;
      test.precision = precision;
      test.bias = test.residual = test.fractions = true;
      test.algorithm = ConvAlgorithm::implicit_gemm;
      check_any(test, random);
      test.ffma = test.precision == Precision::fp32;
      if (test.ffma) check_any(test, random);
    }
}

TEST(conv_wgmma) {
  const Limits& limits = device_limits(kDevice);
  if (!limits.wgmma) return;  // the emulation has it
  Random random(17);
  Case test;
  test.limits = limits;
  test.algorithm = ConvAlgorithm::wgmma;
  const Activation activations[] = {Activation::none, Activation::relu, Activation::relu6, kHalved, kClipped};
  const auto asymmetric = conv_geometry({1, 24, 9, 21}, {40, 24, 2, 5}, {3, 2}, {Padding::Mode::explicit_sizes, 1, 0, 4, 2}, {1, 3}, 1);
  for (const Precision precision : {Precision::tf32, Precision::fp16, Precision::bf16})
    for (const ConvGeometry& g : {geometry(8, 1, 1, 1, 1, 1),
                                  geometry(64, 64, 7, 9, 1, 1),
                                  geometry(64, 72, 9, 8, 3, 3, 1, {1, 1, 1, 1}),
                                  geometry(72, 130, 5, 6, 3, 3, 1, {1, 1, 1, 1}),
                                  geometry(136, 33, 6, 7, 1, 1, 2),
                                  geometry(8, 16, 9, 11, 5, 5, 2, {2, 2, 2, 2}),
                                  geometry(32, 20, 7, 9, 5, 1, 3, {2, 1, 0, 1}),
                                  geometry(40, 24, 9, 6, 1, 7, 1, {0, 0, 3, 3}),
                                  geometry(64, 32, 17, 7, 3, 3, 1, {2, 2, 2, 2}, 2),
                                  geometry(16, 8, 5, 5, 2, 2, 8, {7, 6, 5, 9}),
                                  asymmetric,
                                  cropped(8, 40, 9, 3, {-2, -1, -3, 1}),
                                  cropped(16, 12, 8, 2, {3, -1, -1, 3})}) {
      test.geometry = g;
      test.precision = precision;
      test.n = random.between(1, 5);
      test.bias = random.coin();
      test.residual = random.coin();
      test.aliased = random.coin();
      test.activation = activations[random.below(5)];
      test.before = random.coin() ? 8 : 0;
      test.after = random.coin() ? 16 : 0;
      for (test.tile = 0; test.tile < static_cast<int>(std::size(kWgmmaTiles)); ++test.tile) check_any(test, random);
    }
  test.residual = test.fractions = true;
  test.tile = -1;
  for (const Precision precision : {Precision::tf32, Precision::fp16, Precision::bf16})
    for (const ConvGeometry& g : {geometry(64, 40, 6, 6, 3, 3, 1, {1, 1, 1, 1}), geometry(512, 64, 4, 4, 1, 1)}) {
      test.geometry = g;
      test.precision = precision;
      check_any(test, random);
    }
  // What tensor maps cannot read goes to the other kernel.
  test.before = 3;
  test.after = 2;
  check_any(test, random);
}

TEST(conv_winograd) {
  Random random(14);
  for (const ConvGeometry& g : {geometry(16, 64, 9, 10, 3, 3, 1, {1, 1, 1, 1}), geometry(5, 7, 8, 7, 3, 3, 1, {2, 0, 1, 2}),
                                geometry(64, 33, 4, 4, 3, 3, 1, {1, 1, 1, 1}), geometry(3, 8, 3, 3, 3, 3), cropped(8, 12, 12, 3, {-2, 1, 1, -3})})
    for (const bool extras : {false, true}) {
      Case test;
      test.geometry = g;
      test.n = extras ? 2 : 1;
      test.fractions = extras;
      test.bias = test.residual = test.aliased = extras;
      test.activation = extras ? kHalved : Activation::none;
      test.before = extras ? 3 : 0;
      test.after = extras ? 2 : 0;
      test.algorithm = ConvAlgorithm::winograd4;
      check_any(test, random);
    }
}

TEST(conv_depthwise) {
  Random random(15);
  for (const Precision precision : kPrecisions)
    for (const ConvGeometry& g : {geometry(24, 24, 7, 6, 3, 3, 2, {1, 1, 1, 1}, 1, 24), geometry(5, 10, 7, 6, 3, 3, 1, {1, 1, 1, 1}, 1, 5)}) {
      Case test;
      test.geometry = g;
      test.precision = precision;
      test.bias = test.residual = true;
      check_any(test, random);
    }
}

TEST(conv_empty) {
  Random random(16);
  Case test;
  test.geometry = geometry(8, 8, 5, 5, 3, 3);
  test.n = 0;
  for (const Precision precision : kPrecisions) {
    test.precision = precision;
    check_any(test, random);
  }
}

namespace {

template <class T>
void check_transpose(const ConvGeometry& g, Precision precision, index_t n, bool extras, Random& random) {
  const index_t in = g.out_channels, out = g.in_channels, group_in = g.group_out(), group_out = g.group_in();
  const cuda::ConvTransposePlan plan = plan_conv_transpose(g, n, precision, Limits{});
  Images<T> x(n, g.out_h, g.out_w, in, 0, 0), y(n, g.in_h, g.in_w, out, extras ? 2 : 0, extras ? 3 : 0), residual = y;
  residual.view.data = residual.memory.data() + residual.before;
  x.each([&](auto... at) { x.at(at...) = to_storage<T>(small(random, false)); });
  residual.each([&](auto... at) { residual.at(at...) = to_storage<T>(small(random, false)); });
  std::vector<float> weight(static_cast<std::size_t>(in * group_out * g.taps())), bias(static_cast<std::size_t>(out));
  for (float& w : weight) w = small(random, false);
  for (float& b : bias) b = small(random, false);
  const OnDevice<T> device_x = upload(x), device_y = upload(y), device_residual = upload(residual);
  const Memory packed = upload(pack_weights(plan, weight.data())), device_bias = upload(bias);
  const Memory workspace = upload(std::vector<unsigned char>(plan.workspace_bytes, 0xff));
  Epilogue<T> epilogue;
  epilogue.bias = device_bias.as<float>();
  if (extras) epilogue.residual = device_residual.view;
  epilogue.activation = Activation::relu;
  run_conv_transpose<T>(plan, device_x.view, packed.as(), epilogue, device_y.view, workspace.as(), nullptr);
  copy_to_host(y.memory.data(), device_y.memory.template as<T>(), y.memory.size() * sizeof(T), nullptr);

  Images<double> expected(n, g.in_h, g.in_w, out, 0, 0);
  expected.view.data = expected.memory.data();
  expected.each([&](index_t in_n, index_t h, index_t w, index_t c) {
    expected.at(in_n, h, w, c) = bias[static_cast<std::size_t>(c)] + (extras ? value(residual.at(in_n, h, w, c)) : 0);
  });
  x.each([&](index_t in_n, index_t h, index_t w, index_t c) {
    for (index_t o = 0; o < group_out; ++o)
      for (index_t ky = 0; ky < g.kernel_h; ++ky)
        for (index_t kx = 0; kx < g.kernel_w; ++kx) {
          const index_t row = h * g.stride_h + ky * g.dilation_h - g.pad_top, column = w * g.stride_w + kx * g.dilation_w - g.pad_left;
          if (row < 0 || row >= g.in_h || column < 0 || column >= g.in_w) continue;
          expected.at(in_n, row, column, c / group_in * group_out + o) +=
              value(x.at(in_n, h, w, c)) * weight[static_cast<std::size_t>(((c * group_out + o) * g.kernel_h + ky) * g.kernel_w + kx)];
        }
  });
  expected.each([&](auto... at) {
    CHECK(value(y.at(at...)) == value(to_storage<T>(static_cast<float>(std::max(expected.at(at...), 0.0)))));
    y.at(at...) = to_storage<T>(NAN);
  });
  for (const T element : y.memory) CHECK(std::isnan(value(element)));
}

}  // namespace

TEST(conv_transpose) {
  Random random(17);
  struct Shapes {
    index_t in, out, h, w, kh, kw, stride, padding, output_padding, dilation, groups;
  };
  for (const Shapes& s : {Shapes{6, 5, 4, 3, 3, 3, 2, 1, 1, 1, 1}, Shapes{8, 40, 3, 4, 2, 2, 2, 0, 0, 1, 1}, Shapes{16, 32, 3, 3, 4, 4, 2, 1, 0, 1, 2},
                         Shapes{4, 3, 3, 3, 1, 2, 3, 0, 2, 1, 1}, Shapes{5, 4, 4, 4, 3, 3, 2, 2, 0, 2, 1}, Shapes{12, 12, 4, 4, 4, 4, 2, 1, 0, 1, 12}}) {
    const ConvGeometry g = conv_transpose_geometry({1, s.in, s.h, s.w}, {s.in, s.out / s.groups, s.kh, s.kw}, {s.stride, s.stride},
                                                   {s.padding, s.padding}, {s.output_padding, s.output_padding}, {s.dilation, s.dilation}, s.groups);
    for (const bool extras : {false, true}) {
      check_transpose<float>(g, Precision::fp32, 1, extras, random);
      check_transpose<float>(g, Precision::tf32, 2, extras, random);
      check_transpose<__half>(g, Precision::fp16, 1, extras, random);
      check_transpose<__nv_bfloat16>(g, Precision::bf16, 1, extras, random);
    }
  }
}
