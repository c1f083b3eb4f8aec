// What the kernels share: element types, vectors of 16 bytes, activations.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "cuda/tensor.h"

namespace fastconv::cuda {

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(std::uint8_t x) { return x != 0; }  // of a mask

template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ std::uint8_t from_float<std::uint8_t>(float x) {
  return x != 0;
}

// kCount elements that are loaded and stored at once: at most 16 bytes, aligned to their size.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  T lane[kCount];
};

__device__ __forceinline__ float clamp(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

__device__ __forceinline__ float activate(Activation::Kind kind, float x, float a, float b) {
  using T = float;
  using std::erfc, std::exp, std::tanh;
  switch (kind) {
#define ROW(name, definition) \
  case Activation::name: return definition;
    FASTCONV_ACTIVATIONS(ROW)
#undef ROW
  }
  return x;
}

}  // namespace fastconv::cuda
