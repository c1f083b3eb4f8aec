#include "kernels/winograd/winograd.h"

#include "kernels/winograd/matrices.h"
#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

template <int M, int R>
constexpr WinogradMatrices<M, R> kMatrices = winograd_matrices<M, R>();

// sum of c[i] * x[i] over i = First, First + Step, ..., leaving out what the compiler knows to be
// zero.
template <class T, int First, int Step, int N>
FASTCONV_INLINE Vec<T> dot(const double (&c)[N], const Vec<T> (&x)[N]) {
  Vec<T> sum{};
  bool empty = true;
#pragma GCC unroll 8
  for (int i = First; i < N; i += Step) {
    if (c[i] == 0) continue;
    const Vec<T> term = c[i] == 1 ? x[i] : c[i] == -1 ? -x[i] : x[i] * T(c[i]);
    sum = empty ? term : sum + term;
    empty = false;
  }
  return sum;
}

// y = B^T x. The rows of p and -p have the same even coefficients and opposite odd ones.
template <class T, int M, int R>
FASTCONV_INLINE void input_transform(const Vec<T> (&x)[M + R - 1], Vec<T> (&y)[M + R - 1]) {
  constexpr int N = M + R - 1;
  constexpr auto& bt = kMatrices<M, R>.bt;
  y[0] = dot<T, 0, 1>(bt[0], x);
  y[N - 1] = dot<T, 0, 1>(bt[N - 1], x);
#pragma GCC unroll 8
  for (int i = 1; i < N - 1; i += 2) {
    const Vec<T> even = dot<T, 0, 2>(bt[i], x), odd = dot<T, 1, 2>(bt[i], x);
    // Row i + 1 has the signs of its odd or of its even part turned round.
    y[i] = even + odd;
    y[i + 1] = bt[i + 1][2] == bt[i][2] && bt[i + 1][1] == -bt[i][1] ? even - odd : odd - even;
  }
}

// y = A^T x, with the columns of p and -p joined.
template <class T, int M, int R>
FASTCONV_INLINE void output_transform(const Vec<T> (&x)[M + R - 1], Vec<T> (&y)[M]) {
  constexpr int N = M + R - 1, kPairs = N / 2 - 1;
  constexpr auto& at = kMatrices<M, R>.at;
  Vec<T> sum[kPairs], difference[kPairs];
#pragma GCC unroll 8
  for (int j = 0; j < kPairs; ++j) {
    sum[j] = x[2 * j + 1] + x[2 * j + 2];
    difference[j] = x[2 * j + 1] - x[2 * j + 2];
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
    Vec<T> v = i == 0 ? x[0] : i == M - 1 ? x[N - 1] : Vec<T>{};
#pragma GCC unroll 8
    for (int j = 0; j < kPairs; ++j) {
      const Vec<T>& part = i % 2 ? difference[j] : sum[j];
      const double c = at[i][2 * j + 1];
      v = c == 1 ? v + part : v + part * T(c);
    }
    y[i] = v;
  }
}

template <class T, int M, int R>
void input(const WinogradInput<T>& w) {
  constexpr int N = M + R - 1, L = lanes<T>;
  const index_t columns = M * w.tiles + R - 1, strip_row = columns * L;
  for (index_t c = 0; c < columns; ++c) {
    Vec<T> x[N], y[N];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) x[i] = load(w.x + i * w.x_row_stride + c * L);
    input_transform<T, M, R>(x, y);
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) store(w.strip + i * strip_row + c * L, y[i]);
  }
  for (int i = 0; i < N; ++i)
    for (index_t t = 0; t < w.tiles; ++t) {
      Vec<T> x[N], y[N];
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) x[j] = load(w.strip + i * strip_row + (M * t + j) * L);
      input_transform<T, M, R>(x, y);
      T* v = w.v + t * w.v_tile_stride + i * N * w.v_xi_stride;
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) store(v + j * w.v_xi_stride, y[j]);
    }
}

template <class T, int M, int R>
void output(const WinogradOutput<T>& w) {
  constexpr int N = M + R - 1, L = lanes<T>;
  for (index_t t = 0; t < w.tiles; ++t) {
    const T* m = w.m + t * w.m_tile_stride;
    Vec<T> rows[M][N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      Vec<T> x[N], y[M];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) x[i] = load(m + (i * N + j) * w.m_xi_stride);
      output_transform<T, M, R>(x, y);
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) rows[i][j] = y[i];
    }
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      Vec<T> y[M];
      output_transform<T, M, R>(rows[i], y);
#pragma GCC unroll 8
      for (int j = 0; j < M; ++j) store(w.y + i * w.y_row_stride + (M * t + j) * L, y[j]);
    }
  }
}

// As many elements of T as a vector has doubles.
template <class T>
struct NarrowTypes {
  typedef T type __attribute__((vector_size(lanes<double> * sizeof(T))));
  typedef T unaligned __attribute__((vector_size(lanes<double> * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <class T>
FASTCONV_INLINE Vec<double> load_as_double(const T* p) {
  return __builtin_convertvector(*reinterpret_cast<const typename NarrowTypes<T>::unaligned*>(p), Vec<double>);
}
template <class T>
FASTCONV_INLINE void store_from_double(T* p, Vec<double> v) {
  *reinterpret_cast<typename NarrowTypes<T>::unaligned*>(p) = __builtin_convertvector(v, typename NarrowTypes<T>::type);
}

template <class T, int M, int R>
void weight(const WinogradWeight<T>& w) {
  constexpr int N = M + R - 1, L = lanes<T>, D = lanes<double>;
  constexpr auto& g = kMatrices<M, R>.g;
  const auto transform = [](const Vec<double> (&x)[R], int i) __attribute__((always_inline)) {
    Vec<double> sum = x[0] * g[i][0];
#pragma GCC unroll 3
    for (int k = 1; k < R; ++k) sum = sum + x[k] * g[i][k];
    return sum;
  };
  for (int half = 0; half < L; half += D) {
    Vec<double> rows[N][R];
#pragma GCC unroll 3
    for (int j = 0; j < R; ++j) {
      Vec<double> x[R];
#pragma GCC unroll 3
      for (int i = 0; i < R; ++i) x[i] = load_as_double(w.weight + (R * i + j) * L + half);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) rows[i][j] = transform(x, i);
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) store_from_double(w.u + (i * N + j) * w.u_xi_stride + half, transform(rows[i], j));
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(WinogradKernels, winograd_kernels,
                        {{input<T, 2, 3>, input<T, 4, 3>, input<T, 6, 3>, input<T, 3, 2>},
                         {output<T, 2, 3>, output<T, 4, 3>, output<T, 6, 3>, output<T, 3, 2>},
                         {weight<T, 2, 3>, weight<T, 4, 3>, weight<T, 6, 3>, weight<T, 3, 2>}})
