#include "kernels/norm/norm.h"

#include "fastconv/error.h"
#include "fastconv/ops.h"
#include "kernels/activation/epilogue.h"
#include "ops/planes.h"

namespace fastconv {
namespace {

// Runs kernel(x, x_block, y, y_block, pixels) on strips of pixels with all their channels, in the
// blocked layout: NCHW is packed into scratch and unpacked from it. `buffer` elements are passed on
// as scratch.
template <class T, class Kernel>
void for_each_strip(const TensorView<const T>& x, const TensorView<T>& y, index_t buffer, Kernel&& kernel) {
  check_layout(x, "x");
  check_layout(y, "out");
  if (x.n == 0 || x.c == 0 || x.h == 0 || x.w == 0) return;
  const LayoutKernels<T>& layout = layout_kernels<T>();
  const index_t lanes = layout.lanes, blocks = ceil_div(x.c, lanes);
  // A strip is part of a row; a whole image counts as one row where its rows follow each other.
  const auto dense = [](const auto& v) { return v.h == 1 || v.sh == v.w * v.sw || (v.block == 1 && v.w == 1); };
  const bool joined = dense(x) && dense(y);
  const index_t rows = joined ? 1 : x.h, columns = joined ? x.h * x.w : x.w;
  const index_t x_column = x.w > 1 ? x.sw : x.sh, y_column = y.w > 1 ? y.sw : y.sh;  // w = 1: the rows are the columns
  const index_t strip = std::min(columns, std::max(lanes, grain_of(x.c) / lanes * lanes));
  const index_t strips = ceil_div(columns, strip), tasks = x.n * rows * strips;
  const auto body = [&](TaskQueue& queue) {
    Scratch packed_x(x.block == 1 ? blocks * strip * lanes * sizeof(T) : 0);
    Scratch packed_y(y.block == 1 ? blocks * strip * lanes * sizeof(T) : 0);
    Scratch extra(buffer * sizeof(T));
    for (std::int64_t begin, end; queue.next(begin, end);)
      for (std::int64_t task = begin; task < end; ++task) {
        const index_t n = task / (rows * strips), row = task / strips % rows, column = task % strips * strip;
        const index_t pixels = std::min(strip, columns - column);
        const T* from = x.data + n * x.sn + row * x.sh + column * x_column;
        T* to = y.data + n * y.sn + row * y.sh + column * y_column;
        const index_t from_block = x.block == 1 ? strip * lanes : x.sb, to_block = y.block == 1 ? strip * lanes : y.sb;
        const T* source = from;
        T* target = to;
        if (x.block == 1) {
          for (index_t b = 0; b < blocks; ++b)
            layout.pack(from + b * lanes * x.sb, x.sb, static_cast<int>(std::min(lanes, x.c - b * lanes)), 1, pixels, 0,
                        x_column, packed_x.as<T>() + b * from_block, 0);
          source = packed_x.as<T>();
        }
        if (y.block == 1) target = packed_y.as<T>();
        kernel(source, from_block, target, to_block, pixels, extra.as<T>());
        if (y.block == 1)
          for (index_t b = 0; b < blocks; ++b)
            layout.unpack(target + b * to_block, 0, static_cast<int>(std::min(lanes, x.c - b * lanes)), 1, pixels,
                          to + b * lanes * y.sb, y.sb, 0, y_column);
      }
  };
  parallel(tasks, body, tasks * strip * x.c <= kRangeElements ? tasks : grain_of(strip * x.c));
}

}  // namespace

template <class T>
void affine(const TensorView<const T>& x, const TensorView<T>& y, const T* mean, const T* scale, const T* shift,
            const Activation& activation, const T* slopes) {
  if (x.block != y.block || x.lane != 0 || y.lane != 0 || (x.w > 1 && (x.sw != x.block || y.sw != y.block)))
    throw std::logic_error("affine: unexpected layout");
  const NormKernels<T>& kernels = norm_kernels<T>();
  Epilogue<T> epilogue{activation, slopes};
  const Clamp<T> clamp = epilogue.clamp();
  const bool joined = (x.h == 1 || x.sh == x.w * x.block) && (y.h == 1 || y.sh == y.w * y.block);
  const index_t rows = joined ? 1 : x.h, columns = joined ? x.h * x.w : x.w, groups = ceil_div(x.c, x.block);
  // Strips that stay in the first-level cache until the activation has come by.
  const index_t strip = std::min(columns, std::max<index_t>(1, 4096 / x.block)), strips = ceil_div(columns, strip);
  const index_t padded = groups * x.block;  // blocked: the parameters of the padding lanes must exist
  std::vector<T> parameters(x.block == 1 ? 0 : 4 * padded);
  if (x.block != 1) {
    int i = 0;
    for (const T* values : {mean, scale, shift}) std::copy_n(values, x.c, parameters.data() + padded * i++);
    if (slopes) epilogue.slopes = std::copy_n(slopes, x.c, parameters.data() + 3 * padded) - x.c;
  }
  parallel_ranges(x.n * groups * rows * strips, grain_of(strip * x.block), [&](index_t begin, index_t end) {
    for (index_t task = begin; task < end; ++task) {
      const index_t column = task % strips * strip, row = task / strips % rows, plane = task / (strips * rows);
      const index_t n = plane / groups, group = plane % groups, pixels = std::min(strip, columns - column);
      const T* from = x.data + n * x.sn + group * x.sb + row * x.sh + column * x.block;
      T* to = y.data + n * y.sn + group * y.sb + row * y.sh + column * y.block;
      if (x.block == 1) {
        kernels.affine(from, to, pixels, mean[group], scale[group], shift[group]);
      } else {
        const T* p = parameters.data() + group * x.block;
        kernels.affine_channels(from, to, pixels, x.block, p, p + padded, p + 2 * padded, clamp.low, clamp.high);
      }
      const bool applied = activation == Activation::none || (x.block > 1 && epilogue.is_clamp());
      if (!applied) epilogue.apply_to_pixels(group * x.block, x.block, to, pixels);
    }
  });
}

template <class T>
void layer_norm_channels(const TensorView<const T>& x, const TensorView<T>& y, const T* weight, const T* bias, double eps) {
  for_each_strip(x, y, 0, [&](const T* from, index_t from_block, T* to, index_t to_block, index_t pixels, T*) {
    norm_kernels<T>().layer_norm_blocked(from, from_block, to, to_block, pixels, x.c, weight, bias, eps);
  });
}

template <class T>
void local_response_norm(const TensorView<const T>& x, const TensorView<T>& y, index_t size, double alpha, double beta,
                         double k) {
  if (size < 1) fail("size must be at least 1, got ", size);
  // No channel has more neighbours than there are others.
  const index_t others = std::max<index_t>(x.c - 1, 0), before = std::min(size / 2, others), after = std::min((size - 1) / 2, others);
  const double scale = alpha / static_cast<double>(size);
  const index_t buffer = before + x.c + after + 2 * layout_kernels<T>().lanes;
  for_each_strip(x, y, buffer, [&](const T* from, index_t from_block, T* to, index_t to_block, index_t pixels, T* squares) {
    norm_kernels<T>().local_response_norm(from, from_block, to, to_block, pixels, x.c, before, after, scale, beta, k, squares);
  });
}

template <class T>
void layer_norm(const T* x, T* y, index_t rows, index_t count, const T* weight, const T* bias, double eps) {
  parallel_ranges(rows, grain_of(count), [&](index_t begin, index_t end) {
    norm_kernels<T>().layer_norm(x + begin * count, y + begin * count, end - begin, count, weight, bias, eps);
  });
}

template <class T>
void group_norm(const T* x, T* y, index_t n, index_t groups, index_t channels, index_t pixels, const T* weight, const T* bias, double eps) {
  const NormKernels<T>& kernels = norm_kernels<T>();
  const index_t count = channels * pixels;
  if (count == 0) return;
  parallel_ranges(n * groups, grain_of(count), [&](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      T* to = y + row * count;
      kernels.layer_norm(x + row * count, to, 1, count, nullptr, nullptr, eps);
      if (!weight && !bias) continue;
      for (index_t i = 0, c = row % groups * channels; i < channels; ++i, ++c, to += pixels)
        kernels.affine(to, to, pixels, T(0), weight ? weight[c] : T(1), bias ? bias[c] : T(0));
    }
  });
}

#define FASTCONV_INSTANTIATE(T)                                                                                       \
  template void affine<T>(const TensorView<const T>&, const TensorView<T>&, const T*, const T*, const T*, const Activation&, const T*); \
  template void layer_norm_channels<T>(const TensorView<const T>&, const TensorView<T>&, const T*, const T*, double); \
  template void local_response_norm<T>(const TensorView<const T>&, const TensorView<T>&, index_t, double, double,     \
                                       double);                                                                       \
  template void layer_norm<T>(const T*, T*, index_t, index_t, const T*, const T*, double);                            \
  template void group_norm<T>(const T*, T*, index_t, index_t, index_t, index_t, const T*, const T*, double);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(double)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv
