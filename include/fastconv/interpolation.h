// How images are resized, and what nearest interpolation reads: the one rule, for the host and for
// CUDA's kernels.
#pragma once

#include <array>

#include "fastconv/types.h"

#ifdef __CUDACC__
#define FASTCONV_HOST_DEVICE __host__ __device__
#else
#define FASTCONV_HOST_DEVICE
#endif

namespace fastconv {

// The words are those of ONNX's operator Resize.
struct Interpolation {
  enum class Mode : uint8_t { nearest, bilinear, bicubic } mode = Mode::nearest;
  std::array<double, 2> scale{};  // input step per output pixel; 0: input size / output size
  // Which place of the input an output pixel has.
  enum class Coordinates : uint8_t {
    half_pixel,
    pytorch_half_pixel,
    half_pixel_symmetric,
    align_corners,
    asymmetric
  } coordinates = Coordinates::half_pixel;
  // Which pixel is nearest. With half_pixel and round_prefer_ceil it is that of torch's
  // "nearest-exact", with asymmetric and floor that of its "nearest"; both are found in float.
  enum class Rounding : uint8_t { round_prefer_floor, round_prefer_ceil, floor, ceil } nearest_mode = Rounding::round_prefer_floor;
  // Filters get wider, by the step, where there are fewer output than input pixels. With
  // align_corners the centres are those of half_pixel, with the step of align_corners: so does
  // torch.
  bool antialias = false;
  double cubic_coeff_a = -0.75;  // of Keys' cubic convolution
  // Filters have no weights outside the image, where the pixels at its edge are repeated otherwise.
  bool exclude_outside = false;

  bool operator==(const Interpolation&) const = default;
};

// The input step per output element along one axis: `scale`, or by the sizes where that is 0. In
// float for every dtype, as torch does for float32: a rounding error here picks another pixel.
FASTCONV_HOST_DEVICE inline float nearest_step(index_t in, index_t out, double scale) {
  return scale > 0 ? static_cast<float>(scale) : static_cast<float>(in) / static_cast<float>(out);
}

// floor((i + centre) * step), at most in - 1. A float holds i up to 2**24 only.
FASTCONV_HOST_DEVICE inline index_t nearest_index(index_t i, float step, index_t in, float centre = 0) {
  const double at = i <= 1 << 24 ? (static_cast<float>(i) + centre) * step : (static_cast<double>(i) + centre) * step;
  return at < static_cast<double>(in - 1) ? static_cast<index_t>(at) : in - 1;
}

}  // namespace fastconv
