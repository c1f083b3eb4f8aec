#include "ops/filter.h"

#include <stdexcept>

#include "kernels/interpolate/interpolate.h"
#include "ops/planes.h"

namespace fastconv {
namespace {

// Both run a row of the output at a time: first the rows of x that it takes become one line of x's
// width, then the columns of that line.

template <class T>
void filter_blocks(const InterpolationFilter& rows, const InterpolationFilter& columns, const TensorView<const T>& x,
                   const TensorView<T>& y) {
  const InterpolateKernels<T>& kernels = interpolate_kernels<T>();
  const index_t width = x.w * x.block, groups = ceil_div(x.c, x.block), lines = x.n * groups * y.h;
  parallel(
      lines,
      [&](TaskQueue& queue) {
        Scratch line(width * sizeof(T));
        for (std::int64_t begin, end; queue.next(begin, end);)
          for (std::int64_t task = begin; task < end; ++task) {
            const index_t n = task / (groups * y.h), group = task / y.h % groups, i = task % y.h;
            const index_t first = rows.begins[i];
            kernels.filter_rows(x.data + n * x.sn + group * x.sb, x.sh, rows.taps.data() + first,
                                rows.begins[i + 1] - first, line.as<T>(), width);
            kernels.filter_columns(line.as<T>(), columns.begins.data(), columns.taps.data(),
                                   y.data + n * y.sn + group * y.sb + i * y.sh, y.w);
          }
      },
      grain_of(width + y.w * y.block));
}

// The lanes of a vector are rows of the output: as many as follow one another by one stride. x has
// neighbouring columns.
template <class T>
void filter_planes(const InterpolationFilter& rows, const InterpolationFilter& columns, const TensorView<const T>& x,
                   const TensorView<T>& y) {
  const InterpolateKernels<T>& kernels = interpolate_kernels<T>();
  const LayoutKernels<T>& layout = layout_kernels<T>();
  const index_t lanes = layout.lanes, planes = y.n * y.c, plane = y.n > 1 && y.c == 1 ? y.sn : y.sb;
  const index_t step = y.h > 1 ? y.sh : plane;
  const bool merged = (y.n == 1 || y.c == 1 || y.sn == y.c * y.sb) && (y.h == 1 || planes == 1 || plane == y.h * y.sh);
  const index_t runs = merged ? 1 : planes, length = planes * y.h / runs, groups = ceil_div(length, lanes);
  parallel(
      runs * groups,
      [&](TaskQueue& queue) {
        Scratch lines(std::min(lanes, length) * x.w * sizeof(T)), packed_x(x.w * lanes * sizeof(T)),
            packed_y(y.w * lanes * sizeof(T));
        for (std::int64_t begin, end; queue.next(begin, end);)
          for (std::int64_t task = begin; task < end; ++task) {
            const index_t from = task / groups * length + task % groups * lanes;
            const int count = static_cast<int>(std::min(lanes, (task / groups + 1) * length - from));
            for (int k = 0; k < count; ++k) {
              const index_t c = (from + k) / y.h, i = (from + k) % y.h, first = rows.begins[i];
              kernels.filter_rows(x.data + c / x.c * x.sn + c % x.c * x.sb, x.sh, rows.taps.data() + first,
                                  rows.begins[i + 1] - first, lines.as<T>() + k * x.w, x.w);
            }
            layout.pack(lines.as<T>(), x.w, count, 1, x.w, x.w, 1, packed_x.as<T>(), x.w * lanes);
            kernels.filter_columns(packed_x.as<T>(), columns.begins.data(), columns.taps.data(), packed_y.as<T>(), y.w);
            const index_t c = from / y.h;
            layout.unpack(packed_y.as<T>(), y.w * lanes, count, 1, y.w,
                          y.data + c / y.c * y.sn + c % y.c * y.sb + from % y.h * y.sh, step, y.w, y.sw);
          }
      },
      grain_of((x.w + y.w) * lanes));
}

}  // namespace

template <class T>
void filter(const InterpolationFilter& rows, const InterpolationFilter& columns, const TensorView<const T>& x,
            const TensorView<T>& y) {
  check_layout(x, "x");
  check_layout(y, "out");
  if (x.block != y.block) throw std::logic_error("interpolate: x and out have different layouts");
  if (y.n == 0 || y.c == 0) return;
  if (x.block > 1) return filter_blocks(rows, columns, x, y);
  if (x.w == 1 || x.sw == 1) return filter_planes(rows, columns, x, y);
  Scratch memory(checked_size({x.n, x.c, x.h, x.w}, sizeof(T)) * sizeof(T));
  const TensorView<T> neighbours = nchw_view(memory.as<T>(), x.n, x.c, x.h, x.w);
  copy<T>(x, neighbours);
  filter_planes<T>(rows, columns, neighbours, y);
}

template void filter<float>(const InterpolationFilter&, const InterpolationFilter&, const TensorView<const float>&,
                            const TensorView<float>&);
template void filter<double>(const InterpolationFilter&, const InterpolationFilter&, const TensorView<const double>&,
                             const TensorView<double>&);

}  // namespace fastconv
