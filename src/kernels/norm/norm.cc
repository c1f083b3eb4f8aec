#include "kernels/norm/norm.h"

#include "simd/math.h"
#include "simd/sum.h"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T>
void affine(const T* x, T* y, index_t count, T mean, T scale, T shift) {
  constexpr int L = lanes<T>;
  index_t i = 0;
  for (; i + L <= count; i += L) store(y + i, (load(x + i) - mean) * scale + shift);
  for (; i < count; ++i) y[i] = (x[i] - mean) * scale + shift;
}

template <class T>
void affine_channels(const T* x, T* y, index_t rows, index_t channels, const T* mean, const T* scale, const T* shift, T low, T high) {
  constexpr int L = lanes<T>;
  const Vec<T> lowest = broadcast(low), highest = broadcast(high);
  const auto clamp = [&](Vec<T> v) { return at_most(at_least(v, lowest), highest); };
  index_t c = 0;
  for (; c + L <= channels; c += L) {
    const Vec<T> m = load(mean + c), s = load(scale + c), b = load(shift + c);
    for (index_t r = 0; r < rows; ++r) store(y + r * channels + c, clamp((load(x + r * channels + c) - m) * s + b));
  }
  if (c == channels) return;
  const int rest = int(channels - c);
  const Vec<T> m = load_partial(mean + c, rest), s = load_partial(scale + c, rest), b = load_partial(shift + c, rest);
  for (index_t r = 0; r < rows; ++r)
    store_partial(y + r * channels + c, clamp((load_partial(x + r * channels + c, rest) - m) * s + b), rest);
}

// Two passes: sums of deviations from a first mean correct both the mean and the variance, so that
// data with a mean far from zero keep their accuracy (Chan, Golub and LeVeque, Algorithms for
// computing the sample variance, 1983).
template <class T>
struct Moments {
  T first, correction, inverse_deviation;  // the mean is first + correction

  template <class V>
  FASTCONV_MEMBER V normalise(V x) const {
    return ((x - first) - correction) * inverse_deviation;
  }
};
template <class T>
FASTCONV_INLINE T inverse_sqrt(T x) {
  if constexpr (sizeof(T) == 4)
    return 1 / __builtin_sqrtf(x);
  else
    return 1 / __builtin_sqrt(x);
}

template <class T>
Moments<T> moments(const T* x, index_t count, double eps) {
  constexpr int L = lanes<T>;
  const index_t full = count / L * L;
  const int rest = int(count - full);
  Sum<T> sum;
  for (index_t i = 0; i < full; i += L) sum.add(load(x + i));
  if (rest) sum.add(load_partial(x + full, rest));
  const T first = sum_lanes<T>(sum.value()) / T(count);
  Sum<T> deviations, squares;
  const auto add = [&](Vec<T> d) {
    deviations.add(d);
    squares.add(d * d);
  };
  for (index_t i = 0; i < full; i += L) add(load(x + i) - first);
  if (rest) add(first_lanes<T>(rest) ? load_partial(x + full, rest) - first : Vec<T>{});
  const T correction = sum_lanes<T>(deviations.value()) / T(count);
  const T variance = sum_lanes<T>(squares.value()) / T(count) - correction * correction;
  return {first, correction, inverse_sqrt<T>((variance < 0 ? T(0) : variance) + T(eps))};
}

template <class T>
void layer_norm(const T* x, T* y, index_t rows, index_t count, const T* weight, const T* bias, double eps) {
  constexpr int L = lanes<T>;
  const T one = 1, zero = 0;
  for (index_t r = 0; r < rows; ++r, x += count, y += count) {
    const Moments<T> m = moments(x, count, eps);
    index_t i = 0;
    for (; i + L <= count; i += L) {
      const Vec<T> v = m.normalise(load(x + i));
      store(y + i, v * (weight ? load(weight + i) : broadcast(one)) + (bias ? load(bias + i) : Vec<T>{}));
    }
    for (; i < count; ++i)
      y[i] = m.normalise(x[i]) * (weight ? weight[i] : one) + (bias ? bias[i] : zero);
  }
}

// The sum over each vector's lanes: that of rows[i] in lane i.
template <class T>
Vec<T> sum_rows(Vec<T> (&rows)[lanes<T>]) {
  transpose<T>(rows);
  for (int width = lanes<T> / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) rows[i] += rows[i + width];
  return rows[0];
}

// As many pixels at a time as there are lanes: their sums are then reduced by one transposition.
template <class T>
void layer_norm_blocked(const T* x, index_t x_block, T* y, index_t y_block, index_t pixels, index_t channels,
                        const T* weight, const T* bias, double eps) {
  constexpr int L = lanes<T>;
  const index_t full = channels / L;
  const int rest = int(channels % L);
  const IntVec<T> mask = first_lanes<T>(rest);
  for (index_t p = 0; p < pixels; p += L) {
    const int count = pixels - p < L ? int(pixels - p) : L;
    Vec<T> sums[L] = {}, squares[L] = {};
    for (int i = 0; i < count; ++i) {
      const T* at = x + (p + i) * L;
      for (index_t b = 0; b < full; ++b) sums[i] += load(at + b * x_block);
      if (rest) sums[i] += mask ? load(at + full * x_block) : Vec<T>{};
    }
    const Vec<T> first = sum_rows<T>(sums) / T(channels);
    for (int i = 0; i < L; ++i) sums[i] = Vec<T>{};
    for (int i = 0; i < count; ++i) {
      const T* at = x + (p + i) * L;
      const T mean = first[i];
      for (index_t b = 0; b < full; ++b) {
        const Vec<T> d = load(at + b * x_block) - mean;
        sums[i] += d;
        squares[i] += d * d;
      }
      if (rest) {
        const Vec<T> d = mask ? load(at + full * x_block) - mean : Vec<T>{};
        sums[i] += d;
        squares[i] += d * d;
      }
    }
    const Vec<T> correction = sum_rows<T>(sums) / T(channels);
    const Vec<T> variance = sum_rows<T>(squares) / T(channels) - correction * correction;
    for (int i = 0; i < count; ++i) {
      const Moments<T> m{first[i], correction[i], inverse_sqrt<T>((variance[i] < 0 ? T(0) : variance[i]) + T(eps))};
      const T* from = x + (p + i) * L;
      T* to = y + (p + i) * L;
      for (index_t b = 0; b < full; ++b) {
        const Vec<T> v = m.normalise(load(from + b * x_block));
        store(to + b * y_block, v * (weight ? load(weight + b * L) : broadcast(T(1))) +
                                    (bias ? load(bias + b * L) : Vec<T>{}));
      }
      if (rest) {
        const Vec<T> v = m.normalise(load(from + full * x_block));
        store(to + full * y_block, v * (weight ? load_partial(weight + full * L, rest) : broadcast(T(1))) +
                                       (bias ? load_partial(bias + full * L, rest) : Vec<T>{}));
      }
    }
  }
}

template <class T>
void local_response_norm(const T* x, index_t x_block, T* y, index_t y_block, index_t pixels, index_t channels,
                         index_t before, index_t after, double scale, double beta, double k, T* buffer) {
  constexpr int L = lanes<T>;
  const index_t blocks = (channels + L - 1) / L, window = before + 1 + after;
  const int last = int(channels - (blocks - 1) * L);
  const IntVec<T> mask = first_lanes<T>(last);
  // Squares of all channels of a pixel, one after the other, between zeros.
  for (index_t i = 0; i < before + channels + after + 2 * L; ++i) buffer[i] = T(0);
  for (index_t p = 0; p < pixels; ++p) {
    for (index_t b = 0; b < blocks; ++b) {
      const Vec<T> v = load(x + b * x_block + p * L);
      const Vec<T> square = v * v;
      store(buffer + before + b * L, b + 1 < blocks ? square : (mask ? square : Vec<T>{}));
    }
    for (index_t b = 0; b < blocks; ++b) {
      Vec<T> sum{};
      for (index_t j = 0; j < window; ++j) sum += load(buffer + b * L + j);
      const Vec<T> base = sum * T(scale) + T(k);
      store(y + b * y_block + p * L, load(x + b * x_block + p * L) / power<T>(base, T(beta)));
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(NormKernels, norm_kernels,
                        {affine<T>, affine_channels<T>, layer_norm<T>, layer_norm_blocked<T>, local_response_norm<T>})
