// The matrices of F(m x m, r x r): Y = A^T [(G g G^T) . (B^T d B)] A, by Cook-Toom interpolation
// (Winograd 1980; Lavin & Gray 2016, "Fast algorithms for convolutional neural networks"), computed
// by the compiler from the points alone.
#pragma once

namespace fastconv {

// Finite interpolation points beside 0, for an input tile of side N: pairs +-p. The last point is
// infinity. Those of N = 6 were chosen for the least growth of errors where one value of x
// outweighs all others: about a sixth of that of 0, +-1, +-2 (after Barabasz et al. 2020, "Error
// analysis and improving the accuracy of Winograd convolution").
template <int N>
struct WinogradPoints;
template <>
struct WinogradPoints<4> {
  static constexpr double pairs[] = {1.0};
};
template <>
struct WinogradPoints<6> {
  static constexpr double pairs[] = {3.0 / 4.0, 21.0 / 16.0};
};
template <>
struct WinogradPoints<8> {
  static constexpr double pairs[] = {1.0, 2.0, 1.0 / 2.0};
};

template <int M, int R = 3>
struct WinogradMatrices {
  static constexpr int N = M + R - 1;  // side of an input tile
  double at[M][N];                     // output transform
  double g[N][R];                      // weight transform
  double bt[N][N];                     // input transform
};

template <int M, int R = 3>
consteval WinogradMatrices<M, R> winograd_matrices() {
  constexpr int N = M + R - 1;
  WinogradMatrices<M, R> w{};
  double points[N - 1] = {};  // 0, p, -p, q, -q, ...
  for (int i = 0; i < N / 2 - 1; ++i) {
    points[2 * i + 1] = WinogradPoints<N>::pairs[i];
    points[2 * i + 2] = -WinogradPoints<N>::pairs[i];
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
    power = 1;
    for (int i = 0; i < R; ++i, power *= points[j]) w.g[j][i] = power / scale;
    product(j, w.bt[j]);
  }
  w.at[M - 1][N - 1] = 1;
  w.g[N - 1][R - 1] = 1;
  product(-1, w.bt[N - 1]);
  return w;
}

}  // namespace fastconv
