// 1x1 convolution by one level of Strassen's algorithm: seven products of halves where eight would
// be needed. Blocked like Winograd: for a band of pixels the right factors are made once, then for
// each pair of output blocks of either half the seven products and their sums follow one another in
// L2. The left factors are made of the weights ahead. After Strassen 1969, "Gaussian elimination is
// not optimal"; Huang et al. 2016, "Strassen's algorithm reloaded".
#include <algorithm>
#include <numeric>
#include <vector>

#include "conv/band.h"
#include "conv/engine.h"
#include "conv/probe.h"
#include "fastconv/cpu.h"
#include "fastconv/thread_pool.h"
#include "kernels/gemm/gemm.h"
#include "kernels/strassen/strassen.h"

namespace fastconv {
namespace {

// A view whose rows follow one another as its pixels do, as a single row.
template <class View>
bool is_flat(const View& view) {
  return view.h == 1 || view.sh == view.w * view.sw;
}
template <class View>
View flattened(View view) {
  view.w *= view.h;
  view.h = 1;
  return view;
}

template <class T>
class Strassen final : public ConvEngine<T> {
 public:
  explicit Strassen(const ConvTask& task)
      : ConvEngine<T>(task),
        lanes_(pack_kernels<T>().lanes),
        in_half_(task.geometry.in_channels / 2),
        out_half_(task.geometry.out_channels / 2),
        vectors_(out_half_ / lanes_) {}

  void run(const TensorView<const T>& x_given, const TensorView<const T>* residual_given,
           const TensorView<T>& out_given) const override {
    const ConvGeometry& g = this->task_.geometry;
    Task t{x_given, nullptr, out_given, false, false, nullptr};
    t.x.sh *= g.stride_h;  // the pixels between are never read
    t.x.sw *= g.stride_w;
    t.x.h = g.out_h;
    t.x.w = g.out_w;
    if (is_flat(t.x)) t.x = flattened(t.x);
    TensorView<const T> residual;
    if (residual_given) residual = *residual_given;
    if (is_flat(t.out) && (!residual_given || is_flat(residual))) {
      t.out = flattened(t.out);
      residual = flattened(residual);
    }
    if (residual_given) t.residual = &residual;
    const auto in_blocks = [&](const auto& view) { return view.block == lanes_ && view.lane == 0; };
    t.in_place = in_blocks(t.x) && t.x.h == 1;
    t.out_in_place = in_blocks(t.out) && t.out.h == 1 && (!t.residual || (in_blocks(residual) && residual.h == 1 &&
                     residual.sb == t.out.sb && residual.sw == t.out.sw));

    const index_t threads = num_threads(), wanted = threads == 1 ? 1 : 3 * threads, pixels = g.out_h * g.out_w;
    const index_t pairs = ceil_div(pixels, 2), tiles = ceil_div(pairs, gemm_kernels<T>().max_rows);
    const index_t most_parts = ceil_div(vectors_, 2);
    index_t bands = ceil_div(pairs, band_pairs());
    // Enough tasks for every thread, as in direct convolution: bands of wide images, output
    // channels of small ones; both where that leaves too few.
    const auto divide = [&](index_t others, index_t least) {
      if (others * bands < least) bands = std::max(bands, std::min(tiles, ceil_div(ceil_div(least, others), threads) * threads));
    };
    if (g.out_w >= kWide) divide(t.x.n, wanted);
    else divide(t.x.n * most_parts, threads);
    const index_t images = bands > 1 ? 1 : std::min(band_pairs() / pairs, ceil_div(t.x.n, threads));  // of one task
    const index_t units = ceil_div(t.x.n, images) * bands;
    index_t parts = units >= wanted ? 1 : std::min(most_parts, ceil_div(wanted, units));
    if (parts > threads) parts = parts / threads * threads;
    const T* borrowed = this->borrowed_;
    const Scratch ahead(borrowed ? static_cast<std::size_t>(packed_size()) * sizeof(T) : 0);
    if (borrowed) transform(borrowed, ahead.as<T>());
    t.weights = borrowed ? ahead.as<T>() : this->packed_.data();
    parallel(units * parts, [&](TaskQueue& queue) {
      const FlushDenormals flush(this->flush_denormals());
      Scratch scratch(workspace_bytes());
      Band band{};
      index_t split = -1;
      for (index_t begin, end; queue.next(begin, end);)
        for (index_t task = begin; task < end; ++task) {
          const index_t unit = task / parts, part = task % parts, index = unit % bands;
          if (unit != split) {
            const index_t first = 2 * (index * pairs / bands), stop = 2 * ((index + 1) * pairs / bands), n = unit / bands * images;
            band = {n, std::min(images, t.x.n - n), first, std::min(stop, pixels) - first, scratch.as<T>()};
            split_input(t, band);
          }
          split = unit;
          for (index_t v = part * vectors_ / parts, end_v = (part + 1) * vectors_ / parts; v < end_v;) {
            const int count = v % 2 == 0 && v + 1 < end_v ? 2 : 1;
            multiply(t, band, v, count);
            v += count;
          }
        }
    });
  }

  std::size_t workspace_bytes() const override {
    const index_t pairs = band_pairs();
    // While the input is split, the packed pixels of two blocks lie where products and sums will
    // be.
    const index_t input_phase = 4 * pairs * lanes_, output_phase = kStrassenProducts * m_stride(pairs) + 4 * pairs * lanes_;
    return static_cast<std::size_t>(kStrassenProducts * v_stride(pairs) + std::max(input_phase, output_phase)) * sizeof(T);
  }

  double probe(const T* weight) const override {
    return probe_error<T>(this->task_.geometry, 2, weight, [&](const ConvGeometry& g, const auto& x, const auto& y) {
      Strassen plain(*this);
      plain.task_.geometry = g;
      plain.forget_epilogue();
      plain.run(x, nullptr, y);
    });
  }

 private:
  std::unique_ptr<ConvEngine<T>> clone() const override { return std::make_unique<Strassen>(*this); }
  void pack_weights(const T* weight, T* packed) override { transform(weight, packed); }

  struct Task {
    TensorView<const T> x;
    const TensorView<const T>* residual;
    TensorView<T> out;
    bool in_place, out_in_place;  // blocked, in one row
    const T* weights;
  };
  // Pixels [first, first + pixels) of the images from n on. Of scratch: the right factors,
  // v[product][channel block][pair][lanes]; the products of one or two vectors of output channels,
  // m[product][vector][pair][lanes]; the sums of one image where they are not written in place.
  struct Band {
    index_t n, images, first, pixels;
    T* v;
    index_t image_pairs() const { return ceil_div(pixels, 2); }
    index_t pairs() const { return images * image_pairs(); }
  };

  // A few lines of padding keep the products of a tile from falling into one set of the L1 cache.
  index_t v_stride(index_t pairs) const { return in_half_ * pairs + 3 * static_cast<index_t>(kAlignment / sizeof(T)); }
  index_t m_stride(index_t pairs) const { return 2 * pairs * lanes_ + static_cast<index_t>(kAlignment / sizeof(T)); }

  // Of a band: so many that factors and products stay in L2; more where each band would fetch the
  // weights from beyond L2 once more, for the factors are read in order. No fewer than fill the
  // registers.
  index_t band_pairs() const {
    const std::size_t l2 = cache_sizes().l2, packed = static_cast<std::size_t>(packed_size()) * sizeof(T), budget = packed > l2 ? 2 * l2 : l2 / 10 * 8;
    const index_t rows = gemm_kernels<T>().max_rows;
    const index_t bytes = kStrassenProducts * (in_half_ + 2 * lanes_) * static_cast<index_t>(sizeof(T));
    return std::max<index_t>(1, static_cast<index_t>(budget) / bytes / rows) * rows;
  }

  // [pair of vectors][product][input channel of a half][vectors of the pair], then what the sums of
  // each output channel are multiplied by.
  index_t factors_size() const { return kStrassenProducts * in_half_ * out_half_; }
  index_t packed_size() const override { return factors_size() + 2 * out_half_; }

  int pair_vectors(index_t vector) const { return (vector | 1) < vectors_ ? 2 : 1; }

  void transform(const T* weight, T* packed) const {
    const index_t channels = 2 * in_half_;
    std::vector<index_t> order(static_cast<std::size_t>(in_half_));
    std::iota(order.begin(), order.end(), index_t{0});
    parallel_for(vectors_, [&](index_t block) {
      const index_t vectors = pair_vectors(block);
      const Scratch scratch(static_cast<std::size_t>(4 * in_half_ * lanes_) * sizeof(T));
      T* quarters = scratch.as<T>();  // w11, w12, w21, w22
      for (index_t q = 0; q < 4; ++q)
        pack_kernels<T>().pack_weights(weight + (q / 2 * out_half_ + block * lanes_) * channels + q % 2 * in_half_, channels, lanes_,
                                       in_half_, order.data(), quarters + q * in_half_ * lanes_, lanes_);
      const auto quarter = [&](index_t q) { return quarters + q * in_half_ * lanes_; };
      T* to = packed + block / 2 * 2 * kStrassenProducts * in_half_ * lanes_ + block % 2 * lanes_;
      T* scale = packed + factors_size() + block * lanes_;
      strassen_kernels<T>().weight({quarter(0), quarter(1), quarter(2), quarter(3), in_half_, to, in_half_ * vectors * lanes_,
                                    vectors * lanes_, scale, scale + out_half_});
    });
  }

  // Calls f(row, column, pixels, those before) for the stretches of rows of `width` pixels that
  // make up the band in each image.
  template <class F>
  static void for_each_stretch(const Band& band, index_t width, const F& f) {
    for (index_t done = 0; done < band.pixels;) {
      const index_t row = (band.first + done) / width, column = (band.first + done) % width;
      const index_t count = std::min(width - column, band.pixels - done);
      f(row, column, count, done);
      done += count;
    }
  }

  void split_input(const Task& t, const Band& band) const {
    const index_t blocks = in_half_ / lanes_, pairs = band.pairs();
    T* packed = band.v + kStrassenProducts * v_stride(pairs);
    for (index_t image = 0; image < band.images; ++image)
      for (index_t block = 0; block < blocks; ++block) {
        T* v = band.v + (block * pairs + image * band.image_pairs()) * lanes_;
        StrassenInput<T> input{packed, band.pixels * lanes_, lanes_, band.pixels, v, v_stride(pairs)};
        if (t.in_place) {
          input.x = t.x.channel(band.n + image, block * lanes_) + band.first * t.x.sw;
          input.x_half = blocks * t.x.sb;
          input.x_stride = t.x.sw;
        } else {
          for (index_t half = 0; half < 2; ++half)
            for_each_stretch(band, t.x.w, [&](index_t row, index_t column, index_t pixels, index_t before) {
              pack_band(t.x, band.n + image, half * in_half_ + block * lanes_, lanes_, {row, 1, column, pixels}, lanes_,
                        packed + (half * band.pixels + before) * lanes_);
            });
        }
        strassen_kernels<T>().input(input);
      }
  }

  // One or two vectors of output channels of either half, from `first` on.
  void multiply(const Task& t, const Band& band, index_t first, int count) const {
    const GemmKernels<T>& kernels = gemm_kernels<T>();
    const index_t pairs = band.pairs(), blocks = in_half_ / lanes_, tiles = ceil_div(pairs, kernels.max_rows);
    const T* weights = t.weights + (first / 2 * 2 * kStrassenProducts * in_half_ + first % 2) * lanes_;
    T* m = band.v + kStrassenProducts * v_stride(pairs);
    std::vector<index_t> offsets(static_cast<std::size_t>(blocks));
    for (index_t block = 0; block < blocks; ++block) offsets[block] = block * pairs * lanes_;
    const index_t part = kReductionPart / lanes_;
    GemmTile<T> tile{};
    tile.a_stride = tile.c_stride = lanes_;
    tile.b_stride = pair_vectors(first) * lanes_;
    tile.c_vector_stride = pairs * lanes_;
    tile.run = lanes_;
    for (index_t product = 0; product < kStrassenProducts; ++product)
      for (index_t block = 0; block < blocks; block += part) {
        tile.offsets = offsets.data() + block;
        tile.runs = std::min(part, blocks - block);
        tile.b = weights + (product * in_half_ + block * lanes_) * tile.b_stride;
        tile.accumulate = block > 0;
        const index_t size = tile.runs * lanes_ * tile.b_stride;
        for (index_t i = 0; i < tiles; ++i) {
          const index_t begin = i * pairs / tiles, end = (i + 1) * pairs / tiles;
          tile.a = band.v + product * v_stride(pairs) + begin * lanes_;
          tile.c = m + product * m_stride(pairs) + begin * lanes_;
          tile.prefetch = tile.b + size + i * size / tiles;  // the next part's weights, in equal shares
          kernels.tile[0][end - begin - 1][count - 1](tile);
        }
      }
    for (index_t image = 0; image < band.images; ++image)
      for (int v = 0; v < count; ++v)
        add_up(t, band, band.n + image, (first + v) * lanes_, m + (v * pairs + image * band.image_pairs()) * lanes_);
  }

  // From the products of image n to the output channels [oc, oc + lanes) of either half.
  void add_up(const Task& t, const Band& band, index_t n, index_t oc, const T* m) const {
    const Epilogue<T> epilogue = this->epilogue();
    const index_t pairs = band.pairs();
    StrassenOutput<T> output{};
    output.m = m;
    output.m_stride = m_stride(pairs);
    output.pixels = band.pixels;
    output.scale = t.weights + factors_size() + oc;
    output.scale_half = output.scale + out_half_;
    if (t.out_in_place) {
      output.y = t.out.channel(n, oc) + band.first * t.out.sw;
      output.y_half = out_half_ / lanes_ * t.out.sb;
      output.y_stride = t.out.sw;
      if (t.residual) output.residual = t.residual->channel(n, oc) + band.first * t.residual->sw;
      output.bias = this->bias_.data() + oc;
      output.bias_half = output.bias + out_half_;
      output.low = epilogue.clamp().low;
      output.high = epilogue.clamp().high;
      strassen_kernels<T>().output(output);
      if (epilogue.is_clamp()) return;
      for (index_t half = 0; half < 2; ++half) {
        const index_t channel = half * out_half_ + oc;
        T* y = output.y + half * output.y_half;
        if (output.y_stride == lanes_) epilogue.apply_to_pixels(channel, lanes_, y, band.pixels);
        else
          for (index_t p = 0; p < band.pixels; ++p) epilogue.apply_to_pixels(channel, lanes_, y + p * output.y_stride, 1);
      }
      return;
    }
    const T* zeros = this->bias_.data() + this->task_.geometry.out_channels;
    T* sums = band.v + kStrassenProducts * (v_stride(pairs) + m_stride(pairs));
    output.y = sums;
    output.y_half = band.pixels * lanes_;
    output.y_stride = lanes_;
    output.bias = output.bias_half = zeros;
    output.low = clamp_of<T>(Activation::none).low;
    output.high = clamp_of<T>(Activation::none).high;
    strassen_kernels<T>().output(output);
    for (index_t half = 0; half < 2; ++half)
      for_each_stretch(band, t.out.w, [&](index_t row, index_t column, index_t pixels, index_t before) {
        const BandSums<T> stretch{sums + half * output.y_half + before * lanes_, pixels * lanes_, lanes_, n,
                                  half * out_half_ + oc, lanes_, row, 1, column, pixels};
        finish_band(stretch, this->bias_.data(), t.residual, epilogue, t.out);
      });
  }

  const index_t lanes_;
  const index_t in_half_, out_half_;  // channels
  const index_t vectors_;             // of output channels, in a half
};

}  // namespace

template <class T>
std::unique_ptr<ConvEngine<T>> make_strassen(const ConvTask& task) {
  return std::make_unique<Strassen<T>>(task);
}
template std::unique_ptr<ConvEngine<float>> make_strassen(const ConvTask&);
template std::unique_ptr<ConvEngine<double>> make_strassen(const ConvTask&);

}  // namespace fastconv
