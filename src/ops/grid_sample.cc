// Sampling at the places of a grid: Jaderberg et al. 2015, "Spatial transformer networks".
#include <array>
#include <limits>

#include "fastconv/error.h"
#include "fastconv/memory.h"
#include "fastconv/ops.h"
#include "kernels/sample/sample.h"
#include "ops/planes.h"
#include "ops/ranges.h"

namespace fastconv {
namespace {

constexpr index_t kMostTogether = 256;  // pixels, whose taps serve all channels

template <class T>
using Taps = std::array<SampledPixels<T>, kMostTogether / SampledPixels<T>::kCount>;

// Output pixels of an image that lie at equal steps.
struct Run {
  index_t grid, y, count;  // the first pixel: its place among all in the grid, its offset in a plane of y
};

template <class T>
class Sampler {
 public:
  Sampler(const GridSampling& how, const TensorView<const T>& x, const T* grid, const TensorView<T>& y)
      : how_(how), x_(x), grid_(grid), y_(y) {
    const bool one_line = y.h <= 1 || y.sh == y.w * y.sw;
    lines_ = one_line ? 1 : y.h;
    width_ = one_line ? y.h * y.w : y.w;
    together_ = how.mode == GridSampling::Mode::bicubic ? 64 : kMostTogether;  // so that taps stay in L1
    parts_ = ceil_div(width_, together_);
  }

  void run() const {
    if (x_.block == 1 && pays_to_pack()) run_packed();
    else run_in_place();
  }

 private:
  index_t runs() const { return lines_ * parts_; }  // in an image
  Run run_of(index_t n, index_t i) const {
    const index_t line = i / parts_, first = i % parts_ * together_;
    return {(n * lines_ + line) * width_ + first, line * y_.sh + first * y_.sw, std::min(together_, width_ - first)};
  }
  void find_taps(const Run& run, index_t x_row, index_t x_column, Taps<T>& taps) const {
    sample_.find_taps(how_, grid_ + 2 * run.grid, run.count, x_.h, x_.w, x_row, x_column, taps.data());
  }
  index_t work() const { return together_ * (how_.mode == GridSampling::Mode::bicubic ? 16 : 4); }  // of a run and channel

  // Vectors of channels are read at once from channel blocks, of planes one element after the
  // other.
  bool pays_to_pack() const {
    return how_.mode != GridSampling::Mode::nearest && 2 * x_.c >= layout_.lanes && 2 * y_.h * y_.w >= x_.h * x_.w;
  }

  void run_in_place() const {
    const index_t blocks = ceil_div(x_.c, x_.block);
    parallel_ranges(y_.n * runs(), grain_of(work() * (4 + x_.c)), [&](index_t begin, index_t end) {
      Taps<T> taps;
      for (index_t task = begin; task < end; ++task) {
        const index_t n = task / runs();
        const Run run = run_of(n, task % runs());
        find_taps(run, x_.sh, x_.sw, taps);
        const T* from = x_.data + n * x_.sn;
        T* to = y_.data + n * y_.sn + run.y;
        if (x_.block == 1) sample_.planes(how_.mode, taps.data(), run.count, x_.c, from, x_.sb, x_.sw, to, y_.sb, y_.sw);
        else sample_.blocks(how_.mode, taps.data(), run.count, blocks, from, x_.sb, to, y_.sb);
      }
    });
  }

  // Groups of channel blocks, perhaps of several images, are packed first, as any pixel may read
  // any other.
  void run_packed() const {
    constexpr index_t kGroupElements = index_t{1} << 18;
    const index_t lanes = layout_.lanes, blocks = ceil_div(x_.c, lanes), all = x_.n * blocks, size = x_.h * x_.w * lanes;
    const index_t group = std::min(all, std::max<index_t>(4, kGroupElements / size));
    const auto channels = [&](index_t block) { return static_cast<int>(std::min(lanes, x_.c - block % blocks * lanes)); };
    Scratch scratch(checked_size({group, size}, sizeof(T)) * sizeof(T));
    T* const packed = scratch.as<T>();
    for (index_t first = 0; first < all; first += group) {
      const index_t last = std::min(all, first + group);
      parallel_ranges((last - first) * x_.h, grain_of(x_.w * lanes), [&](index_t begin, index_t end) {
        for (index_t row = begin, rows; row < end; row += rows) {
          const index_t block = first + row / x_.h, h = row % x_.h;
          rows = std::min(end - row, x_.h - h);
          const T* from = x_.data + block / blocks * x_.sn + block % blocks * lanes * x_.sb + h * x_.sh;
          layout_.pack(from, x_.sb, channels(block), rows, x_.w, x_.sh, x_.sw, packed + row * x_.w * lanes, x_.w * lanes);
        }
      });
      const index_t first_image = first / blocks, images = (last - 1) / blocks - first_image + 1;
      parallel_ranges(images * runs(), grain_of(work() * lanes * ceil_div(last - first, images)), [&](index_t begin, index_t end) {
        Taps<T> taps;
        alignas(64) std::array<T, kMostTogether * 64 / sizeof(T)> sampled;
        for (index_t task = begin; task < end; ++task) {
          const index_t n = first_image + task / runs();
          const Run run = run_of(n, task % runs());
          find_taps(run, x_.w * lanes, lanes, taps);
          for (index_t block = std::max(first, n * blocks); block < std::min(last, (n + 1) * blocks); ++block) {
            sample_.blocks(how_.mode, taps.data(), run.count, 1, packed + (block - first) * size, 0, sampled.data(), 0);
            T* to = y_.data + n * y_.sn + block % blocks * lanes * y_.sb + run.y;
            layout_.unpack(sampled.data(), 0, channels(block), 1, run.count, to, y_.sb, 0, y_.sw);
          }
        }
      });
    }
  }

  const GridSampling& how_;
  const TensorView<const T>& x_;
  const T* grid_;
  const TensorView<T>& y_;
  index_t lines_, width_, together_, parts_;
  const SampleKernels<T>& sample_ = sample_kernels<T>();
  const LayoutKernels<T>& layout_ = layout_kernels<T>();
};

}  // namespace

template <class T>
void grid_sample(const GridSampling& how, const TensorView<const T>& x, const T* grid, const TensorView<T>& y) {
  check_layout(x, "x");
  check_layout(y, "out");
  if (x.block != y.block) throw std::logic_error("grid_sample: x and out have different layouts");
  if (sizeof(T) == 4 && std::max(x.h, x.w) > std::numeric_limits<std::int32_t>::max())
    fail("grid_sample: x of float32 may have at most 2**31 - 1 rows and columns, got ", x.h, " and ", x.w);
  if (y.n > 0 && y.h > 0 && y.w > 0) Sampler<T>(how, x, grid, y).run();
}

template void grid_sample<float>(const GridSampling&, const TensorView<const float>&, const float*, const TensorView<float>&);
template void grid_sample<double>(const GridSampling&, const TensorView<const double>&, const double*, const TensorView<double>&);

}  // namespace fastconv
