#include "kernels/pack/pack.h"

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

// Channel planes to pixels, at most a square of lanes x lanes; without a branch where it is Full.
template <class T, bool Full>
FASTCONV_INLINE void pack_square(const T* x, index_t channel_stride, int channels, int pixels, T* out, index_t out_stride) {
  constexpr int L = lanes<T>;
  Vec<T> rows[L];
#pragma GCC unroll 16
  for (int c = 0; c < L; ++c)
    rows[c] = Full ? load(x + c * channel_stride) : c < channels ? load_partial(x + c * channel_stride, pixels) : Vec<T>{};
  transpose<T>(rows);
#pragma GCC unroll 16
  for (int p = 0; p < L; ++p)
    if (Full) store(out + p * out_stride, rows[p]);
    else if (p < pixels) store_partial(out + p * out_stride, rows[p], channels);
}

template <class T>
void pack_planes(const T* x, index_t channel_stride, index_t channels, index_t pixels, T* out, index_t out_stride) {
  constexpr int L = lanes<T>;
  index_t p = 0;
  if (channels == L)
    for (; p + L <= pixels; p += L) pack_square<T, true>(x + p, channel_stride, L, L, out + p * out_stride, out_stride);
  for (; p < pixels; p += L)
    pack_square<T, false>(x + p, channel_stride, int(channels), pixels - p < L ? int(pixels - p) : L, out + p * out_stride,
                          out_stride);
}

// A few planes interleaved, as the first layer of a network has them; the compiler makes shuffles
// of it.
template <class T, int Channels>
void interleave(const T* x, index_t channel_stride, index_t pixels, T* out) {
  for (index_t p = 0; p < pixels; ++p)
    for (int c = 0; c < Channels; ++c) out[p * Channels + c] = x[c * channel_stride + p];
}

template <class T>
void pack(const T* x, index_t channel_stride, index_t pixel_stride, index_t channels, index_t pixels, T* out,
          index_t out_stride) {
  constexpr int L = lanes<T>;
  if (channel_stride == 1 && channels == L) {
    for (index_t p = 0; p < pixels; ++p) store(out + p * out_stride, load(x + p * pixel_stride));
  } else if (channel_stride == 1 && channels < L) {
    const int count = int(channels);
    for (index_t p = 0; p < pixels; ++p) store_partial(out + p * out_stride, load_partial(x + p * pixel_stride, count), count);
  } else if (pixel_stride == 1 && channels == 3 && out_stride == 3) {
    interleave<T, 3>(x, channel_stride, pixels, out);
  } else if (pixel_stride == 1 && channels == 4 && out_stride == 4) {
    interleave<T, 4>(x, channel_stride, pixels, out);
  } else if (pixel_stride == 1 && channels <= L && channels > 1) {
    pack_planes(x, channel_stride, channels, pixels, out, out_stride);
  } else {
    for (index_t p = 0; p < pixels; ++p)
      for (index_t c = 0; c < channels; ++c) out[p * out_stride + c] = x[c * channel_stride + p * pixel_stride];
  }
}

template <class T>
void unpack(const UnpackRow<T>& u) {
  constexpr int L = lanes<T>;
  const Vec<T> bias = load(u.bias), low = broadcast(u.low), high = broadcast(u.high);
  if (u.out_channel_stride == 1 && (!u.residual || u.residual_channel_stride == 1)) {
    const int channels = int(u.channels);
    for (index_t p = 0; p < u.pixels; ++p) {
      Vec<T> v = load(u.in + p * u.in_stride) + bias;
      if (u.residual) v += load_partial(u.residual + p * u.residual_pixel_stride, channels);
      v = at_most(at_least(v, low), high);
      T* out = u.out + p * u.out_pixel_stride;
      if (channels == L) store(out, v);
      else store_partial(out, v, channels);
    }
    return;
  }
  const bool planes = u.out_pixel_stride == 1 && (!u.residual || u.residual_pixel_stride == 1);
  index_t p = 0;
  if (planes && u.channels == L)  // full squares, without a branch for each channel
    for (; p + L <= u.pixels; p += L) {
      Vec<T> rows[L];
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) rows[i] = load(u.in + (p + i) * u.in_stride) + bias;
      transpose<T>(rows);
#pragma GCC unroll 16
      for (int c = 0; c < L; ++c) {
        if (u.residual) rows[c] += load(u.residual + c * u.residual_channel_stride + p);
        store(u.out + c * u.out_channel_stride + p, at_most(at_least(rows[c], low), high));
      }
    }
  for (; p < u.pixels; p += L) {
    const int count = u.pixels - p < L ? int(u.pixels - p) : L;
    Vec<T> rows[L];
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) rows[i] = i < count ? load(u.in + (p + i) * u.in_stride) + bias : Vec<T>{};
    transpose<T>(rows);
#pragma GCC unroll 16
    for (int c = 0; c < L; ++c) {
      if (c >= u.channels) break;
      T* out = u.out + c * u.out_channel_stride + p * u.out_pixel_stride;
      const T* residual = u.residual ? u.residual + c * u.residual_channel_stride + p * u.residual_pixel_stride : nullptr;
      Vec<T> v = rows[c];
      if (planes) {
        if (residual) v += load_partial(residual, count);
        v = at_most(at_least(v, low), high);
        if (count == L) store(out, v);
        else store_partial(out, v, count);
      } else {
        T values[L];
        store(values, v);
        for (int i = 0; i < count; ++i) {
          T y = values[i];
          if (residual) y += residual[i * u.residual_pixel_stride];
          y = u.low > y ? u.low : y;
          out[i * u.out_pixel_stride] = u.high < y ? u.high : y;
        }
      }
    }
  }
}

// A run of `count` output pixels of one output row, for one k: input columns from `column` on in
// steps of `step`, zeros where they lie outside [0, in_w).
template <class T>
FASTCONV_INLINE void im2col_run(const T* row, index_t column, index_t step, index_t column_stride, index_t in_w,
                                index_t count, T* out) {
  if (step == 1 && column_stride == 1 && column >= 0 && column + count <= in_w) {
    for (index_t i = 0; i < count; ++i) out[i] = row[column + i];
    return;
  }
  for (index_t i = 0; i < count; ++i, column += step)
    out[i] = column >= 0 && column < in_w ? row[column * column_stride] : T(0);
}

template <class T>
void im2col(const Im2colPanel<T>& m) {
  constexpr int L = lanes<T>;
  const bool pointwise = m.kernel_h == 1 && m.kernel_w == 1 && m.stride_h == 1 && m.stride_w == 1 && m.pad_top == 0 &&
                         m.pad_left == 0 && m.column_stride == 1 && m.row_stride == m.in_w && m.out_w == m.in_w &&
                         m.first + m.pixels <= m.in_h * m.in_w;  // none of them in the padding below
  if (pointwise) {
    for (index_t k = m.k0; k < m.k1; ++k) {
      const T* x = m.x + k * m.channel_stride + m.first;
      T* out = m.out + (k - m.k0) * m.width;
      for (index_t p = 0; p < m.width; p += L) {
        const index_t left = m.pixels - p;
        store(out + p, left >= L ? load(x + p) : left > 0 ? load_partial(x + p, int(left)) : Vec<T>{});
      }
    }
    return;
  }
  const index_t taps = m.kernel_h * m.kernel_w;
  for (index_t k = m.k0; k < m.k1; ++k) {
    const index_t channel = k / taps, tap = k % taps;
    const T* plane = m.x + channel * m.channel_stride;
    const index_t dy = tap / m.kernel_w * m.dilation_h - m.pad_top, dx = tap % m.kernel_w * m.dilation_w - m.pad_left;
    T* out = m.out + (k - m.k0) * m.width;
    index_t y = m.first / m.out_w, column = m.first % m.out_w;
    for (index_t p = 0; p < m.pixels;) {
      const index_t count = m.out_w - column < m.pixels - p ? m.out_w - column : m.pixels - p;
      const index_t row = y * m.stride_h + dy;
      if (row >= 0 && row < m.in_h)
        im2col_run(plane + row * m.row_stride, column * m.stride_w + dx, m.stride_w, m.column_stride, m.in_w, count, out + p);
      else
        for (index_t i = 0; i < count; ++i) out[p + i] = T(0);
      p += count;
      column = 0;
      ++y;
    }
    for (index_t p = m.pixels; p < m.width; ++p) out[p] = T(0);
  }
}

template <class T>
void finish_tile(const FinishTile<T>& f) {
  constexpr int L = lanes<T>;
  const Vec<T> low = broadcast(f.low), high = broadcast(f.high);
  for (index_t r = 0; r < f.rows; ++r) {
    const T* x = f.x + r * f.x_stride;
    const T* residual = f.residual ? f.residual + r * f.residual_stride : nullptr;
    T* y = f.y + r * f.y_stride;
    const Vec<T> bias = broadcast(f.bias[r]);
    for (index_t i = 0; i < f.columns; i += L) {
      const int n = f.columns - i < L ? int(f.columns - i) : L;
      Vec<T> v = (n == L ? load(x + i) : load_partial(x + i, n)) + bias;
      if (residual) v += n == L ? load(residual + i) : load_partial(residual + i, n);
      v = at_most(at_least(v, low), high);
      if (n == L) store(y + i, v);
      else store_partial(y + i, v, n);
    }
  }
}

// As pack_planes with channels and pixels in each other's place: `k` becomes the row, output
// channels the lanes.
template <class T>
void pack_weights(const T* weight, index_t stride, index_t channels, index_t k, const index_t* position, T* out,
                  index_t out_stride) {
  constexpr int L = lanes<T>;
  for (index_t i = 0; i < k; i += L) {
    const int count = k - i < L ? int(k - i) : L;
    Vec<T> rows[L];
#pragma GCC unroll 16
    for (int c = 0; c < L; ++c)
      rows[c] = c >= channels ? Vec<T>{} : count == L ? load(weight + c * stride + i) : load_partial(weight + c * stride + i, count);
    transpose<T>(rows);
#pragma GCC unroll 16
    for (int j = 0; j < L; ++j)
      if (j < count) store(out + position[i + j] * out_stride, rows[j]);
  }
}

template <class T>
void scale(const T* x, double factor, index_t count, T* out) {
  for (index_t i = 0; i < count; ++i) out[i] = T(double(x[i]) * factor);
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(PackKernels, pack_kernels,
                        {pack<T>, unpack<T>, im2col<T>, finish_tile<T>, pack_weights<T>, scale<T>, FASTCONV_ISA::lanes<T>})
