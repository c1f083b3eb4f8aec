// What a thread holds of neighbouring elements: kLanes floats, loaded and stored in accesses of up
// to 16 bytes.
#pragma once

#include "cuda/kernels/device.cuh"

namespace fastconv::cuda {

// Elements of 16 bytes.
template <class T>
inline constexpr int kFullLanes = 16 / static_cast<int>(sizeof(T));

template <int kLanes, class T>
__device__ __forceinline__ void load(const T* from, float (&to)[kLanes]) {
  constexpr int kChunk = kLanes < kFullLanes<T> ? kLanes : kFullLanes<T>;
#pragma unroll
  for (int i = 0; i < kLanes; i += kChunk) {
    const Vector<T, kChunk> chunk = *reinterpret_cast<const Vector<T, kChunk>*>(from + i);
#pragma unroll
    for (int j = 0; j < kChunk; ++j) to[i + j] = to_float(chunk.lane[j]);
  }
}

template <int kLanes, class T>
__device__ __forceinline__ void store(T* to, const float (&from)[kLanes]) {
  constexpr int kChunk = kLanes < kFullLanes<T> ? kLanes : kFullLanes<T>;
#pragma unroll
  for (int i = 0; i < kLanes; i += kChunk) {
    Vector<T, kChunk> chunk;
#pragma unroll
    for (int j = 0; j < kChunk; ++j) chunk.lane[j] = from_float<T>(from[i + j]);
    *reinterpret_cast<Vector<T, kChunk>*>(to + i) = chunk;
  }
}

template <int kLanes>
__device__ __forceinline__ void set(float (&x)[kLanes], float value) {
#pragma unroll
  for (int i = 0; i < kLanes; ++i) x[i] = value;
}

template <Activation::Kind kKind, int kLanes>
__device__ __forceinline__ void activate_as(float (&x)[kLanes], float a, float b) {
#pragma unroll
  for (int i = 0; i < kLanes; ++i) x[i] = activate(kKind, x[i], a, b);
}

// One decision for all lanes.
template <int kLanes>
__device__ __forceinline__ void activate(const Activation& activation, float (&x)[kLanes]) {
  const float a = static_cast<float>(activation.a), b = static_cast<float>(activation.b);
  switch (activation.kind) {
#define ROW(name, definition) \
  case Activation::name: return activate_as<Activation::name>(x, a, b);
    FASTCONV_ACTIVATIONS(ROW)
#undef ROW
  }
}

}  // namespace fastconv::cuda
