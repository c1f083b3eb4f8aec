// What the kernels share: element types, vectors of 16 bytes, activations.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "cuda/tensor.h"

namespace fastconv::cuda {

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

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

// kCount elements that are loaded and stored at once: at most 16 bytes, aligned to their size.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  T lane[kCount];
};

// The formulas of fastconv.ops; NaN stays NaN.
__device__ __forceinline__ float activate(Activation kind, float x, float negative_slope) {
  switch (kind) {
    case Activation::none: return x;
    case Activation::relu: return x < 0.f ? 0.f : x;
    case Activation::relu6: return x < 0.f ? 0.f : x > 6.f ? 6.f : x;
    case Activation::leaky_relu: return x < 0.f ? x * negative_slope : x;
    case Activation::gelu: return 0.5f * x * erfcf(x * -0.70710678118654752f);
    case Activation::gelu_tanh: return 0.5f * x * (1.f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case Activation::silu: return x / (1.f + expf(-x));
    case Activation::hardswish: return x * fminf(fmaxf(x + 3.f, 0.f), 6.f) / 6.f;
    case Activation::hardsigmoid: return x != x ? x : fminf(fmaxf(x + 3.f, 0.f), 6.f) / 6.f;
    case Activation::sigmoid: return 1.f / (1.f + expf(-x));
    case Activation::tanh: return tanhf(x);
  }
  return x;
}

}  // namespace fastconv::cuda
