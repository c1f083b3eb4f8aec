// What CUDA kernels take: plain structs, passed by value. Pointers are to device memory.
#pragma once

#include <type_traits>

#include "fastconv/types.h"

namespace fastconv::cuda {

// What is multiplied; sums are always in float32. fp32 and tf32 store float, the others 16 bits.
enum class Precision : uint8_t { fp32, tf32, fp16, bf16 };

// Images, channels last: element (n, h, w, c) lies at data[n * sn + h * sh + w * sw + c]. sw
// exceeds c where this is a part of the channels of a larger tensor.
template <class T>
struct Nhwc {
  T* data = nullptr;
  int n = 0, h = 0, w = 0, c = 0;
  index_t sn = 0, sh = 0, sw = 0;

  template <class U>
    requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
  operator Nhwc<U>() const {
    return {data, n, h, w, c, sn, sh, sw};
  }
};

template <class T>
Nhwc<T> nhwc_view(T* data, index_t n, index_t h, index_t w, index_t c) {
  return {data, static_cast<int>(n), static_cast<int>(h), static_cast<int>(w), static_cast<int>(c), h * w * c, w * c, c};
}

// An array of any rank and strides (in elements, zero or negative too); sizes and strides are
// equally long.
inline constexpr int kMaxRank = 8;
template <class T>
struct Strided {
  T* data = nullptr;
  int rank = 0;
  index_t size[kMaxRank] = {}, stride[kMaxRank] = {};

  template <class U>
  Strided<U> as() const {  // of the element type U, which void stood for
    Strided<U> s{static_cast<U*>(data), rank};
    for (int i = 0; i < kMaxRank; ++i) {
      s.size[i] = size[i];
      s.stride[i] = stride[i];
    }
    return s;
  }
  template <class U>
    requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
  operator Strided<U>() const {
    return as<U>();
  }
};

// What follows a sum over taps and channels: activation(sum + bias + residual).
template <class T>
struct Epilogue {
  const float* bias = nullptr;  // by output channel
  Nhwc<const T> residual = {};  // of the output's sizes, or data == nullptr; may be the output itself
  Activation activation = Activation::none;  // but prelu
};

}  // namespace fastconv::cuda
