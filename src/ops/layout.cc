#include "kernels/layout/layout.h"

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "fastconv/ops.h"
#include "ops/planes.h"

namespace fastconv {
namespace {

// Any two views, one element at a time.
template <class T>
void copy_elements(const TensorView<const T>& x, const TensorView<T>& y) {
  parallel_ranges(x.n * x.c, grain_of(x.h * x.w), [&](index_t begin, index_t end) {
    for (index_t plane = begin; plane < end; ++plane) {
      const T* from = x.channel(plane / x.c, plane % x.c);
      T* to = y.channel(plane / x.c, plane % x.c);
      for (index_t h = 0; h < x.h; ++h)
        if (x.sw == 1 && y.sw == 1)
          std::memcpy(to + h * y.sh, from + h * x.sh, x.w * sizeof(T));
        else
          for (index_t w = 0; w < x.w; ++w) to[h * y.sh + w * y.sw] = from[h * x.sh + w * x.sw];
    }
  });
}

// Blocks of the same width, whole.
template <class T>
void copy_blocks(const TensorView<const T>& x, const TensorView<T>& y) {
  const index_t groups = ceil_div(x.c, x.block);
  parallel_ranges(x.n * groups * x.h, grain_of(x.w * x.block), [&](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      const index_t n = row / (groups * x.h), group = row / x.h % groups, h = row % x.h;
      std::memcpy(y.data + n * y.sn + group * y.sb + h * y.sh, x.data + n * x.sn + group * x.sb + h * x.sh,
                  x.w * x.block * sizeof(T));
    }
  });
}

// Between NCHW and blocks, a band of rows of one block at a time.
template <class T>
void pack_or_unpack(const TensorView<const T>& x, const TensorView<T>& y) {
  const LayoutKernels<T>& layout = layout_kernels<T>();
  const index_t lanes = layout.lanes, groups = ceil_div(x.c, lanes);
  const index_t band = std::min(x.h, grain_of(x.w * lanes)), bands = ceil_div(x.h, band);
  parallel_ranges(x.n * groups * bands, grain_of(band * x.w * lanes), [&](index_t begin, index_t end) {
    for (index_t task = begin; task < end; ++task) {
      const index_t n = task / (groups * bands), group = task / bands % groups, row = task % bands * band;
      const int planes = static_cast<int>(std::min(lanes, x.c - group * lanes));
      const index_t rows = std::min(band, x.h - row);
      const T* from = x.data + n * x.sn + row * x.sh + group * (x.block == 1 ? lanes : 1) * x.sb;
      T* to = y.data + n * y.sn + row * y.sh + group * (y.block == 1 ? lanes : 1) * y.sb;
      if (x.block == 1)
        layout.pack(from, x.sb, planes, rows, x.w, x.sh, x.sw, to, y.sh);
      else
        layout.unpack(from, x.sh, planes, rows, x.w, to, y.sb, y.sh, y.sw);
    }
  });
}

}  // namespace

template <class T>
void copy(const TensorView<const T>& x, const TensorView<T>& y) {
  if (x.n == 0 || x.c == 0 || x.h == 0 || x.w == 0) return;
  if constexpr (std::is_floating_point_v<T>) {
    const index_t lanes = layout_kernels<T>().lanes;
    const auto blocked = [&](const auto& v) { return v.block == lanes && v.sw == lanes && v.lane == 0; };
    if ((x.block == 1 && blocked(y)) || (blocked(x) && y.block == 1)) return pack_or_unpack(x, y);
    if (blocked(x) && blocked(y)) return copy_blocks(x, y);
  }
  copy_elements(x, y);
}

template void copy<float>(const TensorView<const float>&, const TensorView<float>&);
template void copy<double>(const TensorView<const double>&, const TensorView<double>&);
template void copy<std::uint8_t>(const TensorView<const std::uint8_t>&, const TensorView<std::uint8_t>&);
template void copy<std::uint16_t>(const TensorView<const std::uint16_t>&, const TensorView<std::uint16_t>&);
template void copy<std::uint32_t>(const TensorView<const std::uint32_t>&, const TensorView<std::uint32_t>&);
template void copy<std::uint64_t>(const TensorView<const std::uint64_t>&, const TensorView<std::uint64_t>&);

}  // namespace fastconv
