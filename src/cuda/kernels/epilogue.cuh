// From sums in float to the output: bias, residual, activation, conversion.
#pragma once

#include "cuda/kernels/device.cuh"

namespace fastconv::cuda {

// The lanes are passed round instead of unrolling the loop, so that the code of the activations
// exists once.
template <int kLanes>
__device__ __forceinline__ void activate_lanes(const Activation& activation, float (&v)[kLanes]) {
  if (activation.kind == Activation::none) return;
  if (activation.kind == Activation::relu) {
#pragma unroll
    for (float& lane : v) lane = lane < 0.f ? 0.f : lane;
    return;
  }
  const float a = static_cast<float>(activation.a), b = static_cast<float>(activation.b);
#pragma unroll 1
  for (int count = 0; count < kLanes; ++count) {
    const float y = activate(activation.kind, v[0], a, b);
#pragma unroll
    for (int lane = 0; lane + 1 < kLanes; ++lane) v[lane] = v[lane + 1];
    v[kLanes - 1] = y;
  }
}

// kLanes channels of one pixel from `channel` on. With more than one lane, y is aligned to them.
// `residual` counts only where the epilogue has one.
template <int kLanes, class T>
__device__ __forceinline__ void finish(const Epilogue<T>& epilogue, index_t channel, const Vector<T, kLanes>& residual,
                                       float (&v)[kLanes], T* y) {
  if (epilogue.bias) {
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) v[lane] += __ldg(epilogue.bias + channel + lane);
  }
  if (epilogue.residual.data) {
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) v[lane] += to_float(residual.lane[lane]);
  }
  activate_lanes(epilogue.activation, v);
  Vector<T, kLanes> out;
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) out.lane[lane] = from_float<T>(v[lane]);
  *reinterpret_cast<Vector<T, kLanes>*>(y) = out;
}

// The residual's channels there, if there is one. It may be y itself: not through the read-only
// cache.
template <int kLanes, class T>
__device__ __forceinline__ Vector<T, kLanes> load_residual(const Epilogue<T>& epilogue, int n, int h, int w, index_t channel) {
  Vector<T, kLanes> lanes{};
  const Nhwc<const T>& r = epilogue.residual;
  if (r.data) lanes = *reinterpret_cast<const Vector<T, kLanes>*>(r.data + n * r.sn + h * r.sh + w * r.sw + channel);
  return lanes;
}

}  // namespace fastconv::cuda
