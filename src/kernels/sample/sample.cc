#include "kernels/sample/sample.h"

#include "simd/math.h"

namespace fastconv::FASTCONV_ISA {
namespace {

using Mode = GridSampling::Mode;
using Padding = GridSampling::Padding;

constexpr int taps_along_axis(Mode mode) { return mode == Mode::nearest ? 1 : mode == Mode::bilinear ? 2 : 4; }

// Of integers >= 0 that an image's size can be.
template <class T>
FASTCONV_INLINE IntVec<T> to_integers(Vec<T> x) {
  if constexpr (sizeof(T) == 4) return __builtin_convertvector(x, IntVec<T>);
  else return bits<T>(x + MathConstants<T>::round) - bits<T>(broadcast(MathConstants<T>::round));
}
// A product that is rounded, and never part of an FMA.
template <class T>
FASTCONV_INLINE Vec<T> rounded_product(Vec<T> a, T b) {
  Vec<T> product = a * b;
  keep_in_register(product);
  return product;
}

template <class T>
struct Tap {
  Vec<T> at, weight;
};

// One axis of the images. Places are computed with torch's operations in torch's order: a rounding
// error picks another pixel.
template <class T>
struct Axis {
  T size;
  bool align_corners;
  Padding padding;

  // From -1 ... 1 to pixels.
  FASTCONV_MEMBER Vec<T> place(Vec<T> at) const {
    return align_corners ? rounded_product<T>(at + 1, (size - 1) / 2) : rounded_product<T>(at + 1, size / 2) - T(0.5);
  }
  // Into the image, unless there are zeros around it. NaN becomes 0.
  FASTCONV_MEMBER Vec<T> inside(Vec<T> at) const {
    if (padding == Padding::zeros) return at;
    if (padding == Padding::reflection) at = reflected(at);
    at = at > T(0) ? at : Vec<T>{};
    return at < size - 1 ? at : broadcast(size - 1);
  }
  FASTCONV_MEMBER Vec<T> reflected(Vec<T> at) const {
    const T low = align_corners ? T(0) : T(-0.5), span = align_corners ? size - 1 : size;
    if (span <= 0) return Vec<T>{};
    const Vec<T> distance = absolute<T>(at - low);
    const Vec<T> rest = distance - rounded_product<T>(floor<T>(distance / (2 * span)), 2 * span), mirrored = 2 * span - rest;
    return (mirrored < rest ? mirrored : rest) + low;
  }
  FASTCONV_MEMBER IntVec<T> holds(Vec<T> at) const { return (at > T(-1)) & (at < size); }

  // What a place of the grid reads.
  template <Mode mode>
  FASTCONV_MEMBER void find(Vec<T> at, Tap<T> (&taps)[taps_along_axis(mode)]) const {
    at = place(at);
    if constexpr (mode == Mode::nearest) {
      taps[0] = {round_to_even<T>(inside(at)), broadcast(T(1))};
    } else if constexpr (mode == Mode::bilinear) {
      at = inside(at);
      const Vec<T> low = floor<T>(at), share = at - low;
      taps[0] = {low, 1 - share};
      taps[1] = {low + 1, share};
    } else {
      // R. Keys, "Cubic convolution interpolation for digital image processing" (1981), with a =
      // -0.75.
      constexpr T a = T(-0.75);
      const Vec<T> low = floor<T>(at), share = at - low;
      const auto near = [](Vec<T> d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
      const auto far = [](Vec<T> d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
      taps[0] = {inside(low - 1), far(share + 1)};
      taps[1] = {inside(low), near(share)};
      taps[2] = {inside(low + 1), near(1 - share)};
      taps[3] = {inside(low + 2), far(2 - share)};
    }
  }
};

template <Mode mode, class T>
void find_taps_of(const GridSampling& how, const T* places, index_t count, index_t height, index_t width, index_t x_row,
                  index_t x_column, SampledPixels<T>* pixels) {
  constexpr int L = lanes<T>, N = taps_along_axis(mode), P = SampledPixels<T>::kCount;
  const Axis<T> vertical{T(height), how.align_corners, how.padding_mode}, horizontal{T(width), how.align_corners, how.padding_mode};
  for (; count > 0; count -= P, places += 2 * P, ++pixels) {
    alignas(64) T x[P]{}, y[P]{};
    for (int p = 0; p < (count < P ? int(count) : P); ++p) x[p] = places[2 * p], y[p] = places[2 * p + 1];
    index_t row_at[N][P], column_at[N][P];
    IntVec<T> all = ~IntVec<T>{};
    for (int v = 0; v < P; v += L) {
      Tap<T> rows[N], columns[N];
      vertical.template find<mode>(load(y + v), rows);
      horizontal.template find<mode>(load(x + v), columns);
      all &= columns[N - 1].at - columns[0].at == T(N - 1);
      for (int i = 0; i < N; ++i)
        for (int j = 0; j < N; ++j) {
          const IntVec<T> mask = vertical.holds(rows[i].at) & horizontal.holds(columns[j].at);
          all &= mask;
          store(pixels->mask[i * N + j] + v, from_bits<T>(mask));
          if (mode != Mode::nearest) store(pixels->weight[i * N + j] + v, rows[i].weight * columns[j].weight);
        }
      for (int i = 0; i < N; ++i) {
        const IntVec<T> row = to_integers<T>(from_bits<T>(bits<T>(rows[i].at) & vertical.holds(rows[i].at)));
        const IntVec<T> column = to_integers<T>(from_bits<T>(bits<T>(columns[i].at) & horizontal.holds(columns[i].at)));
        for (int l = 0; l < L; ++l) row_at[i][v + l] = row[l] * x_row, column_at[i][v + l] = column[l] * x_column;
      }
    }
    for (int i = 0; i < N; ++i)
      for (int j = 0; j < N; ++j)
        for (int p = 0; p < P; ++p) pixels->at[i * N + j][p] = row_at[i][p] + column_at[j][p];
    pixels->whole = all_lanes<T>(all);
  }
}

// Calls f<mode>().
template <class F>
FASTCONV_INLINE void with_mode(Mode mode, F&& f) {
  switch (mode) {
    case Mode::nearest: return f.template operator()<Mode::nearest>();
    case Mode::bilinear: return f.template operator()<Mode::bilinear>();
    case Mode::bicubic: return f.template operator()<Mode::bicubic>();
  }
}

template <class T>
void find_taps(const GridSampling& how, const T* places, index_t count, index_t height, index_t width, index_t x_row,
               index_t x_column, SampledPixels<T>* pixels) {
  with_mode(how.mode, [&]<Mode mode>() { find_taps_of<mode, T>(how, places, count, height, width, x_row, x_column, pixels); });
}

// The sum of weight(t) * value(t), in the order of the taps and from zero on, so that all kernels
// round alike.
template <Mode mode, class T, class Weight, class Value>
FASTCONV_INLINE Vec<T> sum_taps(Weight&& weight, Value&& value) {
  if constexpr (mode == Mode::nearest) return value(0);
  constexpr int count = taps_along_axis(mode) * taps_along_axis(mode);
  Vec<T> sum{};
#pragma GCC unroll 16
  for (int t = 0; t < count; ++t) sum += weight(t) * value(t);
  return sum;
}

template <class T, int... l>
FASTCONV_INLINE Vec<T> gather(const T* x, const index_t* at, Indices<l...>) {
  return Vec<T>{x[at[l]]...};
}
// What gather gives of x, and of x + 1: two neighbours are moved as one double.
template <int... l, int... f>
FASTCONV_INLINE Vec<float> gather_pairs(const float* x, const index_t* at, Vec<float>& next, Indices<l...>, Indices<f...>) {
  typedef double Pair __attribute__((aligned(4), may_alias));
  constexpr int half = lanes<double>;
  const Vec<float> a = reinterpret_cast<Vec<float>>(Vec<double>{*reinterpret_cast<const Pair*>(x + at[l])...});
  const Vec<float> b = reinterpret_cast<Vec<float>>(Vec<double>{*reinterpret_cast<const Pair*>(x + at[half + l])...});
  next = __builtin_shufflevector(a, b, (2 * f + 1)...);
  return __builtin_shufflevector(a, b, (2 * f)...);
}

enum class Reads { any, whole, pairs };  // whole: no tap is masked; pairs: and those of a row lie side by side in memory

template <Mode mode, Reads reads, class T>
FASTCONV_INLINE void sample_plane(const SampledPixels<T>& pixels, const T* x, T* y, index_t y_column, int count) {
  constexpr int L = lanes<T>;
  if constexpr (mode == Mode::nearest && reads == Reads::whole) {
    for (int p = 0; p < count; ++p) y[p * y_column] = x[pixels.at[0][p]];
    return;
  }
  for (int v = 0; v < count; v += L) {
    [[maybe_unused]] Vec<T> next{};
    const Vec<T> sum = sum_taps<mode, T>([&](int t) { return load(pixels.weight[t] + v); }, [&](int t) {
      if constexpr (reads == Reads::pairs) {
        if (t % 2) return next;
        return gather_pairs(x, pixels.at[t] + v, next, typename MakeIndices<L / 2>::type{}, typename MakeIndices<L>::type{});
      }
      const Vec<T> values = gather(x, pixels.at[t] + v, typename MakeIndices<L>::type{});
      return reads == Reads::whole ? values : from_bits<T>(bits<T>(values) & bits<T>(load(pixels.mask[t] + v)));
    });
    const int rest = count - v < L ? count - v : L;
    if (y_column != 1)
      for (int l = 0; l < rest; ++l) y[(v + l) * y_column] = sum[l];
    else if (rest < L)
      store_partial(y + v, sum, rest);
    else
      store(y + v, sum);
  }
}

template <class T>
void planes(Mode mode, const SampledPixels<T>* pixels, index_t count, index_t channels, const T* x, index_t x_plane,
            index_t x_column, T* y, index_t y_plane, index_t y_column) {
  constexpr int P = SampledPixels<T>::kCount;
  with_mode(mode, [&]<Mode m>() {
    constexpr Reads whole = sizeof(T) == 4 && m != Mode::nearest ? Reads::pairs : Reads::whole;
    for (index_t c = 0; c < channels; ++c, x += x_plane, y += y_plane)
      for (index_t p = 0; p < count; p += P) {
        const SampledPixels<T>& part = pixels[p / P];
        T* to = y + p * y_column;
        const int rest = count - p < P ? int(count - p) : P;
        if (part.whole && (x_column == 1 || whole == Reads::whole)) sample_plane<m, whole>(part, x, to, y_column, rest);
        else sample_plane<m, Reads::any>(part, x, to, y_column, rest);
      }
  });
}

template <Mode mode, bool whole, class T>
FASTCONV_INLINE void sample_blocks(const SampledPixels<T>& pixels, int count, index_t blocks, const T* x, index_t x_block, T* y,
                                   index_t y_block) {
  for (int p = 0; p < count; ++p, y += lanes<T>)
    for (index_t b = 0; b < blocks; ++b)
      store(y + b * y_block, sum_taps<mode, T>([&](int t) { return pixels.weight[t][p]; }, [&](int t) {
        const bool outside = !whole && pixels.mask[t][p] == 0;
        return outside ? Vec<T>{} : load(x + b * x_block + pixels.at[t][p]);
      }));
}

template <class T>
void blocks(Mode mode, const SampledPixels<T>* pixels, index_t count, index_t blocks, const T* x, index_t x_block, T* y,
            index_t y_block) {
  constexpr int P = SampledPixels<T>::kCount;
  with_mode(mode, [&]<Mode m>() {
    for (index_t p = 0; p < count; p += P, y += P * lanes<T>) {
      const SampledPixels<T>& part = pixels[p / P];
      const int rest = count - p < P ? int(count - p) : P;
      if (part.whole) sample_blocks<m, true>(part, rest, blocks, x, x_block, y, y_block);
      else sample_blocks<m, false>(part, rest, blocks, x, x_block, y, y_block);
    }
  });
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(SampleKernels, sample_kernels, {find_taps<T>, planes<T>, blocks<T>})
