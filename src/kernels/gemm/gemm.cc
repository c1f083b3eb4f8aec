// Register tiles: 14 rows x 2 vectors of 32 registers, or 6 x 2 (4 x 2 without FMA) of 16: enough
// independent chains to hide the latency of an FMA, and fewer loads than FMAs. As BLIS's
// micro-kernel, but with A by offsets instead of packed. A step of a small tile has few products,
// so that each instruction beside them costs time: addresses, what is decided for each sum,
// prefetches.
#include "kernels/gemm/gemm.h"

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

#if FASTCONV_VECTOR_BYTES == 64
constexpr int kMaxRows = 14;
#elif FASTCONV_VECTOR_BYTES == 32
constexpr int kMaxRows = 6;
#else
constexpr int kMaxRows = 4;  // without FMA a product needs a register of its own
#endif
constexpr int kMaxSingleRows = kMaxRows == 14 ? 14 : kMaxRows + 4;  // of tiles with one vector, which need as many chains

// Rows are addressed as a base pointer plus 0 to 3 strides, or to 5: x86 multiplies an index by 1,
// 2 or 4 in the address, so that two or three registers with strides serve all rows. Tiles of six
// rows take one base, which is one addition less a step; with larger ones the third stride would
// not find a register.
template <class T, int Rows, int Halves>
struct RowPointers {
  static constexpr int kRows = Rows == 5 || Rows == 6 ? 6 : 4, kGroups = (Rows + kRows - 1) / kRows;
  const char* base[Halves][kGroups];
  const ptrdiff_t half_stride;
  ptrdiff_t stride, stride3, stride5;

  explicit FASTCONV_MEMBER RowPointers(const GemmTile<T>& t)
      : half_stride(t.a_half_stride), stride(t.a_stride * ptrdiff_t(sizeof(T))), stride3(3 * stride), stride5(5 * stride) {
    if (kRows == 6) asm("" : "+r"(stride), "+r"(stride3), "+r"(stride5));  // or the compiler computes each row's address from a_stride
  }
  FASTCONV_MEMBER void start(const T* a) {
#pragma GCC unroll 2
    for (int h = 0; h < Halves; ++h)
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) base[h][g] = reinterpret_cast<const char*>(a + h * half_stride) + kRows * g * stride;
  }
  FASTCONV_MEMBER T at(int half, int row, ptrdiff_t k) const {
    const char* p = base[half][row / kRows];
    switch (row % kRows) {
      case 1: p += stride; break;
      case 2: p += 2 * stride; break;
      case 3: p += stride3; break;
      case 4: p += 4 * stride; break;
      case 5: p += stride5; break;
      default: break;
    }
    return reinterpret_cast<const T*>(p)[k];
  }
  FASTCONV_MEMBER void advance(ptrdiff_t k) {
#pragma GCC unroll 2
    for (int h = 0; h < Halves; ++h)
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) base[h][g] += k * ptrdiff_t(sizeof(T));
  }
};

template <class T, int Rows, int Halves, int Vectors>
struct Tile {
  static constexpr int L = lanes<T>;
  Vec<T> acc[Halves * Rows][Vectors];

  template <int Steps>
  FASTCONV_MEMBER void multiply(RowPointers<T, Rows, Halves>& a, const T*& b, index_t b_stride) {
#pragma GCC unroll 8
    for (int k = 0; k < Steps; ++k, b += b_stride) {
      Vec<T> bv[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) bv[v] = load(b + v * L);
#pragma GCC unroll 2
      for (int h = 0; h < Halves; ++h)
#pragma GCC unroll 14
        for (int r = 0; r < Rows; ++r) {
          const Vec<T> s = broadcast(a.at(h, r, k));
#pragma GCC unroll 2
          for (int v = 0; v < Vectors; ++v) {
            acc[h * Rows + r][v] += s * bv[v];
            keep_in_register(acc[h * Rows + r][v]);
          }
        }
      asm("" : "+r"(b));  // one addition a step: the compiler would keep multiples of b_stride on the stack
    }
    a.advance(Steps);
  }

  FASTCONV_MEMBER void multiply(const GemmTile<T>& t) {
    constexpr int kUnroll = 4;
    constexpr int kLine = 64 / sizeof(T);
    constexpr int kRead = kUnroll * Vectors * L / kLine;  // lines of B
    constexpr int kMost = Vectors == 1 ? kMaxSingleRows : kMaxRows;
    constexpr int kFetched = Halves * Rows <= kMost / 2 ? kRead : kRead > 2 ? kRead / 2 : 1;  // few rows: all that they read
    // Copies: the compiler would read t again after every product.
    const T* const first = t.a;
    const T* b = t.b;
    const T* next = t.prefetch;
    const index_t b_stride = t.b_stride;
    const index_t* offset = t.offsets;
    RowPointers<T, Rows, Halves> a(t);
    index_t runs = t.runs, run = t.run;
    for (int part = 0; part < 2; ++part, runs = t.tail_runs, run = t.tail_run)
      for (; runs > 0; --runs, ++offset) {
        a.start(first + *offset);
        index_t k = run;
        for (; k >= kUnroll; k -= kUnroll) {
#pragma GCC unroll 8
          for (int i = 0; i < kFetched; ++i) __builtin_prefetch(next + i * kLine);
          next += kFetched * kLine;
          multiply<kUnroll>(a, b, b_stride);
        }
        for (; k > 0; --k) multiply<1>(a, b, b_stride);
      }
  }

  static void run(const GemmTile<T>& t) {
    Tile tile;
#pragma GCC unroll 14
    for (int r = 0; r < Halves * Rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) tile.acc[r][v] = Vec<T>{};
    tile.multiply(t);
    tile.finish(t);
  }

  // f(sum, where it belongs in C, row, vector) for each sum: what is done to all of them is decided
  // once.
  template <class F>
  FASTCONV_MEMBER void for_each(const GemmTile<T>& t, F f) {
    const index_t half_stride = t.c_half_stride, row_stride = t.c_stride, vector_stride = t.c_vector_stride;
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v)
#pragma GCC unroll 2
      for (int h = 0; h < Halves; ++h)
#pragma GCC unroll 14
        for (int r = 0; r < Rows; ++r) {
          f(acc[h * Rows + r][v], h * half_stride + r * row_stride + v * vector_stride, h * Rows + r, v);
          keep_in_register(acc[h * Rows + r][v]);
        }
  }

  FASTCONV_MEMBER void finish(const GemmTile<T>& t) {
    T* const c = t.c;
    if (t.accumulate) for_each(t, [&](Vec<T>& sum, index_t at, int, int) { sum += load(c + at); });
    if (t.finish) {
      const T* const bias = t.bias;
      const T* const residual = t.residual;
      if (t.bias_of_rows) for_each(t, [&](Vec<T>& sum, index_t, int row, int) { sum += broadcast(bias[row]); });
      else for_each(t, [&](Vec<T>& sum, index_t, int, int v) { sum += load(bias + v * L); });
      if (residual) for_each(t, [&](Vec<T>& sum, index_t at, int, int) { sum += load(residual + at); });
      const Vec<T> low = broadcast(t.low), high = broadcast(t.high);
      for_each(t, [&](Vec<T>& sum, index_t, int, int) { sum = at_most(at_least(sum, low), high); });
    }
    for_each(t, [&](Vec<T>& sum, index_t at, int, int) { store(c + at, sum); });
  }
};

template <class T, int Panels>
void multiply_panels(const GemmTile<T>& t) {
  constexpr int L = lanes<T>, kUnroll = 4, kLine = 64 / sizeof(T);
  constexpr ptrdiff_t kAhead = 1024 / sizeof(T);  // elements; hides the latency of memory
  Vec<T> acc[Panels][2];
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) acc[p][0] = acc[p][1] = Vec<T>{};
  const T* b = t.b;
  const auto step = [&](const T* x) __attribute__((always_inline)) {
    const Vec<T> s = broadcast(*x);
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        acc[p][v] += s * load(b + p * t.panel_stride + v * L);
        keep_in_register(acc[p][v]);
      }
    b += 2 * L;
  };
  for (index_t r = 0; r < t.runs + t.tail_runs; ++r) {
    const T* x = t.a + t.offsets[r];
    index_t k = r < t.runs ? t.run : t.tail_run;
    for (; k >= kUnroll; k -= kUnroll, x += kUnroll) {
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p)
#pragma GCC unroll 8
        for (int i = 0; i < kUnroll * 2 * L / kLine; ++i) __builtin_prefetch(b + p * t.panel_stride + kAhead + i * kLine);
#pragma GCC unroll 4
      for (int i = 0; i < kUnroll; ++i) step(x + i);
    }
    for (; k > 0; --k, ++x) step(x);
  }
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      const index_t at = (2 * p + v) * t.c_vector_stride;
      Vec<T> c = acc[p][v];
      if (t.accumulate) c += load(t.c + at);
      if (t.finish) {
        c += load(t.bias + (2 * p + v) * L);
        if (t.residual) c += load(t.residual + at);
        c = at_most(at_least(c, broadcast(t.low)), broadcast(t.high));
      }
      store(t.c + at, c);
    }
}

// Each lane sums a part of the products, two vectors at a time; long ones in parts, which bounds
// their rounding error.
template <class T, int Rows>
FASTCONV_INLINE void dot_rows(const MatrixVector<T>& m, index_t row) {
  constexpr int L = lanes<T>;
  constexpr index_t kPart = 128 * 2 * L;
  const T* a = m.a + row * m.a_stride;
  Vec<T> total[Rows];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) total[r] = Vec<T>{};
  for (index_t k = 0; k < m.k;) {
    const index_t end = m.k - k < kPart ? m.k : k + kPart;
    Vec<T> sum[Rows][2];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = Vec<T>{};
    for (; k + 2 * L <= end; k += 2 * L) {
      const Vec<T> x0 = load(m.x + k), x1 = load(m.x + k + L);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) {
        sum[r][0] += load(a + r * m.a_stride + k) * x0;
        sum[r][1] += load(a + r * m.a_stride + k + L) * x1;
      }
    }
    for (; k < end; k += L) {
      const int n = end - k < L ? int(end - k) : L;
      const Vec<T> x = load_partial(m.x + k, n);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) sum[r][0] += load_partial(a + r * m.a_stride + k, n) * x;
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) total[r] += sum[r][0] + sum[r][1];
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    T sum = 0;
    for (int i = 0; i < L; ++i) sum += total[r][i];
    m.c[(row + r) * m.c_stride] = sum;
  }
}

template <class T>
void matrix_vector(const MatrixVector<T>& m) {
  index_t row = 0;
  for (; row + 4 <= m.rows; row += 4) dot_rows<T, 4>(m, row);
  for (; row < m.rows; ++row) dot_rows<T, 1>(m, row);
}

template <class T, int Halves, int Vectors, int Rows>
constexpr void fill_rows(GemmKernels<T>& k) {
  if constexpr (Rows > 0) {
    k.tile[Halves - 1][Rows - 1][Vectors - 1] = Tile<T, Rows, Halves, Vectors>::run;
    fill_rows<T, Halves, Vectors, Rows - 1>(k);
  }
}

template <class T>
constexpr GemmKernels<T> make_table() {
  GemmKernels<T> k{};
  k.max_rows = kMaxRows;
  k.max_single_rows = kMaxSingleRows;
  fill_rows<T, 1, 1, kMaxSingleRows>(k);
  fill_rows<T, 1, 2, kMaxRows>(k);
  fill_rows<T, 2, 1, kMaxSingleRows / 2>(k);
  fill_rows<T, 2, 2, kMaxRows / 2>(k);
  k.panels[0] = multiply_panels<T, 1>;
  k.panels[1] = multiply_panels<T, 2>;
  k.panels[2] = multiply_panels<T, 3>;
  k.panels[3] = multiply_panels<T, 4>;
  k.matrix_vector = matrix_vector<T>;
  return k;
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(GemmKernels, gemm_kernels, make_table<T>())
