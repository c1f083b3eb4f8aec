#include "kernels/interpolate/interpolate.h"

#include <cmath>

#include "fastconv/error.h"
#include "fastconv/interpolation.h"
#include "fastconv/ops.h"
#include "ops/filter.h"
#include "ops/planes.h"

namespace fastconv {
namespace {

using Mode = Interpolation::Mode;
using Coordinates = Interpolation::Coordinates;
using Rounding = Interpolation::Rounding;

// One axis of an interpolation.
struct Axis {
  const Interpolation& how;
  index_t in, out;
  double scale;

  double step() const { return scale > 0 ? scale : static_cast<double>(in) / static_cast<double>(out); }
  double aligned_step() const { return out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0; }

  // The place of output element i: input element j is at j.
  double place(index_t i) const {
    const double half_pixel = (static_cast<double>(i) + 0.5) * step() - 0.5;
    switch (how.coordinates) {
      case Coordinates::half_pixel: return half_pixel;
      case Coordinates::pytorch_half_pixel: return out > 1 ? half_pixel : 0;
      case Coordinates::half_pixel_symmetric:  // the middle of the output is that of the input
        return half_pixel + (static_cast<double>(in) - static_cast<double>(out) * step()) / 2;
      case Coordinates::align_corners:
        return out > 1 ? static_cast<double>(i) * static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
      case Coordinates::asymmetric: return static_cast<double>(i) * step();
    }
    return half_pixel;
  }
};

double rounded(double at, Rounding rounding) {
  switch (rounding) {
    case Rounding::round_prefer_floor: return std::ceil(at - 0.5);
    case Rounding::round_prefer_ceil: return std::floor(at + 0.5);
    case Rounding::floor: return std::floor(at);
    case Rounding::ceil: return std::ceil(at);
  }
  return at;
}

InterpolationTap nearest_tap(const Axis& axis, index_t i) {
  const Interpolation& how = axis.how;
  const auto torchs = [&](float centre) {
    return nearest_index(i, nearest_step(axis.in, axis.out, axis.scale), axis.in, centre);
  };
  index_t at;
  if (how.coordinates == Coordinates::asymmetric && how.nearest_mode == Rounding::floor) at = torchs(0);
  else if (how.coordinates == Coordinates::half_pixel && how.nearest_mode == Rounding::round_prefer_ceil) at = torchs(0.5f);
  else
    at = static_cast<index_t>(std::max(0.0, std::min(rounded(axis.place(i), how.nearest_mode), static_cast<double>(axis.in - 1))));
  return {at, at, 0};
}

InterpolationTap bilinear_tap(const Axis& axis, index_t i) {
  const index_t in = axis.in;
  if (axis.out == in) return {i, i, 0};  // whatever the scale: so does torch, for every layout and size
  const double at = std::max(0.0, axis.place(i));
  const index_t low = at < static_cast<double>(in - 1) ? static_cast<index_t>(at) : in - 1;
  return {low, std::min(low + 1, in - 1), std::min(1.0, at - static_cast<double>(low))};
}

// The weight of what is `distance` away, in steps of the filter. Bicubic: R. Keys, "Cubic
// convolution interpolation for digital image processing" (1981).
double filter_weight(const Interpolation& how, double distance) {
  const double d = std::abs(distance), a = how.cubic_coeff_a;
  if (how.mode == Mode::bilinear) return std::max(0.0, 1 - d);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

// The filter around output element i. Filters that are cut off, or have steps, do not add up to 1
// of themselves.
void add_taps(const Axis& axis, index_t i, std::vector<WeightedTap>& taps) {
  const Interpolation& how = axis.how;
  const double in = static_cast<double>(axis.in);
  double at = axis.place(i), stretch = 1;
  if (how.antialias) {
    if (axis.out == axis.in) return taps.push_back({i, 1});  // as bilinear_tap
    const bool aligned = how.coordinates == Coordinates::align_corners;
    const double step = aligned ? axis.aligned_step() : axis.step();
    if (aligned) at = (static_cast<double>(i) + 0.5) * step - 0.5;
    stretch = std::max(1.0, std::min(step, in));  // a wider one has the same weight everywhere
  }
  at = std::max(-stretch, std::min(at, in - 1 + stretch));  // further away there is nothing else
  const double reach = (how.mode == Mode::bilinear ? 1 : 2) * stretch;
  const index_t end = static_cast<index_t>(std::floor(at + 1 + reach));
  const std::size_t first = taps.size();
  double sum = 0;
  for (index_t j = static_cast<index_t>(std::floor(at + 1 - reach)); j < end; ++j) {
    const index_t inside = std::clamp<index_t>(j, 0, axis.in - 1);
    if (how.exclude_outside && inside != j) continue;
    taps.push_back({inside, filter_weight(how, (static_cast<double>(j) - at) * (1 / stretch))});
    sum += taps.back().weight;
  }
  if (sum == 0) {  // nothing of it is inside
    taps.resize(first);
    taps.push_back({std::clamp<index_t>(static_cast<index_t>(at), 0, axis.in - 1), 1});
  } else if (how.exclude_outside || how.antialias) {
    for (std::size_t t = first; t < taps.size(); ++t) taps[t].weight /= sum;
  }
}

InterpolationFilter filter_of(const Axis& axis) {
  InterpolationFilter filter;
  filter.begins.reserve(axis.out + 1);
  for (index_t i = 0; i < axis.out; ++i) {
    filter.begins.push_back(static_cast<index_t>(filter.taps.size()));
    add_taps(axis, i, filter.taps);
  }
  filter.begins.push_back(static_cast<index_t>(filter.taps.size()));
  return filter;
}

std::vector<InterpolationTap> taps_of(const Axis& axis) {
  std::vector<InterpolationTap> taps;
  taps.reserve(axis.out);
  for (index_t i = 0; i < axis.out; ++i)
    taps.push_back(axis.how.mode == Mode::bilinear ? bilinear_tap(axis, i) : nearest_tap(axis, i));
  return taps;
}

}  // namespace

InterpolationGeometry interpolation_geometry(std::array<index_t, 2> size, std::array<index_t, 2> output_size,
                                             const Interpolation& how) {
  if (output_size[0] < 1 || output_size[1] < 1 || size[0] < 1 || size[1] < 1)
    fail("interpolate needs at least one row and one column, got input (", size[0], ", ", size[1], ") and output (",
         output_size[0], ", ", output_size[1], ")");
  for (const double step : how.scale)
    if (!(step >= 0 && std::isfinite(step)))
      fail("scale must be finite and not negative, got (", how.scale[0], ", ", how.scale[1], ")");
  checked_size({output_size[0], output_size[1]}, sizeof(InterpolationTap));
  const Axis vertical{how, size[0], output_size[0], how.scale[0]}, horizontal{how, size[1], output_size[1], how.scale[1]};
  InterpolationGeometry g;
  if (how.mode == Mode::bicubic || how.antialias) {
    g.row_filter = filter_of(vertical);
    g.column_filter = filter_of(horizontal);
  } else {
    g.bilinear = how.mode == Mode::bilinear && output_size != size;  // else a copy
    g.rows = taps_of(vertical);
    g.columns = taps_of(horizontal);
  }
  return g;
}

template <class T>
void interpolate(const InterpolationGeometry& g, const TensorView<const T>& x, const TensorView<T>& y) {
  if (g.rows.empty()) return filter(g.row_filter, g.column_filter, x, y);
  const auto run = g.bilinear ? interpolate_kernels<T>().bilinear : interpolate_kernels<T>().nearest;
  for_each_block(
      x, y, [&](Rows out) { return Rows{g.rows[out.begin].low, g.rows[out.end - 1].high + 1}; },
      [&](const T* from, index_t from_row, T* to, index_t to_row, Rows rows) {
        run(from, from_row, to, to_row, g.rows.data() + rows.begin, rows.end - rows.begin, g.columns.data(),
            static_cast<index_t>(g.columns.size()));
      });
}

template void interpolate<float>(const InterpolationGeometry&, const TensorView<const float>&, const TensorView<float>&);
template void interpolate<double>(const InterpolationGeometry&, const TensorView<const double>&,
                                  const TensorView<double>&);

}  // namespace fastconv
