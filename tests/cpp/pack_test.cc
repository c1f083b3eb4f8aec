// The kernels that move data between layouts, for every instruction set that this CPU has, against
// plain loops.
#include "kernels.h"
#include "random.h"
#include "test.h"

using namespace fastconv;

namespace {

template <class T>
void check_pack(const Kernels<T>& kernels, index_t channels, index_t pixels, Random& random) {
  const bool pixels_first = random.coin();
  const index_t gap = random.coin() ? 1 : random.between(2, 3);
  const index_t channel_stride = pixels_first ? gap : gap * pixels + random.below(3);
  const index_t pixel_stride = pixels_first ? gap * channels + random.below(3) : gap;
  const index_t out_stride = std::max(channels, kernels.lanes) + random.below(2);
  const auto x = random.integers<T>((channels - 1) * channel_stride + (pixels - 1) * pixel_stride + 1);
  std::vector<T> out(static_cast<std::size_t>(pixels * out_stride), T(99));
  auto expected = out;
  for (index_t p = 0; p < pixels; ++p)
    for (index_t c = 0; c < channels; ++c) expected[p * out_stride + c] = x[c * channel_stride + p * pixel_stride];
  kernels.pack.pack(x.data(), channel_stride, pixel_stride, channels, pixels, out.data(), out_stride);
  CHECK(out == expected);
}

template <class T>
void check_unpack(const Kernels<T>& kernels, index_t channels, index_t pixels, Random& random) {
  struct Strides {
    index_t channel, pixel;
  };
  const auto strides = [&]() -> Strides {
    switch (random.below(4)) {
      case 0: return {1, channels};              // blocked, or NHWC
      case 1: return {1, channels + 3};
      case 2: return {pixels + random.below(3), 1};  // planes
      default: return {2 * pixels + 1, 2};
    }
  };
  const auto extent = [&](const Strides& s) { return (channels - 1) * s.channel + (pixels - 1) * s.pixel + 1; };
  const Strides to = strides(), from = strides();
  UnpackRow<T> row{};
  row.in_stride = kernels.lanes + random.below(3);
  row.channels = channels;
  row.pixels = pixels;
  const auto in = random.integers<T>((pixels - 1) * row.in_stride + kernels.lanes);
  const auto bias = random.integers<T>(kernels.lanes);
  const auto residual = random.integers<T>(extent(from));
  std::vector<T> out(static_cast<std::size_t>(extent(to)), T(99));
  auto expected = out;
  row.in = in.data();
  row.bias = bias.data();
  row.residual = random.coin() ? residual.data() : nullptr;
  row.residual_channel_stride = from.channel;
  row.residual_pixel_stride = from.pixel;
  row.out_channel_stride = to.channel;
  row.out_pixel_stride = to.pixel;
  row.low = T(random.between(-9, 0));
  row.high = T(random.between(3, 9));
  for (index_t p = 0; p < pixels; ++p)
    for (index_t c = 0; c < channels; ++c) {
      T y = in[p * row.in_stride + c] + bias[c];
      if (row.residual) y += residual[c * from.channel + p * from.pixel];
      expected[c * to.channel + p * to.pixel] = clamp(y, row.low, row.high);
    }
  row.out = out.data();
  kernels.pack.unpack(row);
  CHECK(out == expected);
}

template <class T>
void check_pack_weights(const Kernels<T>& kernels, index_t channels, index_t k, Random& random) {
  const index_t stride = k + random.below(4), out_stride = kernels.lanes * random.between(1, 2);
  const auto weight = random.integers<T>((channels - 1) * stride + k);
  std::vector<index_t> position(static_cast<std::size_t>(k));
  for (index_t i = 0; i < k; ++i) position[i] = k - 1 - i;
  std::vector<T> out(static_cast<std::size_t>((k - 1) * out_stride + kernels.lanes), T(99));
  auto expected = out;
  for (index_t i = 0; i < k; ++i)
    for (index_t c = 0; c < kernels.lanes; ++c)
      expected[position[i] * out_stride + c] = c < channels ? weight[c * stride + i] : T(0);
  kernels.pack.pack_weights(weight.data(), stride, channels, k, position.data(), out.data(), out_stride);
  CHECK(out == expected);
}

template <class T>
void check_finish_tile(const Kernels<T>& kernels, index_t rows, index_t columns, Random& random) {
  FinishTile<T> f{};
  f.x_stride = columns + random.below(3);
  f.y_stride = columns + random.below(3);
  f.residual_stride = columns + random.below(3);
  f.rows = rows;
  f.columns = columns;
  const auto x = random.integers<T>(rows * f.x_stride), residual = random.integers<T>(rows * f.residual_stride);
  const auto bias = random.integers<T>(rows);
  std::vector<T> y(static_cast<std::size_t>(rows * f.y_stride), T(99));
  auto expected = y;
  f.x = x.data();
  f.bias = bias.data();
  f.residual = random.coin() ? residual.data() : nullptr;
  f.low = T(-2);
  f.high = T(5);
  for (index_t r = 0; r < rows; ++r)
    for (index_t i = 0; i < columns; ++i)
      expected[r * f.y_stride + i] =
          clamp(x[r * f.x_stride + i] + bias[r] + (f.residual ? residual[r * f.residual_stride + i] : T(0)), f.low, f.high);
  f.y = y.data();
  kernels.pack.finish_tile(f);
  CHECK(y == expected);
}

template <class T>
void check_im2col(const Kernels<T>& kernels, Random& random) {
  Im2colPanel<T> m{};
  m.in_h = random.between(1, 9);
  m.in_w = random.between(1, 9);
  m.kernel_h = random.between(1, 3);
  m.kernel_w = random.between(1, 3);
  m.stride_h = random.between(1, 2);
  m.stride_w = random.between(1, 2);
  m.dilation_h = random.between(1, 2);
  m.dilation_w = random.between(1, 2);
  m.pad_top = random.between(-1, 2);
  m.pad_left = random.between(-1, 2);
  m.out_w = random.between(1, 9);
  const index_t out_h = random.between(1, 9), channels = random.between(1, 3);
  m.column_stride = random.between(1, 2);
  m.row_stride = m.in_w * m.column_stride + (random.coin() ? 1 : 0);
  m.channel_stride = m.in_h * m.row_stride;
  const auto x = random.integers<T>(channels * m.channel_stride);
  m.x = x.data();
  m.width = kernels.lanes * random.between(1, 2);
  m.first = random.below(out_h * m.out_w);
  m.pixels = std::min(random.between(1, m.width), out_h * m.out_w - m.first);
  const index_t taps = m.kernel_h * m.kernel_w;
  m.k0 = random.below(channels * taps);
  m.k1 = random.between(m.k0 + 1, channels * taps);
  std::vector<T> out(static_cast<std::size_t>((m.k1 - m.k0) * m.width), T(99));
  auto expected = out;
  for (index_t k = m.k0; k < m.k1; ++k)
    for (index_t p = 0; p < m.width; ++p) {
      const index_t y = (m.first + p) / m.out_w * m.stride_h + k % taps / m.kernel_w * m.dilation_h - m.pad_top;
      const index_t column = (m.first + p) % m.out_w * m.stride_w + k % m.kernel_w * m.dilation_w - m.pad_left;
      const bool inside = p < m.pixels && y >= 0 && y < m.in_h && column >= 0 && column < m.in_w;
      expected[(k - m.k0) * m.width + p] =
          inside ? x[k / taps * m.channel_stride + y * m.row_stride + column * m.column_stride] : T(0);
    }
  m.out = out.data();
  kernels.pack.im2col(m);
  CHECK(out == expected);
}

}  // namespace

TEST(pack_and_unpack_move_every_element) {
  Random random(2);
  for_each_isa([&](const auto& kernels) {
    for (index_t channels = 1; channels <= kernels.lanes; ++channels)
      for (index_t pixels = 1; pixels <= 2 * kernels.lanes + 3; pixels += pixels < 5 ? 1 : 3)
        for (int repeat = 0; repeat < 3; ++repeat) {
          check_pack(kernels, channels, pixels, random);
          check_unpack(kernels, channels, pixels, random);
          check_pack_weights(kernels, channels, pixels, random);
          check_finish_tile(kernels, channels, pixels, random);
        }
  });
}

TEST(im2col_panels_equal_the_definition) {
  Random random(3);
  for_each_isa([&](const auto& kernels) {
    for (int repeat = 0; repeat < 2000; ++repeat) check_im2col(kernels, random);
  });
}

TEST(im2col_pads_below_a_1x1_convolution) {
  // The way for 1x1 kernels, which copies pixels in one go, must not run past the plane into the
  // padding below.
  for_each_isa([&]<class T>(const Kernels<T>& kernels) {
    const std::vector<T> x(6, T(1));
    std::vector<T> out(static_cast<std::size_t>(2 * kernels.lanes), T(99));
    Im2colPanel<T> m{};
    m.x = x.data();
    m.channel_stride = 6;
    m.row_stride = m.in_w = m.out_w = 3;
    m.in_h = 2;
    m.column_stride = m.kernel_h = m.kernel_w = m.stride_h = m.stride_w = m.dilation_h = m.dilation_w = m.k1 = 1;
    m.width = 2 * kernels.lanes;
    m.first = 5;
    m.pixels = 4;  // the last one of the image, and a row of padding
    m.out = out.data();
    kernels.pack.im2col(m);
    CHECK(out[0] == T(1));
    for (index_t p = 1; p < m.width; ++p) CHECK(out[p] == T(0));
  });
}
