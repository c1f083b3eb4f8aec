// The arithmetic kernels under the convolutions, for every instruction set that this CPU has,
// against plain loops.
#include <cmath>
#include <limits>

#include "kernels.h"
#include "kernels/winograd/matrices.h"
#include "random.h"
#include "test.h"

using namespace fastconv;

namespace {

// With `panels` of two vectors each instead of a tile where that is not 0.
template <class T>
void check_gemm_tile(const Kernels<T>& kernels, int halves, int rows, int vectors, int panels, Random& random) {
  const index_t width = vectors * kernels.lanes, run = random.between(1, 9), tail_run = random.between(1, 5);
  GemmTile<T> tile{};
  tile.runs = random.between(0, 3);
  tile.run = run;
  tile.tail_runs = random.between(tile.runs == 0 ? 1 : 0, 2);
  tile.tail_run = tail_run;
  std::vector<index_t> offsets;
  for (index_t i = 0; i < tile.runs + tile.tail_runs; ++i) offsets.push_back(random.below(30));
  tile.offsets = offsets.data();
  tile.a_stride = random.between(1, 20);
  tile.a_half_stride = random.between(0, 200);
  const auto a = random.integers<T>(tile.a_half_stride + rows * tile.a_stride + 30 + 9);
  tile.a = a.data();
  const index_t k_total = tile.runs * run + tile.tail_runs * tail_run;
  const index_t panel = panels ? 2 * kernels.lanes : width;
  tile.b_stride = panels ? panel : width + random.below(3);
  tile.panel_stride = k_total * tile.b_stride + random.below(9);
  const auto b = random.integers<T>(std::max(panels, 1) * tile.panel_stride + panel);
  tile.b = b.data();

  tile.c_vector_stride = random.coin() ? kernels.lanes : 1000;
  tile.c_stride = random.coin() ? 2 * kernels.lanes : 3 * kernels.lanes + 1;
  tile.c_half_stride = rows * tile.c_stride + 5;
  const index_t c_size = 8 * 1000 + 2 * tile.c_half_stride + 4 * kernels.lanes;
  auto c = random.integers<T>(c_size);
  const auto residual = random.integers<T>(c_size);
  tile.accumulate = random.coin();
  tile.finish = random.coin();
  tile.bias_of_rows = !panels && random.coin();
  const auto bias = random.integers<T>(std::max<index_t>(width, halves * rows));
  tile.bias = bias.data();
  tile.residual = random.coin() ? residual.data() : nullptr;
  constexpr T inf = std::numeric_limits<T>::infinity();
  tile.low = random.coin() ? T(0) : -inf;
  tile.high = random.coin() ? T(6) : inf;

  auto expected = c;
  for (int h = 0; h < halves; ++h)
    for (int r = 0; r < rows; ++r)
      for (index_t j = 0; j < width; ++j) {
        const index_t at = h * tile.c_half_stride + r * tile.c_stride + j / kernels.lanes * tile.c_vector_stride + j % kernels.lanes;
        T sum = tile.accumulate ? c[at] : T(0);
        index_t k = 0;
        for (index_t i = 0; i < static_cast<index_t>(offsets.size()); ++i)
          for (index_t s = 0; s < (i < tile.runs ? run : tail_run); ++s, ++k)
            sum += a[h * tile.a_half_stride + r * tile.a_stride + offsets[i] + s] * b[j / panel * tile.panel_stride + k * tile.b_stride + j % panel];
        if (tile.finish) {
          sum += bias[tile.bias_of_rows ? h * rows + r : j];
          if (tile.residual) sum += residual[at];
          sum = clamp(sum, tile.low, tile.high);
        }
        expected[at] = sum;
      }
  tile.c = c.data();
  (panels ? kernels.gemm.panels[panels - 1] : kernels.gemm.tile[halves - 1][rows - 1][vectors - 1])(tile);
  CHECK(c == expected);  // all of it: nothing beside the tile was written
}

}  // namespace

TEST(gemm_tiles_of_every_size_equal_plain_loops) {
  Random random(1);
  for_each_isa([&](const auto& kernels) {
    CHECK(kernels.gemm.max_rows >= 2);
    for (int halves = 1; halves <= 2; ++halves)
      for (int vectors = 1; vectors <= 2; ++vectors)
        for (int rows = 1; rows <= (vectors == 1 ? kernels.gemm.max_single_rows : kernels.gemm.max_rows) / halves; ++rows)
          for (int repeat = 0; repeat < 8; ++repeat) check_gemm_tile(kernels, halves, rows, vectors, 0, random);
  });
}

TEST(gemm_panels_equal_plain_loops) {
  Random random(2);
  for_each_isa([&]<class T>(const Kernels<T>& kernels) {
    for (int panels = 1; panels <= GemmKernels<T>::kMaxPanels; ++panels)
      for (int repeat = 0; repeat < 8; ++repeat) check_gemm_tile(kernels, 1, 1, 2 * panels, panels, random);
  });
}

TEST(matrix_vector_equals_plain_loops) {
  Random random(7);
  for_each_isa([&]<class T>(const Kernels<T>& kernels) {
    for (int repeat = 0; repeat < 300; ++repeat) {
      const index_t rows = random.between(1, 9), k = random.between(1, 70), a_stride = k + random.below(3), c_stride = random.between(1, 4);
      const auto a = random.integers<T>((rows - 1) * a_stride + k), x = random.integers<T>(k);
      auto c = random.integers<T>((rows - 1) * c_stride + 1);
      auto expected = c;
      for (index_t r = 0; r < rows; ++r) {
        T sum = 0;
        for (index_t i = 0; i < k; ++i) sum += a[r * a_stride + i] * x[i];
        expected[r * c_stride] = sum;
      }
      kernels.gemm.matrix_vector({a.data(), a_stride, rows, k, x.data(), c.data(), c_stride});
      CHECK(c == expected);
    }
  });
}

namespace {

template <int M, int R>
void check_winograd_identity(Random& random) {
  constexpr WinogradMatrices<M, R> w = winograd_matrices<M, R>();
  constexpr int N = M + R - 1;
  double d[N][N], g[R][R], u[N][N] = {}, v[N][N] = {};
  for (auto& row : d)
    for (double& value : row) value = double(random.between(-100, 100)) / 16;
  for (auto& row : g)
    for (double& value : row) value = double(random.between(-100, 100)) / 16;
  for (int i = 0; i < N; ++i)
    for (int j = 0; j < N; ++j) {
      for (int a = 0; a < R; ++a)
        for (int b = 0; b < R; ++b) u[i][j] += w.g[i][a] * g[a][b] * w.g[j][b];
      for (int a = 0; a < N; ++a)
        for (int b = 0; b < N; ++b) v[i][j] += w.bt[i][a] * d[a][b] * w.bt[j][b];
    }
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < M; ++j) {
      double y = 0, exact = 0;
      for (int a = 0; a < N; ++a)
        for (int b = 0; b < N; ++b) y += w.at[i][a] * u[a][b] * v[a][b] * w.at[j][b];
      for (int a = 0; a < R; ++a)
        for (int b = 0; b < R; ++b) exact += d[i + a][j + b] * g[a][b];
      CHECK(std::abs(y - exact) < 1e-10);
    }
}

template <int M, int R, class T>
void check_winograd_kernels(const Kernels<T>& kernels, Random& random) {
  constexpr WinogradMatrices<M, R> w = winograd_matrices<M, R>();
  constexpr int N = M + R - 1, kernel = R == 2 ? WinogradKernels<T>::k2x2 : M / 2 - 1;
  const index_t L = kernels.lanes, tiles = random.between(1, 5), columns = M * tiles + R - 1;
  const double tolerance = 2000 * std::numeric_limits<T>::epsilon();
  {
    const auto x = random.integers<T>(N * columns * L);
    std::vector<T> strip(static_cast<std::size_t>(N * columns * L));
    const index_t xi_stride = tiles * L + L;
    std::vector<T> v(static_cast<std::size_t>(N * N * xi_stride));
    kernels.winograd.input[kernel]({x.data(), columns * L, tiles, strip.data(), v.data(), xi_stride, L});
    for (index_t t = 0; t < tiles; ++t)
      for (int i = 0; i < N; ++i)
        for (int j = 0; j < N; ++j)
          for (index_t lane = 0; lane < L; ++lane) {
            double exact = 0;
            for (int a = 0; a < N; ++a)
              for (int b = 0; b < N; ++b) exact += w.bt[i][a] * w.bt[j][b] * double(x[(a * columns + M * t + b) * L + lane]);
            CHECK(std::abs(double(v[(i * N + j) * xi_stride + t * L + lane]) - exact) < tolerance);
          }
  }
  {
    const index_t xi_stride = tiles * 2 * L + 3;
    const auto m = random.integers<T>(N * N * xi_stride);
    std::vector<T> y(static_cast<std::size_t>(M * M * tiles * L));
    kernels.winograd.output[kernel]({m.data(), xi_stride, 2 * L, tiles, y.data(), M * tiles * L});
    for (index_t t = 0; t < tiles; ++t)
      for (int i = 0; i < M; ++i)
        for (int j = 0; j < M; ++j)
          for (index_t lane = 0; lane < L; ++lane) {
            double exact = 0, size = 1;
            for (int a = 0; a < N; ++a)
              for (int b = 0; b < N; ++b) {
                const double term = w.at[i][a] * w.at[j][b] * double(m[(a * N + b) * xi_stride + t * 2 * L + lane]);
                exact += term;
                size += std::abs(term);
              }
            const double got = double(y[(i * M * tiles + M * t + j) * L + lane]);
            CHECK(std::abs(got - exact) < 20 * std::numeric_limits<T>::epsilon() * size);
          }
  }
  {
    const auto weight = random.integers<T>(R * R * L);
    const index_t xi_stride = 2 * L;
    std::vector<T> u(static_cast<std::size_t>(N * N * xi_stride));
    kernels.winograd.weight[kernel]({weight.data(), u.data(), xi_stride});
    for (int i = 0; i < N; ++i)
      for (int j = 0; j < N; ++j)
        for (index_t lane = 0; lane < L; ++lane) {
          double exact = 0;
          for (int a = 0; a < R; ++a)
            for (int b = 0; b < R; ++b) exact += w.g[i][a] * w.g[j][b] * double(weight[(a * R + b) * L + lane]);
          CHECK(std::abs(double(u[(i * N + j) * xi_stride + lane]) - exact) <= std::numeric_limits<T>::epsilon() * 100);
        }
  }
}

}  // namespace

TEST(winograd_matrices_compute_the_correlation) {
  Random random(4);
  for (int repeat = 0; repeat < 50; ++repeat) {
    check_winograd_identity<2, 3>(random);
    check_winograd_identity<4, 3>(random);
    check_winograd_identity<6, 3>(random);
    check_winograd_identity<3, 2>(random);
  }
}

TEST(winograd_kernels_apply_the_matrices) {
  Random random(5);
  for_each_isa([&](const auto& kernels) {
    for (int repeat = 0; repeat < 5; ++repeat) {
      check_winograd_kernels<2, 3>(kernels, random);
      check_winograd_kernels<4, 3>(kernels, random);
      check_winograd_kernels<6, 3>(kernels, random);
      check_winograd_kernels<3, 2>(kernels, random);
    }
  });
}

TEST(depthwise_kernel_equals_plain_loops) {
  Random random(6);
  for_each_isa([&]<class T>(const Kernels<T>& kernels) {
    const index_t L = kernels.lanes;
    for (int repeat = 0; repeat < 300; ++repeat) {
      DepthwiseBand<T> d{};
      d.rows = random.between(1, 4);
      d.columns = random.between(1, 40);
      d.kernel_h = random.between(1, 7);
      d.kernel_w = random.between(1, 7);
      d.stride_h = random.between(1, 3);
      d.stride_w = random.between(1, 3);
      d.dilation_h = random.between(1, 2);
      d.dilation_w = random.between(1, 2);
      d.x_rows = (d.rows - 1) * d.stride_h + (d.kernel_h - 1) * d.dilation_h + 1;
      d.x_columns = (d.columns - 1) * d.stride_w + (d.kernel_w - 1) * d.dilation_w + 1;
      if (depthwise_skips_outside(d.kernel_w, d.stride_w, d.dilation_w) && random.coin()) {
        d.x_rows = random.between(1, d.x_rows + 3);
        d.x_columns = random.between(1, d.x_columns + 3);
        d.top = random.between(-3, 9);
        d.left = random.between(-3, 9);
      }
      d.x_row_stride = d.x_columns * L;
      d.y_column_stride = L * random.between(1, 2);
      d.y_row_stride = d.columns * d.y_column_stride + L;
      const auto x = random.integers<T>(d.x_rows * d.x_row_stride), weights = random.integers<T>(d.kernel_h * d.kernel_w * L);
      const auto bias = random.integers<T>(L), residual = random.integers<T>(d.rows * d.y_row_stride);
      auto y = random.integers<T>(d.rows * d.y_row_stride);
      d.x = x.data();
      d.weights = weights.data();
      d.bias = bias.data();
      d.residual = random.coin() ? residual.data() : nullptr;
      d.low = random.coin() ? T(0) : -std::numeric_limits<T>::infinity();
      d.high = random.coin() ? T(6) : std::numeric_limits<T>::infinity();
      auto expected = y;
      for (index_t r = 0; r < d.rows; ++r)
        for (index_t c = 0; c < d.columns; ++c)
          for (index_t lane = 0; lane < L; ++lane) {
            const index_t at = r * d.y_row_stride + c * d.y_column_stride + lane;
            T sum = bias[lane] + (d.residual ? residual[at] : T(0));
            for (index_t ky = 0; ky < d.kernel_h; ++ky)
              for (index_t kx = 0; kx < d.kernel_w; ++kx) {
                const index_t row = r * d.stride_h + ky * d.dilation_h - d.top, column = c * d.stride_w + kx * d.dilation_w - d.left;
                if (row >= 0 && row < d.x_rows && column >= 0 && column < d.x_columns)
                  sum += weights[(ky * d.kernel_w + kx) * L + lane] * x[row * d.x_row_stride + column * L + lane];
              }
            expected[at] = clamp(sum, d.low, d.high);
          }
      d.y = y.data();
      kernels.depthwise.run(d);
      CHECK(y == expected);
    }
  });
}

TEST(grouped_kernel_equals_plain_loops) {
  Random random(7);
  for_each_isa([&]<class T>(const Kernels<T>& kernels) {
    const index_t L = kernels.lanes;
    for (int repeat = 0; repeat < 300; ++repeat) {
      GroupedBand<T> d{};
      d.rows = random.between(1, 4);
      d.columns = random.between(1, 40);
      d.kernel_h = random.between(1, 4);
      d.kernel_w = random.coin() ? 3 : random.between(1, 7);
      d.stride_h = random.between(1, 3);
      d.stride_w = random.between(1, 3);
      d.dilation_h = random.between(1, 2);
      d.dilation_w = random.coin() ? 1 : 2;
      if (d.kernel_w == 3 && d.stride_w < 3 && d.dilation_w == 1) {
        d.zero_left = random.coin();
        d.zero_right = random.coin();
      }
      d.inputs = random.between(1, 9);
      d.width = random.between(1, std::min(d.inputs, L));
      const index_t in_rows = (d.rows - 1) * d.stride_h + (d.kernel_h - 1) * d.dilation_h + 1;
      const index_t in_columns = (d.columns - 1) * d.stride_w + (d.kernel_w - 1) * d.dilation_w + 1;
      const index_t parts = (d.inputs + d.width - 1) / d.width;
      d.top = random.below(3);
      d.bottom = in_rows - random.below(3);
      d.x_row_stride = in_columns * L + random.below(2);
      d.x_part_stride = in_rows * d.x_row_stride + random.below(2);
      d.y_column_stride = L * random.between(1, 2);
      d.y_row_stride = d.columns * d.y_column_stride + L;
      std::vector<std::int32_t> first(static_cast<std::size_t>(L));
      for (std::int32_t& lane : first) lane = static_cast<std::int32_t>(random.below(L - d.width + 1));
      const auto x = random.integers<T>(parts * d.x_part_stride), bias = random.integers<T>(L);
      const auto weights = random.integers<T>(d.inputs * d.kernel_h * d.kernel_w * L);
      const auto residual = random.integers<T>(d.rows * d.y_row_stride);
      auto y = random.integers<T>(d.rows * d.y_row_stride);
      d.x = x.data();
      d.first = first.data();
      d.weights = weights.data();
      d.bias = bias.data();
      d.residual = random.coin() ? residual.data() : nullptr;
      d.low = random.coin() ? T(0) : -std::numeric_limits<T>::infinity();
      d.high = random.coin() ? T(6) : std::numeric_limits<T>::infinity();
      auto expected = y;
      for (index_t r = 0; r < d.rows; ++r)
        for (index_t c = 0; c < d.columns; ++c)
          for (index_t lane = 0; lane < L; ++lane) {
            const index_t at = r * d.y_row_stride + c * d.y_column_stride + lane;
            T sum = bias[lane] + (d.residual ? residual[at] : T(0));
            const T* weight = weights.data() + lane;
            for (index_t part = 0; part < parts; ++part)
              for (index_t ky = 0; ky < d.kernel_h; ++ky)
                for (index_t i = 0; i < std::min(d.width, d.inputs - part * d.width); ++i)
                  for (index_t kx = 0; kx < d.kernel_w; ++kx, weight += L) {
                    const index_t row = r * d.stride_h + ky * d.dilation_h, column = c * d.stride_w + kx * d.dilation_w;
                    if (row < d.top || row >= d.bottom) continue;
                    if ((d.zero_left && column == 0) || (d.zero_right && column == in_columns - 1)) continue;
                    sum += *weight * x[part * d.x_part_stride + row * d.x_row_stride + column * L + first[lane] + i];
                  }
            expected[at] = clamp(sum, d.low, d.high);
          }
      d.y = y.data();
      kernels.grouped.run(d);
      CHECK(y == expected);
    }
  });
}
