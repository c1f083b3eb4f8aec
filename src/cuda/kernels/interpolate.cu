// Resizing: the taps of fastconv::interpolation_geometry, computed by each thread.
#include "cuda/kernels/images.cuh"
#include "cuda/ops.h"
#include "fastconv/interpolation.h"

namespace fastconv::cuda {
namespace {

struct Axis {
  int in, out;
  float nearest_step;
  double step;
  bool align_corners;
};
struct Tap {
  int low, high;
  double weight;
};

// Products are rounded before anything is added to them, as they are on the host: another tap could
// have another weight for NaN.
__device__ __forceinline__ Tap bilinear_tap(const Axis& a, int i) {
  if (a.out == a.in) return {i, i, 0};
  double at = 0;
  if (!a.align_corners)
    at = fmax(0.0, __dadd_rn(__dmul_rn(i + 0.5, a.step), -0.5));
  else if (a.out > 1)
    at = __dmul_rn(i, a.in - 1) / (a.out - 1);
  const int low = at < a.in - 1 ? static_cast<int>(at) : a.in - 1;
  return {low, min(low + 1, a.in - 1), fmin(1.0, at - low)};
}

__device__ __forceinline__ int nearest(const Axis& a, int i) {
  return static_cast<int>(nearest_index(i, a.nearest_step, a.in));
}

template <class T, int kLanes, bool kBilinear>
__global__ void __launch_bounds__(kImageThreads)
    interpolate_kernel(Axis vertical, Axis horizontal, Pixels pixels, Nhwc<const T> x, Nhwc<T> y) {
  Position at;
  if (!pixels.locate(at)) return;
  float out[kLanes];
  if constexpr (kBilinear) {
    const Tap row = bilinear_tap(vertical, at.h), column = bilinear_tap(horizontal, at.w);
    float in[4][kLanes];
    load(pixel(x, at.n, row.low, column.low) + at.c, in[0]);
    load(pixel(x, at.n, row.low, column.high) + at.c, in[1]);
    load(pixel(x, at.n, row.high, column.low) + at.c, in[2]);
    load(pixel(x, at.n, row.high, column.high) + at.c, in[3]);
    const float down = static_cast<float>(row.weight), up = static_cast<float>(1 - row.weight);
    const float right = static_cast<float>(column.weight), left = static_cast<float>(1 - column.weight);
#pragma unroll
    for (int v = 0; v < kLanes; ++v)
      out[v] = (in[0][v] * left + in[1][v] * right) * up + (in[2][v] * left + in[3][v] * right) * down;
  } else {
    load(pixel(x, at.n, nearest(vertical, at.h), nearest(horizontal, at.w)) + at.c, out);
  }
  store(pixel(y, at.n, at.h, at.w) + at.c, out);
}

template <class T, int kLanes, bool kBilinear>
void run(const Axis& vertical, const Axis& horizontal, const Nhwc<const T>& x, const Nhwc<T>& y, cudaStream_t stream) {
  const Pixels pixels(y, kLanes);
  launch("interpolate", interpolate_kernel<T, kLanes, kBilinear>, pixels.blocks(), dim3(kImageThreads), 0, stream, vertical,
         horizontal, pixels, x, y);
}

Axis axis(int in, int out, double scale, bool align_corners) {
  return {in, out, nearest_step(in, out, scale),
          scale > 0 ? scale : static_cast<double>(in) / static_cast<double>(out), align_corners};
}

}  // namespace

template <class T>
void interpolate(bool bilinear, bool align_corners, const double (&scale)[2], const Nhwc<const T>& x, const Nhwc<T>& y,
                 cudaStream_t stream) {
  const bool copies = bilinear && x.h == y.h && x.w == y.w;  // as nearest by the sizes
  const Axis vertical = axis(x.h, y.h, copies ? 0 : scale[0], align_corners);
  const Axis horizontal = axis(x.w, y.w, copies ? 0 : scale[1], align_corners);
  const bool full = lanes_fit(x, kFullLanes<T>) && lanes_fit(y, kFullLanes<T>);
  if (bilinear && !copies)
    (full ? run<T, kFullLanes<T>, true> : run<T, 1, true>)(vertical, horizontal, x, y, stream);
  else
    (full ? run<T, kFullLanes<T>, false> : run<T, 1, false>)(vertical, horizontal, x, y, stream);
}

#define FASTCONV_INSTANTIATE(T) \
  template void interpolate<T>(bool, bool, const double (&)[2], const Nhwc<const T>&, const Nhwc<T>&, cudaStream_t);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(__half)
FASTCONV_INSTANTIATE(__nv_bfloat16)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv::cuda
