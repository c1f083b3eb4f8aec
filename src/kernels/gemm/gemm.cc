// Register tiles: 14 rows x 2 vectors of 32 registers, or 6 x 2 (4 x 2 without FMA) of 16: enough independent chains to hide the latency of
// an FMA, and fewer loads than FMAs. As BLIS's micro-kernel, but with A by offsets instead of packed.
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

// Rows are addressed as one of four base pointers plus 0, 1, 2 or 3 strides: x86 has that as an addressing mode, and the
// compiler need not keep a pointer for each row.
template <class T, int Rows, int Halves>
struct RowPointers {
  static constexpr int kGroups = (Rows + 3) / 4;
  const char* base[Halves][kGroups];
  ptrdiff_t stride, stride3;

  __attribute__((always_inline)) RowPointers(const T* a, const GemmTile<T>& t)
      : stride(t.a_stride * ptrdiff_t(sizeof(T))), stride3(3 * stride) {
#pragma GCC unroll 2
    for (int h = 0; h < Halves; ++h)
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g)
        base[h][g] = reinterpret_cast<const char*>(a + h * t.a_half_stride) + 4 * g * stride;
  }
  __attribute__((always_inline)) T at(int half, int row, ptrdiff_t k) const {
    const char* p = base[half][row / 4];
    switch (row % 4) {
      case 1: p += stride; break;
      case 2: p += 2 * stride; break;
      case 3: p += stride3; break;
      default: break;
    }
    return reinterpret_cast<const T*>(p)[k];
  }
  __attribute__((always_inline)) void advance(ptrdiff_t k) {
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
  __attribute__((always_inline)) void multiply(const RowPointers<T, Rows, Halves>& a, const T* b, index_t b_stride) {
#pragma GCC unroll 8
    for (int k = 0; k < Steps; ++k) {
      Vec<T> bv[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) bv[v] = load(b + k * b_stride + v * L);
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
    }
  }

  __attribute__((always_inline)) void multiply(const GemmTile<T>& t) {
    constexpr int kUnroll = 4;
    constexpr int kLine = 64 / sizeof(T);
    constexpr int kFetched = Halves * Rows <= kMaxRows / 2 ? kUnroll * Vectors * L / kLine : 4;  // few rows: all that they read
    const T* b = t.b;
    const index_t* offset = t.offsets;
    const T* next = t.prefetch;
    index_t run = t.run;
    for (index_t runs = t.runs, tail = t.tail_runs; runs + tail > 0; --runs, ++offset) {
      if (runs == 0) {
        runs = tail;
        run = t.tail_run;
        tail = 0;
      }
      RowPointers<T, Rows, Halves> a(t.a + *offset, t);
      index_t k = run;
      for (; k >= kUnroll; k -= kUnroll) {
#pragma GCC unroll 8
        for (int i = 0; i < kFetched; ++i) __builtin_prefetch(next + i * kLine);
        next += kFetched * kLine;
        multiply<kUnroll>(a, b, t.b_stride);
        a.advance(kUnroll);
        b += kUnroll * t.b_stride;
      }
      for (; k > 0; --k) {
        multiply<1>(a, b, t.b_stride);
        a.advance(1);
        b += t.b_stride;
      }
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

  __attribute__((always_inline)) void finish(const GemmTile<T>& t) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      const Vec<T> bias = t.finish && !t.bias_of_rows ? load(t.bias + v * L) : Vec<T>{};
      const Vec<T> low = broadcast(t.low), high = broadcast(t.high);
#pragma GCC unroll 2
      for (int h = 0; h < Halves; ++h)
#pragma GCC unroll 14
        for (int r = 0; r < Rows; ++r) {
          const index_t at = h * t.c_half_stride + r * t.c_stride + v * t.c_vector_stride;
          Vec<T> c = acc[h * Rows + r][v];
          if (t.accumulate) c += load(t.c + at);
          if (t.finish) {
            c += t.bias_of_rows ? broadcast(t.bias[h * Rows + r]) : bias;
            if (t.residual) c += load(t.residual + at);
            c = at_most(at_least(c, low), high);
          }
          store(t.c + at, c);
        }
    }
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

// Each lane sums a part of the products, two vectors at a time.
template <class T, int Rows>
FASTCONV_INLINE void dot_rows(const MatrixVector<T>& m, index_t row) {
  constexpr int L = lanes<T>;
  const T* a = m.a + row * m.a_stride;
  Vec<T> sum[Rows][2];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = Vec<T>{};
  index_t k = 0;
  for (; k + 2 * L <= m.k; k += 2 * L) {
    const Vec<T> x0 = load(m.x + k), x1 = load(m.x + k + L);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      sum[r][0] += load(a + r * m.a_stride + k) * x0;
      sum[r][1] += load(a + r * m.a_stride + k + L) * x1;
    }
  }
  for (; k < m.k; k += L) {
    const int n = m.k - k < L ? int(m.k - k) : L;
    const Vec<T> x = load_partial(m.x + k, n);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) sum[r][0] += load_partial(a + r * m.a_stride + k, n) * x;
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    const Vec<T> v = sum[r][0] + sum[r][1];
    T total = 0;
    for (int i = 0; i < L; ++i) total += v[i];
    m.c[(row + r) * m.c_stride] = total;
  }
}

template <class T>
void matrix_vector(const MatrixVector<T>& m) {
  index_t row = 0;
  for (; row + 4 <= m.rows; row += 4) dot_rows<T, 4>(m, row);
  for (; row < m.rows; ++row) dot_rows<T, 1>(m, row);
}

template <class T, int Halves, int Rows>
constexpr void fill_rows(GemmKernels<T>& k) {
  if constexpr (Rows > 0) {
    k.tile[Halves - 1][Rows - 1][0] = Tile<T, Rows, Halves, 1>::run;
    k.tile[Halves - 1][Rows - 1][1] = Tile<T, Rows, Halves, 2>::run;
    fill_rows<T, Halves, Rows - 1>(k);
  }
}

template <class T>
constexpr GemmKernels<T> make_table() {
  GemmKernels<T> k{};
  k.max_rows = kMaxRows;
  fill_rows<T, 1, kMaxRows>(k);
  fill_rows<T, 2, kMaxRows / 2>(k);
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
