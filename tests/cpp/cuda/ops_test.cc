// Pooling, resizing, norms, reductions and padding against the geometry and operators of the CPU,
// or plain loops in double.
#include "fastconv/ops.h"

#include <algorithm>

#include "arrays.h"

using namespace fastconv;
using namespace fastconv::cuda;

namespace {

// Images with `more` elements between pixels, NaN where nothing is; fastconv's view of the same
// memory.
struct Images {
  index_t n, h, w, c, pixel;

  index_t count() const { return n * h * w * pixel; }
  TensorView<const float> view(const float* data) const { return {data, n, c, h, w, 1, h * w * pixel, 1, w * pixel, pixel}; }
  template <class T>
  Nhwc<T> at(T* data) const {
    return images(data, n, h, w, c, pixel);
  }
};

std::vector<float> pixels(const Images& x, const std::vector<float>& values) {
  std::vector<float> result(static_cast<std::size_t>(x.count()), NAN);
  for (index_t i = 0; i < x.count(); ++i)
    if (i % x.pixel < x.c) result[i] = values[i];
  return result;
}

// `device` and `host` compute y from x, the one from and to T, the other in float by fastconv's own
// operator.
template <class T, class Device, class Host>
void check_images(const Images& x, const Images& y, double tolerance, Device&& device, Host&& host, bool specials = false) {
  auto values = pixels(x, normal<T>(x.count()));
  if (specials)
    for (index_t i = 0; i < x.count(); i += 13) values[i] = i % 3 ? NAN : INFINITY;
  const Array<T> from(values), to(y.count());
  device(x.at<const T>(from.data()), y.at<T>(to.data()));
  std::vector<float> wanted(static_cast<std::size_t>(y.count()), NAN);
  const TensorView<const float> view = y.view(wanted.data());
  host(x.view(values.data()),
       TensorView<float>{wanted.data(), view.n, view.c, view.h, view.w, 1, view.sn, view.sb, view.sh, view.sw});
  const auto result = to.read();
  for (std::size_t i = 0; i < result.size(); ++i) CHECK(close(result[i], wanted[i], tolerance + kRounding<T>));
}

}  // namespace

TEST(pool2d_windows_are_the_cpus) {
  struct Case {
    std::array<index_t, 2> kernel, stride, padding, dilation;
  };
  const Case cases[] = {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}, {{2, 2}, {2, 2}, {0, 0}, {1, 1}}, {{2, 3}, {1, 2}, {1, 0}, {1, 1}},
                        {{3, 3}, {1, 3}, {1, 1}, {2, 3}}, {{4, 5}, {3, 2}, {2, 2}, {1, 1}}, {{9, 13}, {1, 1}, {0, 0}, {1, 1}}};
  for_each_type([&]<class T>() {
    for (const Case& c : cases)
      for (const bool ceil_mode : {false, true})
        for (const bool include : {false, true})
          for (const index_t channels : {1, 3, 16})
            for (const index_t more : {0, 8}) {
              const PoolGeometry g = pool_geometry({9, 13}, c.kernel, c.stride, c.padding, c.dilation, ceil_mode, include);
              const Images x{2, 9, 13, channels, channels + more}, y{2, g.out_h, g.out_w, channels, channels + more};
              PoolParameters p;
              for (int i = 0; i < 2; ++i) {
                p.kernel[i] = static_cast<int>(c.kernel[i]);
                p.stride[i] = static_cast<int>(c.stride[i]);
                p.padding[i] = static_cast<int>(c.padding[i]);
                p.dilation[i] = static_cast<int>(c.dilation[i]);
              }
              p.count_include_pad = include;
              check_images<T>(
                  x, y, 0, [&](const auto& from, const auto& to) { pool2d<T>(p, from, to, nullptr); },
                  [&](const auto& from, const auto& to) { max_pool2d<float>(g, from, to); }, true);
              if (c.dilation != std::array<index_t, 2>{1, 1}) continue;  // averages have none
              p.maximum = false;
              check_images<T>(
                  x, y, 1e-6, [&](const auto& from, const auto& to) { pool2d<T>(p, from, to, nullptr); },
                  [&](const auto& from, const auto& to) { avg_pool2d<float>(g, from, to); });
            }
  });
}

TEST(adaptive_pool2d_windows_are_the_cpus) {
  for_each_type([&]<class T>() {
    for (const auto& size : {std::array<index_t, 2>{1, 1}, {7, 7}, {4, 5}, {20, 3}})
      for (const index_t channels : {5, 16})
        for (const index_t more : {0, 8}) {
          const PoolGeometry g = adaptive_pool_geometry({9, 13}, size);
          const Images x{2, 9, 13, channels, channels + more}, y{2, g.out_h, g.out_w, channels, channels + more};
          check_images<T>(
              x, y, 0, [&](const auto& from, const auto& to) { adaptive_pool2d<T>(true, from, to, nullptr); },
              [&](const auto& from, const auto& to) { max_pool2d<float>(g, from, to); }, true);
          check_images<T>(
              x, y, 1e-6, [&](const auto& from, const auto& to) { adaptive_pool2d<T>(false, from, to, nullptr); },
              [&](const auto& from, const auto& to) { avg_pool2d<float>(g, from, to); });
        }
  });
}

TEST(interpolate_takes_the_cpus_taps) {
  struct Case {
    std::array<index_t, 2> size;
    std::array<double, 2> scale;
  };
  const Case cases[] = {{{18, 26}, {0, 0}},      {{9, 13}, {0, 0}},       {{5, 31}, {0, 0}},  {{1, 1}, {0, 0}},
                        {{21, 9}, {0.43, 1.45}}, {{12, 17}, {0.7, 0.75}}, {{9, 20}, {0.9, 0}},
                        {{18, 26}, {1 / 2.086, 1 / 2.05}}, {{9, 13}, {1 / 1.06, 1 / 1.07}}};
  for_each_type([&]<class T>() {
    for (const Case& c : cases)
      for (const bool bilinear : {false, true})
        for (const bool corners : {false, true})
          for (const index_t channels : {3, 16})
            for (const bool specials : {false, true}) {
              const Interpolation how =
                  bilinear ? Interpolation{.mode = Interpolation::Mode::bilinear,
                                           .scale = c.scale,
                                           .coordinates = corners ? Interpolation::Coordinates::align_corners
                                                                  : Interpolation::Coordinates::half_pixel}
                           : Interpolation{.scale = c.scale,
                                           .coordinates = Interpolation::Coordinates::asymmetric,
                                           .nearest_mode = Interpolation::Rounding::floor};
              const InterpolationGeometry g = interpolation_geometry({9, 13}, c.size, how);
              const double scale[2] = {c.scale[0], c.scale[1]};
              check_images<T>(
                  {2, 9, 13, channels, channels + 8}, {2, c.size[0], c.size[1], channels, channels}, bilinear ? 1e-6 : 0,
                  [&](const auto& from, const auto& to) { interpolate<T>(bilinear, corners, scale, from, to, nullptr); },
                  [&](const auto& from, const auto& to) { interpolate<float>(g, from, to); }, specials);
            }
  });
}

TEST(local_response_norm_is_the_cpus) {
  for_each_type([&]<class T>() {
    for (const index_t size : {1, 2, 5, 9})
      for (const index_t channels : {1, 7, 24})
        check_images<T>(
            {2, 3, 5, channels, channels + 1}, {2, 3, 5, channels, channels}, 1e-5,
            [&](const auto& from, const auto& to) { local_response_norm<T>(size, 0.5f, 0.75f, 1.5f, from, to, nullptr); },
            [&](const auto& from, const auto& to) { local_response_norm<float>(from, to, size, 0.5, 0.75, 1.5); });
  });
}

TEST(layer_norm_of_rows) {
  for_each_type([&]<class T>() {
    for (const index_t count : {1, 5, 33, 96, 264, 4104, 4099})
      for (const bool parameters : {false, true})
        for (const bool in_place : {false, true}) {
          const index_t rows = 11, x_stride = count + 8, y_stride = in_place ? x_stride : count;
          auto values = normal<T>(rows * x_stride);
          for (float& v : values) v = static_cast<float>(T(v + 20));  // a mean far from zero
          values[x_stride] = NAN;
          const auto weight = normal<float>(count, 2), bias = normal<float>(count, 3);
          const Array<T> x(values), y(rows * y_stride);
          const Array<float> w(weight), b(bias);
          layer_norm<T>(rows, count, x.data(), x_stride, parameters ? w.data() : nullptr, parameters ? b.data() : nullptr, 1e-3f,
                        in_place ? x.data() : y.data(), y_stride, nullptr);
          const auto result = in_place ? x.read() : y.read();
          for (index_t r = 0; r < rows; ++r) {
            const float* row = values.data() + r * x_stride;
            double mean = 0, variance = 0;
            for (index_t i = 0; i < count; ++i) mean += row[i] / double(count);
            for (index_t i = 0; i < count; ++i) variance += (row[i] - mean) * (row[i] - mean) / double(count);
            for (index_t i = 0; i < count; ++i) {
              double wanted = (row[i] - mean) / std::sqrt(variance + 1e-3f);
              if (parameters) wanted = wanted * weight[i] + bias[i];
              CHECK(close(result[r * y_stride + i], wanted, 1e-5 + kRounding<T>));
            }
          }
        }
  });
}

TEST(mean_and_softmax_along_any_axis) {
  struct Case {
    index_t outer, count, inner;
    bool inner_first = false;  // in memory: (outer, inner, count)
  };
  const Case cases[] = {{2, 49, 40},  {1, 3000, 8},  {3, 1, 5},        {3, 7, 1},           {1, 1000, 1},     {2, 300, 3},
                        {5, 9, 1040}, {2, 40, 6, true}, {2, 70, 1, true}, {1200, 65, 1, true}, {3, 100, 600}, {0, 4, 4}};
  for_each_type([&]<class T>() {
    for (const Case& c : cases)
      for (const bool gap : {false, true}) {
        Rows rows{c.outer, c.count, c.inner, c.count * c.inner, c.inner, 1};
        if (c.inner_first) rows.count_stride = 1, rows.inner_stride = c.count;
        if (gap) rows.outer_stride += 24;
        const index_t size = std::max<index_t>(1, c.outer) * rows.outer_stride;
        auto values = normal<T>(size);
        for (float& v : values) v = static_cast<float>(T(4 * v));
        if (c.count > 3 && c.outer > 0) values[rows.count_stride * 3] = NAN;
        const Array<T> x(values), y(c.outer * c.inner), p(size), q(size);
        mean(rows, x.data(), y.data(), nullptr);
        softmax(rows, false, x.data(), p.data(), nullptr);
        softmax(rows, true, x.data(), q.data(), nullptr);
        const auto means = y.read(), shares = p.read(), logs = q.read();
        for (index_t o = 0; o < c.outer; ++o)
          for (index_t i = 0; i < c.inner; ++i) {
            const index_t start = o * rows.outer_stride + i * rows.inner_stride;
            double sum = 0, top = -INFINITY, total = 0;
            for (index_t k = 0; k < c.count; ++k) {
              sum += values[start + k * rows.count_stride];
              top = std::max(top, double(values[start + k * rows.count_stride]));
            }
            for (index_t k = 0; k < c.count; ++k) total += std::exp(values[start + k * rows.count_stride] - top);
            CHECK(close(means[o * c.inner + i], sum / double(c.count), 1e-6 + kRounding<T>));
            for (index_t k = 0; k < c.count; ++k) {
              const index_t at = start + k * rows.count_stride;
              CHECK(close(shares[at], std::exp(values[at] - top) / total, 4e-6 + kRounding<T>));
              CHECK(close(logs[at], values[at] - top - std::log(total), 4e-6 + kRounding<T>));
            }
          }
        for (index_t i = 0; i < size; ++i)  // what lies between rows is left alone
          if (i % rows.outer_stride >= c.count * c.inner) CHECK(std::isnan(shares[i]) && std::isnan(logs[i]));
      }
  });
}

TEST(pad_modes) {
  using Sizes = std::vector<index_t>;
  struct Case {
    Sizes size, before, after;
  };
  const Case cases[] = {{{2, 5, 7, 8}, {0, 1, 2, 0}, {0, 3, 0, 0}},  {{2, 5, 7, 8}, {0, -1, 2, 0}, {0, 3, -2, 0}},
                        {{2, 5, 7, 3}, {0, 4, 6, 0}, {0, 4, 6, 0}},  {{3, 4}, {1, 3}, {2, -2}},
                        {{2, 3, 4, 16}, {0, 0, 0, 2}, {0, 0, 0, 0}}, {{4, 4}, {0, -4}, {0, 0}},
                        {{2, 3, 4, 8}, {0, 0, 0, 0}, {0, 0, 0, 0}}};
  for_each_type([&]<class T>() {
    for (const Case& c : cases)
      for (const PadMode mode : {PadMode::constant, PadMode::reflect, PadMode::replicate})
        for (const bool turned : {false, true}) {  // the last axis outermost in y's memory
          Sizes size = c.size;
          for (std::size_t d = 0; d < size.size(); ++d) size[d] += c.before[d] + c.after[d];
          Sizes stride = contiguous(size);
          if (turned) {
            for (std::size_t d = 0; d + 1 < size.size(); ++d) stride[d] /= std::max<index_t>(1, size.back());
            stride.back() = product(size) / std::max<index_t>(1, size.back());
          }
          const auto values = normal<T>(product(c.size));
          const Array<T> x(values), y(product(size));
          pad<T>(mode, 0.5f, c.before.data(), strided<const T>(x.data(), c.size, contiguous(c.size)),
                 strided(y.data(), size, stride), nullptr);
          const auto result = y.read();
          for_each_index(size, [&](const Sizes& i) {
            double wanted = 0.5;
            Sizes at = i;
            bool inside = true;
            for (std::size_t d = 0; d < at.size(); ++d) {
              const index_t last = c.size[d] - 1;
              at[d] -= c.before[d];
              inside = inside && at[d] >= 0 && at[d] <= last;
              if (mode == PadMode::reflect) at[d] = at[d] < 0 ? -at[d] : at[d] > last ? 2 * last - at[d] : at[d];
              if (mode == PadMode::replicate) at[d] = std::clamp<index_t>(at[d], 0, last);
            }
            if (inside || mode != PadMode::constant) wanted = values[dot(at, contiguous(c.size))];
            CHECK(close(result[dot(i, stride)], wanted, 0));
          });
        }
  });
}
