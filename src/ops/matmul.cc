// Products of matrices by the register tiles of src/kernels/gemm: rows of a are broadcast, b is
// packed in panels of two vectors of columns. The blocks are those of Goto and van de Geijn 2008,
// "Anatomy of high-performance matrix multiplication": a block of b's panels, and beside it one of
// a's rows with theirs of c, stay in L2, a part of a panel in L1. Each sum goes over k in its
// order, in parts of kReductionPart products, so that no block and no thread changes its bits. A
// single row is summed otherwise where that is faster.
#include <algorithm>
#include <utility>

#include "conv/band.h"
#include "fastconv/cpu.h"
#include "fastconv/ops.h"
#include "fastconv/thread_pool.h"
#include "kernels/gemm/gemm.h"
#include "kernels/pack/pack.h"

namespace fastconv {
namespace {

constexpr index_t kWorthTask = 1 << 17;         // products
constexpr index_t kDepth = 4 * kReductionPart;  // of a block
constexpr index_t kDepthOfRow = 16;             // where a has one row: so many rows of b are read side by side

// Batches of rows at one distance, all times the same b, are rows of one product; a product with a
// single column is one with a single row.
template <class T>
MatmulGeometry simplified(MatmulGeometry g, const T*& a, const T*& b) {
  if (g.k == 1) g.a.column = 1;  // that of a size of 1 may be anything
  while (!g.batch.empty()) {
    const index_t count = g.batch.back(), stride = g.a.batch.back();
    const bool joins = g.b.batch.back() == 0 && (g.m == 1 || stride == g.m * g.a.row);
    if (count != 1 && !joins) break;
    if (count != 1) {
      if (g.m == 1) g.a.row = stride;
      g.m *= count;
    }
    g.batch.pop_back();
    g.a.batch.pop_back();
    g.b.batch.pop_back();
  }
  if (g.n == 1 && g.m > 1) {
    std::swap(a, b);
    std::swap(g.m, g.n);
    std::swap(g.a, g.b);
    std::swap(g.a.row, g.a.column);
    std::swap(g.b.row, g.b.column);
  }
  return g;
}

template <class T>
class Product {
 public:
  Product(MatmulGeometry geometry, const T* a, const T* b, T* c, bool exact)
      : g_(simplified(std::move(geometry), a, b)),
        a_(a),
        b_(b),
        c_(c),
        lanes_(pack_kernels<T>().lanes),
        width_(GemmKernels<T>::kMaxVectors * lanes_),
        exact_(exact),
        depth_(std::min(g_.k, g_.m == 1 && !exact ? kDepthOfRow : kDepth)),
        dots_(g_.m == 1 && g_.b.row == 1 && !exact),
        packs_a_(g_.a.column != 1),
        packs_b_(g_.b.column != 1 || (g_.m > gemm_kernels<T>().max_rows && !lies_in_l1(g_))),
        most_rows_(one_set() ? std::max<index_t>(static_cast<index_t>(cache_sizes().l1d) / kPage - 1, 4) : g_.m),
        fetches_c_(checked_size(g_.batch) * g_.m * g_.n * static_cast<index_t>(sizeof(T)) > static_cast<index_t>(cache_sizes().l2 / 4)) {
    const auto cached = static_cast<index_t>(cache_sizes().l2 / sizeof(T));
    columns_ = std::clamp(cached / 2 / depth_ / width_ * width_, width_, ceil_div(g_.n, width_) * width_);
    const index_t rows = cached / 4 / (depth_ + std::min(columns_, g_.n));
    rows_ = std::min(g_.m, std::max<index_t>(rows, gemm_kernels<T>().max_rows));
  }

  void run() {
    const index_t batches = checked_size(g_.batch);
    // Enough tasks for all threads: the longer side is divided. Each task packs what it needs.
    const double products = double(g_.m) * double(g_.n) * double(g_.k);
    const auto most = static_cast<double>(ceil_div(index_t{2} * num_threads(), batches));
    const index_t wanted = num_threads() == 1 ? 1 : static_cast<index_t>(std::min(most, products / kWorthTask));
    while (row_parts_ * column_parts_ < wanted) {
      const index_t rows = g_.m / row_parts_, columns = g_.n / column_parts_;
      if (rows >= columns && rows >= 2 * gemm_kernels<T>().max_rows)
        row_parts_ *= 2;
      else if (columns >= 2 * width_)
        column_parts_ *= 2;
      else
        break;
    }
    const index_t parts = row_parts_ * column_parts_;
    parallel(
        batches * parts,
        [&](TaskQueue& queue) {
          const FlushDenormals flush(!exact_);
          const Scratch scratch(scratch_bytes());
          for (index_t begin, end; queue.next(begin, end);)
            for (index_t task = begin; task < end; ++task) this->task(task, scratch.as<T>());
        },
        std::max<index_t>(1, static_cast<index_t>(kWorthTask * double(parts) / products)));
  }

 private:
  static constexpr index_t kPage = 4096;            // the bytes that a way of the L1 cache has, usually
  static constexpr index_t kLine = 64 / sizeof(T);  // of the cache

  struct Range {
    index_t begin, end;
    index_t size() const { return end - begin; }
  };

  // Whether b, as it lies, fits into half of the L1 cache: no need to bring it closer together.
  static bool lies_in_l1(const MatmulGeometry& g) {
    return g.b.row >= g.n && g.k * g.b.row * static_cast<index_t>(sizeof(T)) <= static_cast<index_t>(cache_sizes().l1d / 2);
  }

  // Whether rows of a, read where they are, fall into one set of the L1 cache.
  bool one_set() const { return !packs_a_ && g_.a.row * static_cast<index_t>(sizeof(T)) % kPage == 0; }

  index_t panels_size() const { return columns_ * depth_; }
  index_t packed_rows_size() const { return ceil_div(depth_, lanes_) * lanes_ * rows_; }
  std::size_t scratch_bytes() const {
    const index_t size = dots_ ? g_.k : panels_size() + (packs_a_ ? packed_rows_size() : 0) + rows_ * width_;
    return static_cast<std::size_t>(size) * sizeof(T);
  }

  void task(index_t task, T* scratch) const {
    const index_t parts = row_parts_ * column_parts_, part = task % parts;
    const index_t row = part / column_parts_, column = part % column_parts_, panels = ceil_div(g_.n, width_);
    const Range m{row * g_.m / row_parts_, (row + 1) * g_.m / row_parts_};
    const Range n{column * panels / column_parts_ * width_, std::min(g_.n, (column + 1) * panels / column_parts_ * width_)};
    const T *a = a_, *b = b_;
    index_t batch = task / parts;
    T* c = c_ + batch * g_.m * g_.n;
    for (std::size_t axis = g_.batch.size(); axis-- > 0; batch /= g_.batch[axis]) {
      a += batch % g_.batch[axis] * g_.a.batch[axis];
      b += batch % g_.batch[axis] * g_.b.batch[axis];
    }
    if (dots_) return dots(a, b, c, n, scratch);
    for (Range columns{n.begin, 0}; columns.begin < n.end; columns.begin = columns.end) {
      columns.end = std::min(columns.begin + columns_, n.end);
      for (Range k{0, 0}; k.begin < g_.k; k.begin = k.end) {
        k.end = std::min(k.begin + depth_, g_.k);
        block(a, b, c, m, columns, k, scratch);
      }
    }
  }

  // A row times a matrix whose columns lie along k.
  void dots(const T* a, const T* b, T* c, Range n, T* row) const {
    if (g_.a.column != 1) {
      for (index_t k = 0; k < g_.k; ++k) row[k] = a[k * g_.a.column];
      a = row;
    }
    gemm_kernels<T>().matrix_vector({b + n.begin * g_.b.column, g_.b.column, n.size(), g_.k, a, c + n.begin, 1});
  }

  void block(const T* a, const T* b, T* c, Range m, Range n, Range k, T* scratch) const {
    T *panels = scratch, *sums = panels + panels_size(), *packed_rows = sums + rows_ * width_;
    const auto packs = [&](index_t columns) { return packs_b_ || columns % lanes_ != 0; };
    for (index_t column = n.begin; column < n.end; column += width_)
      if (const index_t columns = std::min(width_, n.end - column); packs(columns))
        pack_panel(b, k, column, columns, panels + (column - n.begin) * k.size());
    index_t offsets[kReductionPart];
    for (Range rows{m.begin, 0}; rows.begin < m.end; rows.begin = rows.end) {
      rows.end = std::min(rows.begin + rows_, m.end);
      GemmTile<T> tile{};
      tile.a = a + rows.begin * g_.a.row + k.begin;
      tile.a_stride = g_.a.row;
      if (packs_a_) {
        pack_rows(a, rows, k, packed_rows);
        tile.a = packed_rows;
        tile.a_stride = lanes_;
      }
      tile.c_vector_stride = lanes_;
      for (index_t column = n.begin; column < n.end; column += width_) {
        const index_t columns = std::min(width_, n.end - column);
        const int vectors = columns > lanes_ ? 2 : 1;
        T* const to = c + rows.begin * g_.n + column;
        const bool whole = columns == vectors * lanes_;
        tile.c = whole ? to : sums;
        tile.c_stride = whole ? g_.n : width_;
        if (!whole && k.begin > 0) copy_rows(to, g_.n, sums, width_, rows.size(), columns);
        tile.b = panels + (column - n.begin) * k.size();
        tile.b_stride = vectors * lanes_;
        if (!packs(columns)) {
          tile.b = b + k.begin * g_.b.row + column;
          tile.b_stride = g_.b.row;
        }
        for (index_t first = 0; first < k.size(); first += kReductionPart) {
          const index_t count = std::min(kReductionPart, k.size() - first);
          tile.accumulate = k.begin + first > 0;
          set_runs(tile, offsets, first, count, rows.size());
          sweep(tile, rows.size(), vectors);
          tile.b += count * tile.b_stride;
        }
        if (!whole) copy_rows(sums, width_, to, g_.n, rows.size(), columns);
      }
    }
  }

  // Columns of b as [k][vectors], zero beyond the last.
  void pack_panel(const T* b, Range k, index_t column, index_t columns, T* to) const {
    const index_t stride = columns > lanes_ ? width_ : lanes_;
    if (columns % lanes_ != 0) std::fill_n(to, k.size() * stride, T(0));
    for (index_t i = 0; i < columns; i += lanes_)
      pack_kernels<T>().pack(b + k.begin * g_.b.row + (column + i) * g_.b.column, g_.b.column, g_.b.row, std::min(lanes_, columns - i),
                             k.size(), to + i, stride);
  }

  // Rows of a as [block of k][row][lanes].
  void pack_rows(const T* a, Range rows, Range k, T* to) const {
    for (index_t i = k.begin; i < k.end; i += lanes_, to += rows.size() * lanes_)
      pack_kernels<T>().pack(a + rows.begin * g_.a.row + i * g_.a.column, g_.a.column, g_.a.row, std::min(lanes_, k.end - i),
                             rows.size(), to, lanes_);
  }

  // The products [first, first + count) of a block.
  void set_runs(GemmTile<T>& tile, index_t* offsets, index_t first, index_t count, index_t rows) const {
    tile.run = packs_a_ ? lanes_ : count;
    tile.runs = count / tile.run;
    tile.tail_run = count % tile.run;
    tile.tail_runs = tile.tail_run > 0;
    tile.offsets = offsets;
    for (index_t i = 0; i < tile.runs + tile.tail_runs; ++i) offsets[i] = packs_a_ ? (first + i * lanes_) * rows : first;
  }

  // All rows of a block times a panel.
  void sweep(GemmTile<T> tile, index_t rows, int vectors) const {
    const GemmKernels<T>& kernels = gemm_kernels<T>();
    const index_t tiles = ceil_div(rows, std::min<index_t>(vectors == 1 ? kernels.max_single_rows : kernels.max_rows, most_rows_));
    const T* const a = tile.a;
    T* const c = tile.c;
    tile.prefetch = tile.b;
    for (index_t i = 0; i < tiles; ++i) {
      const index_t begin = i * rows / tiles, end = (i + 1) * rows / tiles;
      tile.a = a + begin * tile.a_stride;
      tile.c = c + begin * tile.c_stride;
      if (!tile.accumulate && fetches_c_)  // the hardware does not foresee where the next rows are
        for (index_t row = 0; row < end - begin; ++row)  // the panel before has written to the line of the first element
          for (index_t at = vectors * tile.c_vector_stride; at > 0; at -= kLine)
            fetch_to_write(tile.c + row * tile.c_stride + at - 1);
      kernels.tile[0][end - begin - 1][vectors - 1](tile);
    }
  }

  static void copy_rows(const T* from, index_t from_stride, T* to, index_t to_stride, index_t rows, index_t columns) {
    for (index_t row = 0; row < rows; ++row) std::copy_n(from + row * from_stride, columns, to + row * to_stride);
  }

  const MatmulGeometry g_;
  const T *const a_, *const b_;
  T* const c_;
  const index_t lanes_, width_;  // of a vector, of a panel
  const bool exact_;
  const index_t depth_;           // of a block
  const bool dots_;               // each sum is one of the kernel matrix_vector
  const bool packs_a_, packs_b_;  // else they are read where they are
  const index_t most_rows_;       // of a tile: of those that share a set one less than it has ways, as b passes by
  const bool fetches_c_;          // of a large c, before it is written to
  index_t columns_, rows_;        // of a block
  index_t row_parts_ = 1, column_parts_ = 1;
};

}  // namespace

MatmulGeometry matmul_geometry(const Shape& a, const Shape& a_strides, const Shape& b, const Shape& b_strides, Shape y) {
  MatmulGeometry g;
  g.k = a.back();
  g.m = a.size() == 1 ? 1 : a[a.size() - 2];
  g.n = b.size() == 1 ? 1 : b.back();
  g.batch = std::move(y);
  g.batch.resize(g.batch.size() - (a.size() > 1) - (b.size() > 1));
  g.a.column = a_strides.back();
  if (a.size() > 1) g.a.row = a_strides[a.size() - 2];
  g.b.row = b.size() == 1 ? b_strides[0] : b_strides[b.size() - 2];
  if (b.size() > 1) g.b.column = b_strides.back();
  const auto batch_strides = [&](const Shape& shape, const Shape& strides, Shape& to) {
    to.assign(g.batch.size(), 0);
    for (std::size_t i = 3; i <= shape.size(); ++i)
      if (shape[shape.size() - i] != 1) to[to.size() + 2 - i] = strides[shape.size() - i];
  };
  batch_strides(a, a_strides, g.a.batch);
  batch_strides(b, b_strides, g.b.batch);
  return g;
}

template <class T>
void matmul(MatmulGeometry g, const T* a, const T* b, T* c, bool exact) {
  const index_t size = checked_size(g.batch) * g.m * g.n;
  if (size == 0) return;
  if (g.k == 0) {
    std::fill_n(c, size, T(0));
    return;
  }
  Product<T>(std::move(g), a, b, c, exact).run();
}

template void matmul<float>(MatmulGeometry, const float*, const float*, float*, bool);
template void matmul<double>(MatmulGeometry, const double*, const double*, double*, bool);

}  // namespace fastconv
