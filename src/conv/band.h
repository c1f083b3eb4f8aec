// Bands: rectangles of the output, and of the padded input that they need, in packed scratch
// memory.
#pragma once

#include <algorithm>
#include <vector>

#include "fastconv/conv.h"
#include "kernels/activation/epilogue.h"
#include "kernels/pack/pack.h"

namespace fastconv {

// Long reductions are summed in parts of about this many products, which bounds their rounding
// error.
inline constexpr index_t kReductionPart = 128;

// From this width of the output on, threads divide rows; below, they divide channels first. So a
// thread finds in its cache what it wrote in the layer before.
inline constexpr index_t kWide = 28;

// Into how many bands of at least 3 rows to divide so many rows, which must be `least` bands and
// should be `wanted`: a multiple of the threads where that is possible. Band i has the rows from i
// * rows / bands on.
inline index_t divide_rows(index_t rows, index_t least, index_t wanted, index_t threads) {
  const index_t bands = std::min(ceil_div(wanted, threads) * threads, std::max<index_t>(1, rows / 3));
  return std::max(least, bands > threads ? bands / threads * threads : bands);
}

// Fetches a cache line that will be written, and takes it from other cores at once:
// __builtin_prefetch(p, 1) does so only where the compiler may suppose the instruction, which CPUs
// without it ignore.
inline void fetch_to_write(const void* p) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(p)));
#else
  __builtin_prefetch(p, 1);
#endif
}

// A rectangle of the (virtually padded) input; y and x may lie outside the image.
struct InputBand {
  index_t y, rows, x, columns;
};

// Copies `channels` channels from `c0` on of image n to out[channel / block][row][column][block],
// with zeros outside the image. Lanes beyond `channels` are left as they are.
template <class T>
void pack_band(const TensorView<const T>& x, index_t n, index_t c0, index_t channels, const InputBand& band, index_t block,
               T* out) {
  const PackKernels<T>& kernels = pack_kernels<T>();
  const index_t row_size = band.columns * block, plane = band.rows * row_size;
  const index_t left = std::clamp<index_t>(-band.x, 0, band.columns);
  const index_t right = std::clamp<index_t>(x.w - band.x, left, band.columns);  // columns [left, right) are in the image
  const bool whole_rows = band.x == 0 && band.columns == x.w && x.sh == x.w * x.sw && band.y >= 0 && band.y + band.rows <= x.h;
  for (index_t c = 0; c < channels;) {
    // The longest run of channels with one stride, within one block of the result and, where x is
    // blocked, one of x.
    index_t count = std::min(block - c % block, channels - c);
    if (x.block > 1) count = std::min(count, x.block - (x.lane + c0 + c) % x.block);
    const T* from = x.channel(n, c0 + c);
    const index_t channel_stride = x.block > 1 ? 1 : x.sb;
    T* to = out + c / block * plane + c % block;
    if (whole_rows) {
      kernels.pack(from + band.y * x.sh, channel_stride, x.sw, count, band.rows * band.columns, to, block);
    } else {
      for (index_t row = 0; row < band.rows; ++row, to += row_size) {
        const index_t y = band.y + row;
        const bool inside = y >= 0 && y < x.h;
        const auto zero = [&](index_t begin, index_t end) {
          if (count == block) std::fill(to + begin * block, to + end * block, T(0));
          else
            for (index_t p = begin; p < end; ++p) std::fill_n(to + p * block, count, T(0));
        };
        zero(0, inside ? left : band.columns);
        if (!inside) continue;
        zero(right, band.columns);
        kernels.pack(from + y * x.sh + (band.x + left) * x.sw, channel_stride, x.sw, count, right - left, to + left * block, block);
      }
    }
    c += count;
  }
}

// Sums of one vector of output channels over a band, in scratch: [row][column][lanes] with the
// given strides.
template <class T>
struct BandSums {
  T* data;
  index_t row_stride, column_stride;
  index_t n, oc, channels;  // of the output; channels <= lanes
  index_t y, rows, x, columns;
};

// Finishes them: bias, residual, activation, into `out` of any layout. `bias` points at channel 0's
// and has a vector's room behind the last.
template <class T>
void finish_band(const BandSums<T>& band, const T* bias, const TensorView<const T>* residual, const Epilogue<T>& epilogue,
                 const TensorView<T>& out) {
  const PackKernels<T>& kernels = pack_kernels<T>();
  const index_t lanes = kernels.lanes;
  const auto aligned = [&](const auto& view) {  // the channels lie in one block, or each in a plane of its own
    return view.block == 1 || (view.lane + band.oc) % view.block + band.channels <= view.block;
  };
  if (!aligned(out) || (residual && !aligned(*residual))) {
    // Rare: a slice of a blocked tensor that starts inside a block. One channel at a time.
    std::vector<T> sums(static_cast<std::size_t>(band.rows * band.columns * lanes));
    for (index_t c = 0; c < band.channels; ++c) {
      for (index_t r = 0; r < band.rows; ++r)
        for (index_t p = 0; p < band.columns; ++p)
          sums[(r * band.columns + p) * lanes] = band.data[r * band.row_stride + p * band.column_stride + c];
      BandSums<T> one = band;
      one.data = sums.data();
      one.row_stride = band.columns * lanes;
      one.column_stride = lanes;
      one.oc = band.oc + c;
      one.channels = 1;
      finish_band(one, bias, residual, epilogue, out);
    }
    return;
  }
  const bool clamp_only = epilogue.is_clamp();
  UnpackRow<T> row{};
  row.in_stride = band.column_stride;
  row.channels = band.channels;
  row.pixels = band.columns;
  row.out_channel_stride = out.block > 1 ? 1 : out.sb;
  row.out_pixel_stride = out.sw;
  row.bias = bias + band.oc;
  row.low = epilogue.clamp().low;
  row.high = epilogue.clamp().high;
  index_t rows = band.rows;
  T* to = out.channel(band.n, band.oc) + band.y * out.sh + band.x * out.sw;
  const T* from = nullptr;
  if (residual) {
    row.residual_channel_stride = residual->block > 1 ? 1 : residual->sb;
    row.residual_pixel_stride = residual->sw;
    from = residual->channel(band.n, band.oc) + band.y * residual->sh + band.x * residual->sw;
  }
  const auto whole_rows = [&](const auto& view) { return view.sh == band.columns * view.sw; };
  const bool joined = band.row_stride == band.columns * band.column_stride && whole_rows(out) && (!residual || whole_rows(*residual));
  if (joined) {
    row.pixels *= rows;
    rows = 1;
  }
  for (index_t r = 0; r < rows; ++r) {
    row.in = band.data + r * band.row_stride;
    row.out = to + r * out.sh;
    row.residual = residual ? from + r * residual->sh : nullptr;
    kernels.unpack(row);
    if (clamp_only) continue;
    if (row.out_pixel_stride == 1)
      for (index_t c = 0; c < band.channels; ++c) epilogue.apply(band.oc + c, row.out + c * row.out_channel_stride, row.pixels);
    else if (row.out_channel_stride == 1 && row.out_pixel_stride == band.channels)
      epilogue.apply_to_pixels(band.oc, band.channels, row.out, row.pixels);
    else if (row.out_channel_stride == 1)
      for (index_t p = 0; p < row.pixels; ++p) epilogue.apply_to_pixels(band.oc, band.channels, row.out + p * row.out_pixel_stride, 1);
    else
      for (index_t p = 0; p < row.pixels; ++p)
        for (index_t c = 0; c < band.channels; ++c)
          epilogue.apply(band.oc + c, row.out + p * row.out_pixel_stride + c * row.out_channel_stride, 1);
  }
}

}  // namespace fastconv
