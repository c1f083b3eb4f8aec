// Sampling at the places of a grid: Jaderberg et al. 2015, "Spatial transformer networks". Places are computed in T, with
// torch's operations in torch's order: a rounding error picks another pixel.
#include <array>
#include <cmath>
#include <stdexcept>

#include "fastconv/ops.h"
#include "ops/planes.h"
#include "ops/ranges.h"

namespace fastconv {
namespace {

template <class T>
struct SampleTap {
  index_t at;  // along its axis; -1: outside, where there are zeros
  T weight;
};

// One axis of the images.
template <class T>
struct SampledAxis {
  T size;
  GridSampling how;

  // From -1 ... 1 to pixels.
  T place(T at) const {
    return how.align_corners ? (at + 1) * ((size - 1) / 2) : (at + 1) * (size / 2) - T(0.5);
  }
  // Into the image, unless there are zeros around it. NaN becomes 0.
  T inside(T at) const {
    if (how.padding_mode == GridSampling::Padding::zeros) return at;
    if (how.padding_mode == GridSampling::Padding::reflection) at = reflected(at);
    return std::min(size - 1, std::max(T(0), at));
  }
  T reflected(T at) const {
    const T low = how.align_corners ? T(0) : T(-0.5), span = how.align_corners ? size - 1 : size;
    if (span <= 0) return 0;
    const T distance = std::abs(at - low), rest = distance - std::trunc(distance / (2 * span)) * (2 * span);
    return std::min(rest, 2 * span - rest) + low;
  }
  SampleTap<T> tap(T at, T weight) const { return {at > -1 && at < size ? static_cast<index_t>(at) : -1, weight}; }

  // What a place of the grid reads; how many taps.
  int taps(T at, std::array<SampleTap<T>, 4>& all) const {
    at = place(at);
    if (how.mode == GridSampling::Mode::nearest) {
      all[0] = tap(std::nearbyint(inside(at)), 1);
      return 1;
    }
    if (how.mode == GridSampling::Mode::bilinear) {
      at = inside(at);
      const T low = std::floor(at), share = at - low;
      all[0] = tap(low, 1 - share);
      all[1] = tap(low + 1, share);
      return 2;
    }
    // R. Keys, "Cubic convolution interpolation for digital image processing" (1981), with a = -0.75.
    const T a = T(-0.75), low = std::floor(at), share = at - low;
    const auto near = [&](T d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
    const auto far = [&](T d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
    const T weights[4] = {far(share + 1), near(share), near(1 - share), far(2 - share)};
    for (int i = 0; i < 4; ++i) all[i] = tap(inside(low + static_cast<T>(i - 1)), weights[i]);
    return 4;
  }
};

// What an output pixel reads: the sum of weight * x over `count` taps, and `outside`, which is 0, or NaN where a weight is.
template <class T>
struct SampledPixel {
  index_t y;  // offsets in the first block of channels
  std::array<index_t, 16> x;
  std::array<T, 16> weight;
  int count;
  T outside;
};

template <class T>
void find_taps(const SampledAxis<T>& vertical, const SampledAxis<T>& horizontal, const T* place, const TensorView<const T>& x,
               SampledPixel<T>& pixel) {
  std::array<SampleTap<T>, 4> rows, columns;
  const int row_count = vertical.taps(place[1], rows), column_count = horizontal.taps(place[0], columns);
  pixel.count = 0;
  pixel.outside = 0;
  for (int i = 0; i < row_count; ++i)
    for (int j = 0; j < column_count; ++j) {
      const T weight = rows[i].weight * columns[j].weight;
      if (rows[i].at < 0 || columns[j].at < 0) {
        pixel.outside += 0 * weight;
        continue;
      }
      pixel.x[pixel.count] = rows[i].at * x.sh + columns[j].at * x.sw;
      pixel.weight[pixel.count++] = weight;
    }
}

}  // namespace

template <class T>
void grid_sample(const GridSampling& how, const TensorView<const T>& x, const T* grid, const TensorView<T>& y) {
  check_layout(x, "x");
  check_layout(y, "out");
  if (x.block != y.block) throw std::logic_error("grid_sample: x and out have different layouts");
  const index_t pixels = y.h * y.w, blocks = ceil_div(x.c, x.block), lanes = x.block;
  constexpr index_t kTogether = 64;  // pixels, whose taps serve all channels
  const index_t parts = ceil_div(pixels, kTogether);
  const index_t work = kTogether * (16 + blocks * lanes * (how.mode == GridSampling::Mode::bicubic ? 16 : 4));
  parallel_ranges(y.n * parts, grain_of(work), [&](index_t begin, index_t end) {
    const SampledAxis<T> vertical{static_cast<T>(x.h), how}, horizontal{static_cast<T>(x.w), how};
    std::array<SampledPixel<T>, kTogether> taps;
    for (index_t task = begin; task < end; ++task) {
      const index_t n = task / parts, first = task % parts * kTogether, count = std::min(kTogether, pixels - first);
      for (index_t p = 0; p < count; ++p) {
        const index_t at = first + p;
        taps[p].y = at / y.w * y.sh + at % y.w * y.sw;
        find_taps(vertical, horizontal, grid + 2 * (n * pixels + at), x, taps[p]);
      }
      for (index_t b = 0; b < blocks; ++b) {
        const T* from = x.data + n * x.sn + b * x.sb;
        T* to = y.data + n * y.sn + b * y.sb;
        for (index_t p = 0; p < count; ++p) {
          const SampledPixel<T>& pixel = taps[p];
          if (lanes == 1) {
            T sum = pixel.outside;
            for (int t = 0; t < pixel.count; ++t) sum += pixel.weight[t] * from[pixel.x[t]];
            to[pixel.y] = sum;
            continue;
          }
          T* sums = to + pixel.y;
          std::fill_n(sums, lanes, pixel.outside);
          for (int t = 0; t < pixel.count; ++t)
            for (index_t lane = 0; lane < lanes; ++lane) sums[lane] += pixel.weight[t] * from[pixel.x[t] + lane];
        }
      }
    }
  });
}

template void grid_sample<float>(const GridSampling&, const TensorView<const float>&, const float*, const TensorView<float>&);
template void grid_sample<double>(const GridSampling&, const TensorView<const double>&, const double*, const TensorView<double>&);

}  // namespace fastconv
