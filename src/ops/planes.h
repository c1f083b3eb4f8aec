// Runs kernels that work on one channel block at a time on tensors of any layout: what is NCHW is
// packed into scratch, a band of output rows at a time, and unpacked from it.
#pragma once

#include <algorithm>
#include <stdexcept>

#include "fastconv/memory.h"
#include "fastconv/tensor.h"
#include "fastconv/thread_pool.h"
#include "kernels/layout/layout.h"
#include "ops/ranges.h"

namespace fastconv {

template <class T>
void check_layout(const TensorView<T>& view, const char* name) {
  const index_t lanes = layout_kernels<std::remove_const_t<T>>().lanes;
  if ((view.block != 1 && (view.block != lanes || view.sw != lanes)) || view.lane != 0)
    throw std::logic_error(std::string(name) + ": unexpected layout");
}

struct Rows {
  index_t begin, end;
};

// For bands of output rows of every channel block calls
//   kernel(x, x_row, y, y_row, rows)
// where x is input row 0 (of which only the rows input_rows(rows) are there) and y the output row
// rows.begin.
template <class T, class InputRows, class Kernel>
void for_each_block(const TensorView<const T>& x, const TensorView<T>& y, InputRows&& input_rows, Kernel&& kernel) {
  check_layout(x, "x");
  check_layout(y, "out");
  if (y.n == 0 || y.c == 0 || y.h == 0 || y.w == 0) return;
  const LayoutKernels<T>& layout = layout_kernels<T>();
  const index_t lanes = layout.lanes;
  // Planes are independent: blocks of NCHW tensors may span images where one stride leads through
  // all of them.
  const bool merged = x.block == 1 && y.block == 1 &&
                      (x.n == 1 || x.c == 1 || (x.sn == x.c * x.sb && y.sn == y.c * y.sb));
  const index_t x_plane = x.n > 1 && x.c == 1 ? x.sn : x.sb, y_plane = y.n > 1 && y.c == 1 ? y.sn : y.sb;
  const index_t batches = merged ? 1 : x.n, planes = merged ? x.n * x.c : x.c, groups = ceil_div(planes, lanes);
  // A band's input and output stay in the second-level cache.
  const index_t row_elements = (x.w * ceil_div(x.h, y.h) + y.w) * lanes;
  const index_t band = std::clamp<index_t>(kRangeElements * 2 / row_elements, 1, y.h), bands = ceil_div(y.h, band);
  const auto body = [&](TaskQueue& queue) {
    index_t most_rows = 0;
    for (index_t b = 0; b < bands; ++b) {
      const Rows in = input_rows(Rows{b * band, std::min(y.h, (b + 1) * band)});
      most_rows = std::max(most_rows, in.end - in.begin);
    }
    Scratch packed_x(x.block == 1 ? most_rows * x.w * lanes * sizeof(T) : 0);
    Scratch packed_y(y.block == 1 ? band * y.w * lanes * sizeof(T) : 0);
    for (std::int64_t begin, end; queue.next(begin, end);)
      for (std::int64_t task = begin; task < end; ++task) {
        const index_t n = task / (groups * bands), group = task / bands % groups, b = task % bands;
        const int count = static_cast<int>(std::min(lanes, planes - group * lanes));
        const Rows rows{b * band, std::min(y.h, (b + 1) * band)};
        const T* from;
        index_t from_row = x.sh;
        if (x.block == 1) {
          const Rows in = input_rows(rows);
          from_row = x.w * lanes;
          layout.pack(x.data + n * x.sn + group * lanes * x_plane + in.begin * x.sh, x_plane, count, in.end - in.begin, x.w, x.sh,
                      x.sw, packed_x.as<T>(), from_row);
          from = packed_x.as<T>() - in.begin * from_row;
        } else {
          from = x.data + n * x.sn + group * x.sb;
        }
        if (y.block == 1) {
          T* to = packed_y.as<T>();
          kernel(from, from_row, to, y.w * lanes, rows);
          layout.unpack(to, y.w * lanes, count, rows.end - rows.begin, y.w,
                        y.data + n * y.sn + group * lanes * y_plane + rows.begin * y.sh, y_plane, y.sh, y.sw);
        } else {
          kernel(from, from_row, y.data + n * y.sn + group * y.sb + rows.begin * y.sh, y.sh, rows);
        }
      }
  };
  const index_t tasks = batches * groups * bands;
  const index_t work = row_elements * y.h / std::max<index_t>(1, bands);  // elements a task
  parallel(tasks, body, tasks * work <= kRangeElements ? tasks : grain_of(work));
}

}  // namespace fastconv
