#include "kernels/interpolate/interpolate.h"

#include <limits>

#include "fastconv/error.h"
#include "fastconv/interpolation.h"
#include "fastconv/ops.h"
#include "ops/planes.h"

namespace fastconv {
namespace {

InterpolationTap nearest_tap(index_t i, index_t in, index_t out, double scale) {
  const index_t at = nearest_index(i, nearest_step(in, out, scale), in);
  return {at, at, 0};
}

InterpolationTap bilinear_tap(index_t i, index_t in, index_t out, double scale, bool align_corners) {
  if (out == in) return {i, i, 0};  // whatever the scale: so does torch, for every layout and size
  double at;
  if (align_corners) {
    at = out > 1 ? static_cast<double>(i) * static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
  } else {
    const double step = scale > 0 ? scale : static_cast<double>(in) / static_cast<double>(out);
    at = std::max(0.0, (static_cast<double>(i) + 0.5) * step - 0.5);
  }
  const index_t low = at < static_cast<double>(in - 1) ? static_cast<index_t>(at) : in - 1;
  return {low, std::min(low + 1, in - 1), std::min(1.0, at - static_cast<double>(low))};
}

}  // namespace

InterpolationGeometry interpolation_geometry(std::array<index_t, 2> size, std::array<index_t, 2> output_size,
                                             std::array<double, 2> scale, bool bilinear, bool align_corners) {
  if (output_size[0] < 1 || output_size[1] < 1 || size[0] < 1 || size[1] < 1)
    fail("interpolate needs at least one row and one column, got input (", size[0], ", ", size[1], ") and output (",
         output_size[0], ", ", output_size[1], ")");
  for (const double step : scale)
    if (!(step >= 0 && step < std::numeric_limits<double>::infinity()))
      fail("scale must be finite and not negative, got (", scale[0], ", ", scale[1], ")");
  checked_size({output_size[0], output_size[1]}, sizeof(InterpolationTap));
  InterpolationGeometry g;
  g.bilinear = bilinear && output_size != size;  // else a copy
  for (int axis = 0; axis < 2; ++axis) {
    std::vector<InterpolationTap>& taps = axis == 0 ? g.rows : g.columns;
    taps.reserve(output_size[axis]);
    for (index_t i = 0; i < output_size[axis]; ++i)
      taps.push_back(bilinear ? bilinear_tap(i, size[axis], output_size[axis], scale[axis], align_corners)
                              : nearest_tap(i, size[axis], output_size[axis], scale[axis]));
  }
  return g;
}

template <class T>
void interpolate(const InterpolationGeometry& g, const TensorView<const T>& x, const TensorView<T>& y) {
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
