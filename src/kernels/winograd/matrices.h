// The matrices of F(m x m, 3 x 3): Y = A^T [(G g G^T) . (B^T d B)] A, by Cook-Toom interpolation (Winograd 1980; Lavin &
// Gray 2016, "Fast algorithms for convolutional neural networks"), computed by the compiler from the points alone.
#pragma once

namespace fastconv {

// Finite interpolation points beside 0: pairs +-p. The last point is infinity. Those of F(4) were chosen for the least growth of
// errors where one value of x outweighs all others: about a sixth of that of 0, +-1, +-2 (after Barabasz et al. 2020, "Error
// analysis and improving the accuracy of Winograd convolution").
template <int M>
struct WinogradPoints;
template <>
struct WinogradPoints<2> {
  static constexpr double pairs[] = {1.0};
};
template <>
struct WinogradPoints<4> {
  static constexpr double pairs[] = {3.0 / 4.0, 21.0 / 16.0};
};
template <>
struct WinogradPoints<6> {
  static constexpr double pairs[] = {1.0, 2.0, 1.0 / 2.0};
};

template <int M>
struct WinogradMatrices {
  static constexpr int N = M + 2;  // side of an input tile
  double at[M][N];                 // output transform
  double g[N][3];                  // weight transform
  double bt[N][N];                 // input transform
};

template <int M>
consteval WinogradMatrices<M> winograd_matrices() {
  constexpr int N = M + 2;
  WinogradMatrices<M> w{};
  double points[N - 1] = {};  // 0, p, -p, q, -q, ...
  for (int i = 0; i < M / 2; ++i) {
    points[2 * i + 1] = WinogradPoints<M>::pairs[i];
    points[2 * i + 2] = -WinogradPoints<M>::pairs[i];
  }
  // Coefficients of the product of (x - p) over all finite points but `skipped`.
  const auto product = [&](int skipped, double (&row)[N]) {
    for (double& c : row) c = 0;
    row[0] = 1;
    for (int k = 0, degree = 0; k < N - 1; ++k) {
      if (k == skipped) continue;
      ++degree;
      for (int c = degree; c >= 0; --c) row[c] = (c ? row[c - 1] : 0) - points[k] * row[c];
    }
  };
  for (int j = 0; j < N - 1; ++j) {
    double scale = 1, power = 1;
    for (int k = 0; k < N - 1; ++k)
      if (k != j) scale *= points[j] - points[k];
    for (int i = 0; i < M; ++i, power *= points[j]) w.at[i][j] = power;
    w.g[j][0] = 1 / scale;
    w.g[j][1] = points[j] / scale;
    w.g[j][2] = points[j] * points[j] / scale;
    product(j, w.bt[j]);
  }
  w.at[M - 1][N - 1] = 1;
  w.g[N - 1][2] = 1;
  product(-1, w.bt[N - 1]);
  return w;
}

}  // namespace fastconv
