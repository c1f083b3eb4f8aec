// Conv2d on the views that a network hands it: blocked tensors, slices of them (concat without
// copies), a residual that is the output itself. All of it on integers, where every algorithm but
// Winograd is exact.
#include <cmath>
#include <optional>

#include "fastconv/conv.h"
#include "random.h"
#include "test.h"

using namespace fastconv;

namespace {

// A tensor of some layout with memory of its own, perhaps wider in channels than the view.
template <class T>
struct Tensor {
  std::vector<T> memory;
  TensorView<T> view;

  operator TensorView<const T>() const { return view; }
  T& at(index_t n, index_t c, index_t h, index_t w) { return view.channel(n, c)[h * view.sh + w * view.sw]; }
};

enum class Layout { nchw, nhwc, blocked, slice, inner_slice };

// `slice`: whole blocks of a larger blocked tensor; `inner_slice`: channels that begin inside a
// block.
template <class T>
Tensor<T> make(Layout layout, index_t n, index_t c, index_t h, index_t w, Random& random) {
  const index_t block = channel_block(dtype_of<T>);
  Tensor<T> t;
  if (layout == Layout::nchw || layout == Layout::nhwc) {
    t.memory = random.integers<T>(n * c * h * w);
    t.view = nchw_view(t.memory.data(), n, c, h, w);
    if (layout == Layout::nhwc) t.view = {t.memory.data(), n, c, h, w, 1, h * w * c, 1, w * c, c, 0};
    return t;
  }
  const index_t before = layout == Layout::blocked ? 0 : layout == Layout::slice ? block : random.between(1, 2 * block);
  const index_t blocks = ceil_div(before + c, block) + (layout == Layout::blocked ? 0 : 1);
  t.memory = random.integers<T>(n * blocks * h * w * block);
  t.view = {t.memory.data() + before / block * h * w * block, n, c, h, w, block, blocks * h * w * block, h * w * block,
            w * block, block, before % block};
  return t;
}

template <class T>
T definition(const ConvGeometry& g, const TensorView<const T>& x, const std::vector<T>& weight, index_t n, index_t oc, index_t oy,
             index_t ox) {
  T sum = 0;
  for (index_t c = 0; c < g.group_in(); ++c)
    for (index_t ky = 0; ky < g.kernel_h; ++ky)
      for (index_t kx = 0; kx < g.kernel_w; ++kx) {
        const index_t iy = oy * g.stride_h + ky * g.dilation_h - g.pad_top, ix = ox * g.stride_w + kx * g.dilation_w - g.pad_left;
        if (iy >= 0 && iy < g.in_h && ix >= 0 && ix < g.in_w)
          sum += x.channel(n, oc / g.group_out() * g.group_in() + c)[iy * x.sh + ix * x.sw] *
                 weight[((oc * g.group_in() + c) * g.kernel_h + ky) * g.kernel_w + kx];
      }
  return sum;
}

struct Case {
  ConvGeometry geometry;
  Layout x, out, residual;
  index_t n;
  bool has_bias, has_residual, aliased;
  Activation activation;
};

template <class T>
void check(const Case& test, Algorithm algorithm, Random& random) {
  const ConvGeometry& g = test.geometry;
  auto x = make<T>(test.x, test.n, g.in_channels, g.in_h, g.in_w, random);
  auto out = make<T>(test.out, test.n, g.out_channels, g.out_h, g.out_w, random);
  auto residual = make<T>(test.residual, test.n, g.out_channels, g.out_h, g.out_w, random);
  const auto weight = random.integers<T>(g.out_channels * g.group_in() * g.taps());
  const auto bias = random.integers<T>(g.out_channels);
  const TensorView<const T> xv = x;
  const std::optional<TensorView<const T>> rv =
      !test.has_residual ? std::nullopt : std::optional<TensorView<const T>>(test.aliased ? out : residual);

  // Expected: the whole memory of `out`, so that what lies before and after a slice is checked as
  // well.
  Tensor<T> expected = out;
  expected.view.data = expected.memory.data() + (out.view.data - out.memory.data());
  for (index_t n = 0; n < test.n; ++n)
    for (index_t c = 0; c < g.out_channels; ++c)
      for (index_t h = 0; h < g.out_h; ++h)
        for (index_t w = 0; w < g.out_w; ++w) {
          T y = definition(g, xv, weight, n, c, h, w) + (test.has_bias ? bias[c] : T(0));
          if (rv) y += rv->channel(n, c)[h * rv->sh + w * rv->sw];
          if (test.activation != Activation::none) y = std::max(y, T(0));
          if (test.activation == Activation::relu6) y = std::min(y, T(6));
          expected.at(n, c, h, w) = y;
        }
  const Packing packing{/*fall_back=*/algorithm == Algorithm::automatic};
  const Conv2d<T> conv(plan_conv({g, dtype_of<T>, test.activation}, algorithm), weight.data(), test.has_bias ? bias.data() : nullptr, packing);
  conv.run(xv, rv ? &*rv : nullptr, out.view);

  // The lanes after the last channel of a blocked output that begins with a block are free for the
  // kernels to write, NaN too.
  if (out.view.block > 1 && out.view.lane == 0)
    for (index_t n = 0; n < test.n; ++n)
      for (index_t c = g.out_channels; c % out.view.block != 0; ++c)
        for (index_t h = 0; h < g.out_h; ++h)
          for (index_t w = 0; w < g.out_w; ++w) expected.at(n, c, h, w) = out.at(n, c, h, w) = 0;
  const bool rounds = conv.plan().algorithm >= Algorithm::winograd;
  const T tolerance = rounds ? T(1 + g.group_in()) * std::numeric_limits<T>::epsilon() * 2000 : T(0);
  for (std::size_t i = 0; i < out.memory.size(); ++i) CHECK(std::abs(out.memory[i] - expected.memory[i]) <= tolerance);
}

ConvGeometry geometry(Shape x, Shape weight, std::array<index_t, 2> stride, Padding padding, std::array<index_t, 2> dilation,
                      index_t groups) {
  return conv_geometry(x, weight, stride, padding, dilation, groups);
}

void check_both(const Case& test, Algorithm algorithm, Random& random) {
  check<float>(test, algorithm, random);
  check<double>(test, algorithm, random);
}

template <class Value, std::size_t N>
Value pick(const Value (&values)[N], Random& random) {
  return values[random.below(N)];
}

constexpr Layout kLayouts[] = {Layout::nchw, Layout::nhwc, Layout::blocked, Layout::slice, Layout::inner_slice};
constexpr index_t kChannels[] = {1, 3, 4, 7, 8, 12, 15, 16, 17, 31, 32, 33, 48};

Case random_case(const ConvGeometry& g, Random& random) {
  const bool has_residual = random.coin();
  constexpr Activation activations[] = {Activation::none, Activation::relu, Activation::relu6};
  return {g, pick(kLayouts, random), pick(kLayouts, random), pick(kLayouts, random), random.between(1, 2), random.coin(), has_residual,
          has_residual && random.coin(), pick(activations, random)};
}

}  // namespace

TEST(conv2d_on_every_pair_of_layouts) {
  Random random(1);
  for (const Layout x : kLayouts)
    for (const Layout out : kLayouts)
      for (const Layout residual : kLayouts) {
        const index_t in = pick(kChannels, random), channels = pick(kChannels, random);
        const Padding padding{Padding::Mode::explicit_sizes, 1, 0, 1, 2};
        const Case test{geometry({2, in, 7, 9}, {channels, in, 3, 3}, {1, 1}, padding, {1, 1}, 1), x, out, residual, 2, true, true, false,
                        Activation::relu};
        for (const Algorithm a : {Algorithm::reference, Algorithm::im2col, Algorithm::direct, Algorithm::winograd2,
                                  Algorithm::winograd4, Algorithm::winograd6})
          check_both(test, a, random);
      }
}

TEST(conv2d_on_blocked_views_of_random_shapes) {
  Random random(2);
  for (int repeat = 0; repeat < 200; ++repeat) {
    const index_t groups = random.below(4) ? 1 : random.between(2, 3);
    const index_t in = pick(kChannels, random) * groups, out = pick(kChannels, random) * groups;
    const index_t kh = random.between(1, 3), kw = random.between(1, 3);
    const Padding padding{Padding::Mode::explicit_sizes, random.below(3), random.below(3), random.below(3), random.below(3)};
    const std::array<index_t, 2> stride{random.between(1, 2), random.between(1, 2)}, dilation{random.between(1, 2), random.between(1, 2)};
    const index_t h = random.between((kh - 1) * dilation[0] + 1, 12), w = random.between((kw - 1) * dilation[1] + 1, 12);
    const Case test = random_case(geometry({1, in, h, w}, {out, in / groups, kh, kw}, stride, padding, dilation, groups), random);
    for (const Algorithm a : {Algorithm::automatic, Algorithm::im2col, Algorithm::direct}) check_both(test, a, random);
  }
}

TEST(conv2d_depthwise_on_blocked_views) {
  Random random(3);
  constexpr index_t kernels[] = {1, 2, 3, 3, 4, 5, 6, 7};
  for (int repeat = 0; repeat < 200; ++repeat) {
    const index_t channels = pick(kChannels, random), multiplier = random.below(3) ? 1 : random.between(2, 3);
    const index_t kh = pick(kernels, random), kw = random.coin() ? kh : pick(kernels, random);
    const std::array<index_t, 2> stride{random.between(1, 3), random.between(1, 3)};
    const std::array<index_t, 2> dilation = random.below(3) ? std::array<index_t, 2>{1, 1} : std::array<index_t, 2>{random.between(1, 2), 2};
    const index_t h = random.between(1, 12), w = random.between(1, 30);
    // Enough for the window, and at times more than the image.
    const index_t top = random.between(std::max<index_t>(0, (kh - 1) * dilation[0] + 1 - h), (kh - 1) * dilation[0] + 2);
    const index_t left = random.between(std::max<index_t>(0, (kw - 1) * dilation[1] + 1 - w), (kw - 1) * dilation[1] + 2);
    const Padding padding{Padding::Mode::explicit_sizes, top, random.below(4), left, random.coin() ? random.below(4) : w + 3};
    const Shape weight{channels * multiplier, 1, kh, kw};
    const Case test = random_case(geometry({1, channels, h, w}, weight, stride, padding, dilation, channels), random);
    check_both(test, Algorithm::depthwise, random);
  }
}

TEST(conv2d_with_few_channels_a_group) {
  Random random(8);
  for (int repeat = 0; repeat < 250; ++repeat) {
    constexpr index_t sizes[] = {1, 2, 3, 4, 5, 6, 8, 8, 12, 20, 24};
    const index_t groups = random.between(2, 12), out = pick(sizes, random), in = random.coin() ? out : pick(sizes, random);
    const bool same = random.coin();  // what layers of networks have, whose input is read in place
    const index_t kernel = same ? 3 : random.between(1, 7), kernel_w = same ? 3 : random.between(1, 7);
    const index_t pad = random.below(2), dilation = same ? 1 : random.between(1, 2);
    Padding padding{Padding::Mode::explicit_sizes, pad, pad, pad, random.below(2)};
    if (!same) padding = {Padding::Mode::explicit_sizes, random.below(9), random.below(4), random.below(3), random.below(3)};
    const std::array<index_t, 2> stride{random.between(1, 3), same ? random.between(1, 2) : random.between(1, 3)};
    const index_t h = random.between((kernel - 1) * dilation + 1, 14), w = random.between((kernel_w - 1) * dilation + 1, 33);
    Case test = random_case(geometry({1, in * groups, h, w}, {out * groups, in, kernel, kernel_w}, stride, padding,
                                     {dilation, dilation}, groups),
                            random);
    if (random.coin()) test.x = Layout::blocked;
    check_both(test, Algorithm::direct, random);
  }
}

TEST(conv2d_winograd_on_blocked_views) {
  Random random(4);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const index_t groups = random.between(1, 2), in = pick(kChannels, random) * groups, out = pick(kChannels, random) * groups;
    const Padding padding{Padding::Mode::explicit_sizes, random.below(3), random.below(3), random.below(3), random.below(3)};
    Case test = random_case(
        geometry({1, in, random.between(3, 14), random.between(3, 14)}, {out, in / groups, 3, 3}, {1, 1}, padding, {1, 1}, groups), random);
    test.activation = Activation::none;  // relu6 would hide differences
    for (const Algorithm a : {Algorithm::winograd2, Algorithm::winograd4, Algorithm::winograd6}) check_both(test, a, random);
  }
}

TEST(conv2d_strassen_on_every_layout) {
  Random random(10);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const index_t in = 32 * random.between(1, 5), out = 32 * random.between(1, 5);
    const std::array<index_t, 2> stride{random.between(1, 2), random.between(1, 3)};
    Case test = random_case(
        geometry({1, in, random.between(1, 12), random.between(1, 12)}, {out, in, 1, 1}, stride, {}, {1, 1}, 1), random);
    if (random.coin()) test.n = 5;  // several images a task
    check_both(test, Algorithm::strassen, random);
  }
  // Several bands and parts of the reduction.
  const Case large{geometry({2, 320, 31, 33}, {96, 320, 1, 1}, {1, 1}, {}, {1, 1}, 1), Layout::blocked, Layout::blocked, Layout::blocked, 2,
                   true, true, true, Activation::relu};
  check_both(large, Algorithm::strassen, random);
}

TEST(conv2d_with_several_parts_of_the_reduction) {
  // More than 512 products: partial sums join in memory, which a residual that is the output must
  // survive.
  Random random(5);
  for (const index_t kernel : {1, 3})
    for (const Layout layout : kLayouts)
      for (const bool aliased : {false, true}) {
        const index_t in = kernel == 1 ? 1100 : 130;
        const Padding padding{Padding::Mode::explicit_sizes, kernel / 2, kernel / 2, kernel / 2, kernel / 2};
        const Case test{geometry({1, in, 5, 6}, {35, in, kernel, kernel}, {1, 1}, padding, {1, 1}, 1), layout, layout, layout, 2, true, true,
                        aliased, Activation::relu};
        for (const Algorithm a : {Algorithm::reference, Algorithm::im2col, Algorithm::direct}) check_both(test, a, random);
        if (kernel == 3) check_both(test, Algorithm::winograd2, random);
      }
}

TEST(conv2d_pads_below_1x1) {
  Random random(6);
  for (const Layout layout : {Layout::nchw, Layout::blocked})
    for (const Algorithm a : {Algorithm::reference, Algorithm::im2col, Algorithm::direct}) {
      const Padding padding{Padding::Mode::explicit_sizes, 0, 3, 0, 0};
      check_both({geometry({2, 5, 9, 9}, {7, 5, 1, 1}, {1, 1}, padding, {1, 1}, 1), layout, layout, layout, 2, true, false, false,
                  Activation::none}, a, random);
    }
}

TEST(conv2d_crops_where_padding_is_negative) {
  // As the phases of a transposed convolution ask for; here the output has the input's size, but
  // lies a row lower.
  Random random(7);
  for (const index_t channels : {5, 32})
    for (const Algorithm a : {Algorithm::reference, Algorithm::im2col, Algorithm::direct}) {
      ConvGeometry g = geometry({1, channels, 8, 8}, {channels, channels, 1, 1}, {1, 1}, {}, {1, 1}, 1);
      g.pad_top = -1;
      g.pad_bottom = 1;
      check_both({g, Layout::nchw, Layout::nchw, Layout::nchw, 1, false, false, false, Activation::none}, a, random);
    }
}

TEST(conv_transpose2d_into_blocks) {
  // A phase's pixels lie apart in the blocked output: none of its neighbours may be activated with
  // them.
  Random random(9);
  const index_t channels = 20;
  for (const index_t groups : {index_t{1}, channels}) {
    const index_t each = channels / groups;
    const ConvGeometry g = conv_transpose_geometry({1, channels, 5, 6}, {channels, each, 3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, groups);
    const auto weight = random.integers<float>(channels * each * 9);
    const auto x = make<float>(Layout::nchw, 1, channels, 5, 6, random);
    auto plain = make<float>(Layout::nchw, 1, channels, 10, 12, random), blocked = make<float>(Layout::blocked, 1, channels, 10, 12, random);
    const ConvTranspose2d<float> conv(plan_conv_transpose({g, DType::f32, Activation::silu}), weight.data(), nullptr);
    conv.run(x, plain.view);
    conv.run(x, blocked.view);
    for (index_t c = 0; c < channels; ++c)
      for (index_t i = 0; i < 10 * 12; ++i) CHECK(plain.at(0, c, i / 12, i % 12) == blocked.at(0, c, i / 12, i % 12));
  }
}

TEST(conv2d_refuses_views_of_other_sizes) {
  Random random(8);
  const ConvGeometry g = geometry({1, 3, 8, 8}, {4, 3, 3, 3}, {1, 1}, {}, {1, 1}, 1);
  const auto weight = random.integers<float>(4 * 3 * 9);
  const Conv2d<float> conv(plan_conv({g}), weight.data(), nullptr);
  const auto x = make<float>(Layout::nchw, 1, 3, 8, 8, random), other_x = make<float>(Layout::nchw, 1, 3, 8, 9, random);
  const auto out = make<float>(Layout::nchw, 1, 4, 6, 6, random), other_out = make<float>(Layout::nchw, 1, 4, 6, 7, random);
  const TensorView<const float> residual = other_out;
  conv.run(x, nullptr, out.view);
  CHECK_THROWS(conv.run(other_x, nullptr, out.view), std::invalid_argument);
  CHECK_THROWS(conv.run(x, nullptr, other_out.view), std::invalid_argument);
  CHECK_THROWS(conv.run(x, &residual, out.view), std::invalid_argument);
}

TEST(conv2d_refuses_what_an_algorithm_cannot_serve) {
  const ConvGeometry g = geometry({1, 3, 8, 8}, {4, 3, 5, 5}, {1, 1}, {}, {1, 1}, 1);
  for (const Algorithm a : {Algorithm::depthwise, Algorithm::strassen, Algorithm::winograd, Algorithm::winograd2, Algorithm::winograd4, Algorithm::winograd6})
    CHECK_THROWS(plan_conv({g}, a), std::invalid_argument);
}

TEST(conv2d_of_single_pixels_with_strides) {
  // Samples become the pixels of one row, which the stride must not skip.
  Random random(9);
  for (const Layout layout : kLayouts)
    for (const index_t stride : {1, 2, 3})
      for (const Algorithm a : {Algorithm::automatic, Algorithm::im2col, Algorithm::direct})
        check_both({geometry({5, 20, 1, 1}, {33, 20, 1, 1}, {stride, stride}, {}, {1, 1}, 1), layout, layout, layout, 5, true, true, true,
                    Activation::relu}, a, random);
}
