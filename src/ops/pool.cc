#include "kernels/pool/pool.h"

#include "fastconv/error.h"
#include "fastconv/ops.h"
#include "ops/planes.h"

namespace fastconv {
namespace {

struct PooledAxis {
  const char* name;  // of the size, for messages
  index_t size, kernel, stride, padding, dilation;
};

std::array<PooledAxis, 2> axes(std::array<index_t, 2> size, std::array<index_t, 2> kernel_size, std::array<index_t, 2> stride,
                         std::array<index_t, 2> padding, std::array<index_t, 2> dilation) {
  return {PooledAxis{"height", size[0], kernel_size[0], stride[0], padding[0], dilation[0]},
          PooledAxis{"width", size[1], kernel_size[1], stride[1], padding[1], dilation[1]}};
}

// torch's rule: with ceil_mode windows may start inside the padded input's last columns, but not in
// the padding after it.
index_t pooled_size(const PooledAxis& a, bool ceil_mode) {
  const index_t reach = a.dilation * (a.kernel - 1) + 1, free = a.size + 2 * a.padding - reach;
  if (free < 0 && !(ceil_mode && -free < a.stride && a.size > 0))
    fail("the window does not fit into x: it covers ", reach, " in ", a.name, ", but the padded x has ",
         a.size + 2 * a.padding, ": use a smaller kernel_size or a larger x");
  index_t size = (free < 0 ? 0 : ceil_mode ? ceil_div(free, a.stride) : free / a.stride) + 1;
  if (ceil_mode && (size - 1) * a.stride >= a.size + a.padding) --size;
  if (size < 1) fail("the output would have no ", a.name, ": x has ", a.size, ", the window covers ", reach);
  return size;
}

std::vector<PoolWindow> windows(const PooledAxis& a, index_t count, bool count_include_pad) {
  std::vector<PoolWindow> result(count);
  for (index_t i = 0; i < count; ++i) {
    index_t begin = i * a.stride - a.padding;
    const index_t end = begin + a.dilation * (a.kernel - 1) + 1;
    const index_t padded = std::min(end, a.size + a.padding) - begin;
    if (begin < 0) begin += ceil_div(-begin, a.dilation) * a.dilation;
    const index_t clipped = std::min(end, a.size);
    result[i] = {begin, clipped, count_include_pad ? padded : clipped - begin};
  }
  return result;
}

std::vector<PoolWindow> adaptive_windows(index_t size, index_t count) {
  std::vector<PoolWindow> result(count);
  if (count == 0) return result;
  const index_t whole = size / count, rest = size % count;  // i * size might overflow
  for (index_t i = 0; i < count; ++i) {
    const index_t begin = i * whole + i * rest / count, end = (i + 1) * whole + ceil_div((i + 1) * rest, count);
    result[i] = {begin, end, end - begin};
  }
  return result;
}

Rows rows_of(const PoolGeometry& g, Rows out) {
  Rows in{g.in_h, 0};
  for (index_t i = out.begin; i < out.end; ++i)
    if (g.rows[i].begin < g.rows[i].end) {
      in.begin = std::min(in.begin, g.rows[i].begin);
      in.end = std::max(in.end, g.rows[i].end);
    }
  return in.begin < in.end ? in : Rows{0, 0};
}

}  // namespace

PoolGeometry pool_geometry(std::array<index_t, 2> size, std::array<index_t, 2> kernel_size, std::array<index_t, 2> stride,
                           std::array<index_t, 2> padding, std::array<index_t, 2> dilation, bool ceil_mode,
                           bool count_include_pad) {
  const auto [out_h, out_w] = pool_output_size(size, kernel_size, stride, padding, dilation, ceil_mode);
  const auto [h, w] = axes(size, kernel_size, stride, padding, dilation);
  return {size[0], size[1], out_h, out_w, dilation[0], dilation[1], windows(h, out_h, count_include_pad),
          windows(w, out_w, count_include_pad)};
}

std::array<index_t, 2> pool_output_size(std::array<index_t, 2> size, std::array<index_t, 2> kernel_size,
                                        std::array<index_t, 2> stride, std::array<index_t, 2> padding,
                                        std::array<index_t, 2> dilation, bool ceil_mode) {
  const auto check = [](const char* name, std::array<index_t, 2> value, index_t least) {
    for (const index_t v : value)
      if (v < least || v > kLargestArgument)
        fail(name, " must be from ", least, " to 2**40, got (", value[0], ", ", value[1], ")");
  };
  check("kernel_size", kernel_size, 1);
  check("stride", stride, 1);
  check("padding", padding, 0);
  check("dilation", dilation, 1);
  for (int i = 0; i < 2; ++i) {
    index_t reach;
    if (__builtin_mul_overflow(dilation[i], kernel_size[i] - 1, &reach) || reach > kLargestArgument)
      fail("dilation * kernel_size is too large: ", dilation[i], " * ", kernel_size[i]);
    if (padding[i] > kernel_size[i] / 2)
      fail("padding must be at most half of kernel_size: got padding (", padding[0], ", ", padding[1], "), kernel_size (",
           kernel_size[0], ", ", kernel_size[1], ")");
    if (size[i] < 1) fail("x must have at least one row and one column, got (", size[0], ", ", size[1], ")");
  }
  const auto [h, w] = axes(size, kernel_size, stride, padding, dilation);
  return {pooled_size(h, ceil_mode), pooled_size(w, ceil_mode)};
}

PoolGeometry adaptive_pool_geometry(std::array<index_t, 2> size, std::array<index_t, 2> output_size) {
  for (const index_t s : output_size)
    if (s < 0 || s > kLargestArgument)
      fail("output_size must be from 0 to 2**40, got (", output_size[0], ", ", output_size[1], ")");
  if (size[0] < 1 || size[1] < 1) fail("x must have at least one row and one column, got (", size[0], ", ", size[1], ")");
  checked_size({output_size[0], output_size[1]}, sizeof(PoolWindow));
  PoolGeometry g{size[0], size[1], output_size[0], output_size[1], 1, 1, {}, {}};
  g.rows = adaptive_windows(size[0], g.out_h);
  g.columns = adaptive_windows(size[1], g.out_w);
  return g;
}

template <class T>
void max_pool2d(const PoolGeometry& g, const TensorView<const T>& x, const TensorView<T>& y) {
  for_each_block(
      x, y, [&](Rows out) { return rows_of(g, out); },
      [&](const T* from, index_t from_row, T* to, index_t to_row, Rows rows) {
        pool_kernels<T>().max(from, from_row, to, to_row, g.rows.data() + rows.begin, rows.end - rows.begin, g.step_h,
                              g.columns.data(), g.out_w, g.step_w);
      });
}

template <class T>
void avg_pool2d(const PoolGeometry& g, const TensorView<const T>& x, const TensorView<T>& y) {
  for_each_block(
      x, y, [&](Rows out) { return rows_of(g, out); },
      [&](const T* from, index_t from_row, T* to, index_t to_row, Rows rows) {
        pool_kernels<T>().average(from, from_row, to, to_row, g.rows.data() + rows.begin, rows.end - rows.begin,
                                  g.columns.data(), g.out_w);
      });
}

#define FASTCONV_INSTANTIATE(T)                                                                   \
  template void max_pool2d<T>(const PoolGeometry&, const TensorView<const T>&, const TensorView<T>&); \
  template void avg_pool2d<T>(const PoolGeometry&, const TensorView<const T>&, const TensorView<T>&);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(double)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv
