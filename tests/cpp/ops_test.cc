// Operators on the layouts of networks: each combination of NCHW and blocked views gives what NCHW
// gives, bit for bit.
#include "fastconv/ops.h"

#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "fastconv/cpu.h"
#include "fastconv/interpolation.h"
#include "fastconv/thread_pool.h"
#include "test.h"

using namespace fastconv;

namespace {

// A tensor of one of the layouts, full of NaN, which must then neither be read nor stay.
template <class T>
struct Tensor {
  std::vector<T> data;
  TensorView<T> view;

  Tensor(index_t n, index_t c, index_t h, index_t w, bool blocked) {
    const index_t block = blocked ? layout_lanes() : 1;
    data.assign(n * ceil_div(c, block) * block * h * w, T(NAN));
    view = blocked ? blocked_view(data.data(), n, c, h, w, block) : nchw_view(data.data(), n, c, h, w);
  }
  static index_t layout_lanes() {
    for (index_t lanes = 2;; lanes *= 2)
      if (lanes * static_cast<index_t>(sizeof(T)) == vector_bytes()) return lanes;
  }
  static index_t vector_bytes() {
    switch (active_isa()) {
      case Isa::avx512: return 64;
      case Isa::avx2: return 32;
      case Isa::baseline: break;
    }
    return 16;
  }
  T& at(index_t n, index_t c, index_t h, index_t w) const { return view.channel(n, c)[h * view.sh + w * view.sw]; }
};

template <class T>
void fill(const Tensor<T>& x) {
  std::mt19937 random(3);
  std::normal_distribution<T> normal;
  for (index_t n = 0; n < x.view.n; ++n)
    for (index_t c = 0; c < x.view.c; ++c)
      for (index_t h = 0; h < x.view.h; ++h)
        for (index_t w = 0; w < x.view.w; ++w) x.at(n, c, h, w) = normal(random);
}

template <class T>
bool same(const Tensor<T>& a, const Tensor<T>& b) {
  for (index_t n = 0; n < a.view.n; ++n)
    for (index_t c = 0; c < a.view.c; ++c)
      for (index_t h = 0; h < a.view.h; ++h)
        for (index_t w = 0; w < a.view.w; ++w)
          if (a.at(n, c, h, w) != b.at(n, c, h, w)) return false;
  return true;
}

template <class T>
using Op = std::function<void(const TensorView<const T>&, const TensorView<T>&)>;

// Runs `op` from and to every layout with several numbers of threads; `mixed`: x and y may have
// different layouts.
template <class T>
void check_layouts(const Op<T>& op, index_t out_h, index_t out_w, bool mixed = true, index_t h = 9, index_t w = 13) {
  for (const index_t c : {1, 3, 4, 8, 17, 40}) {
    Tensor<T> x(3, c, h, w, false), expected(3, c, out_h, out_w, false);
    fill(x);
    set_thread_override(1);
    op(x.view, expected.view);
    for (const int threads : {1, 2, 5})
      for (const bool x_blocked : {false, true})
        for (const bool y_blocked : {false, true}) {
          if (!mixed && x_blocked != y_blocked) continue;
          Tensor<T> from(3, c, h, w, x_blocked), y(3, c, out_h, out_w, y_blocked);
          fill(from);
          set_thread_override(threads);
          op(from.view, y.view);
          CHECK(same(y, expected));
        }
  }
  set_thread_override(0);
}

template <class T>
void check_all() {
  check_layouts<T>([](const auto& x, const auto& y) { copy<T>(x, y); }, 9, 13);
  const PoolGeometry pool = pool_geometry({9, 13}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, true);
  check_layouts<T>([&](const auto& x, const auto& y) { max_pool2d<T>(pool, x, y); }, pool.out_h, pool.out_w);
  check_layouts<T>([&](const auto& x, const auto& y) { avg_pool2d<T>(pool, x, y); }, pool.out_h, pool.out_w);
  const PoolGeometry adaptive = adaptive_pool_geometry({9, 13}, {4, 5});
  check_layouts<T>([&](const auto& x, const auto& y) { avg_pool2d<T>(adaptive, x, y); }, 4, 5);
  const InterpolationGeometry up = interpolation_geometry({9, 13}, {20, 21}, {.mode = Interpolation::Mode::bilinear});
  check_layouts<T>([&](const auto& x, const auto& y) { interpolate<T>(up, x, y); }, 20, 21);
  for (const bool antialias : {false, true})
    for (const std::array<index_t, 2> size : {std::array<index_t, 2>{20, 21}, {1, 40}, {4, 1}}) {
      const InterpolationGeometry g =
          interpolation_geometry({9, 13}, size, {.mode = Interpolation::Mode::bicubic, .antialias = antialias});
      check_layouts<T>([&](const auto& x, const auto& y) { interpolate<T>(g, x, y); }, size[0], size[1], false);
    }

  std::vector<T> a(40), b(40), s(40);
  for (int c = 0; c < 40; ++c) {
    a[c] = T(c) / 7;
    b[c] = 2 - T(c) / 9;
    s[c] = T(0.5) + T(c) / 11;
  }
  check_layouts<T>([&](const auto& x, const auto& y) { layer_norm_channels<T>(x, y, a.data(), b.data(), 1e-6); }, 9, 13);
  check_layouts<T>([&](const auto& x, const auto& y) { local_response_norm<T>(x, y, 5, 1e-2, 0.75, 1); }, 9, 13);
  for (const Activation activation : {Activation::none, Activation::relu6, Activation::silu})
    check_layouts<T>(
        [&](const auto& x, const auto& y) { affine<T>(x, y, a.data(), s.data(), b.data(), activation); }, 9, 13, false);
}

}  // namespace

TEST(operators_give_the_same_in_every_layout) {
  check_all<float>();
  check_all<double>();
}

TEST(global_avg_pool2d_takes_blocked_tensors) {
  for (const index_t c : {1, 3, 16, 17}) {
    Tensor<float> x(2, c, 5, 7, true), y(2, c, 1, 1, true), z(2, c, 1, 1, false);
    fill(x);
    global_avg_pool2d<float>(x.view, y.view);
    global_avg_pool2d<float>(x.view, z.view);
    CHECK(same(y, z));
    for (index_t n = 0; n < 2; ++n)
      for (index_t i = 0; i < c; ++i) {
        double sum = 0;
        for (index_t h = 0; h < 5; ++h)
          for (index_t w = 0; w < 7; ++w) sum += x.at(n, i, h, w);
        CHECK(std::fabs(y.at(n, i, 0, 0) - sum / 35) < 1e-7);
      }
  }
}

TEST(products_scale_blocked_channels) {
  const index_t lanes = Tensor<float>::layout_lanes();
  Tensor<float> x(2, 20, 3, 5, true), s(2, 20, 1, 1, true), y(2, 20, 3, 5, true);
  fill(x);
  fill(s);
  const index_t blocks = ceil_div(index_t{20}, lanes), pixels = 15;
  const Shape shape{2, blocks, pixels, lanes}, full{blocks * pixels * lanes, pixels * lanes, lanes, 1};
  const Shape strides[] = {full, {blocks * lanes, lanes, 0, 1}, full};
  void* const data[] = {x.data.data(), s.data.data(), y.data.data()};
  pointwise<float>(PointwiseProgram::of(Instruction::multiply), shape, strides)(data);
  for (index_t n = 0; n < 2; ++n)
    for (index_t c = 0; c < 20; ++c)
      for (index_t h = 0; h < 3; ++h)
        for (index_t w = 0; w < 5; ++w) CHECK(y.at(n, c, h, w) == x.at(n, c, h, w) * s.at(n, c, 0, 0));
}

TEST(nearest_indices_are_exact_beyond_the_integers_of_a_float) {
  const index_t most = index_t{1} << 40;
  for (const index_t i : {index_t{0}, index_t{7}, (index_t{1} << 24) + 1, (index_t{1} << 24) + 3, (index_t{1} << 31) + 5}) {
    CHECK(nearest_index(i, nearest_step(most, most, 0), most) == i);
    CHECK(nearest_index(i, nearest_step(most, 2 * most, 0), most) == i / 2);
    CHECK(nearest_index(i, nearest_step(4, 4, 0), 4) == std::min<index_t>(i, 3));
  }
  CHECK(nearest_index(2, nearest_step(8, 16, 1 / 2.086), 8) == 0);  // 2 / 2.086, though the sizes say 2 / 2
}

// i * size passes 64 bits.
TEST(adaptive_windows_of_huge_sizes) {
  const index_t size = index_t{1} << 60, count = 1 << 10;
  const PoolGeometry g = adaptive_pool_geometry({size, size - 1}, {count, count});
  CHECK(g.rows.back().begin == size - size / count && g.rows.back().end == size);
  CHECK(g.columns.back().end == size - 1 && g.columns[1].begin == size / count - 1);
}

TEST(local_response_norm_sums_the_channels_that_exist) {
  Tensor<float> x(1, 3, 4, 4, false), wide(1, 3, 4, 4, false), all(1, 3, 4, 4, false);
  fill(x);
  local_response_norm<float>(x.view, wide.view, index_t{1} << 62, std::ldexp(1.0, 62), 0.75, 1);
  local_response_norm<float>(x.view, all.view, 5, 5, 0.75, 1);
  CHECK(same(wide, all));
  CHECK_THROWS(local_response_norm<float>(x.view, all.view, 0, 1, 1, 1), std::invalid_argument);
}

TEST(geometries_refuse_what_has_no_meaning) {
  CHECK_THROWS(pool_geometry({8, 8}, {0, 2}, {1, 1}, {0, 0}, {1, 1}, false), std::invalid_argument);
  CHECK_THROWS(pool_geometry({8, 8}, {2, 2}, {0, 1}, {0, 0}, {1, 1}, false), std::invalid_argument);
  CHECK_THROWS(pool_geometry({8, 8}, {3, 3}, {1, 1}, {2, 1}, {1, 1}, false), std::invalid_argument);
  CHECK_THROWS(pool_geometry({8, 8}, {2, 2}, {1, 1}, {0, 0}, {index_t{1} << 50, 1}, false), std::invalid_argument);
  CHECK_THROWS(pool_geometry({2, 8}, {3, 3}, {1, 1}, {0, 0}, {1, 1}, false), std::invalid_argument);
  CHECK_THROWS(adaptive_pool_geometry({2, 8}, {-1, 3}), std::invalid_argument);
  CHECK_THROWS(interpolation_geometry({2, 8}, {0, 3}, {}), std::invalid_argument);
  for (const double step : {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS(interpolation_geometry({2, 8}, {2, 3}, {.scale = {step, 0}}), std::invalid_argument);
}
