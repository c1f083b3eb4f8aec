// The activation that follows another operator: applied to what that has just written, while it is
// in cache.
#pragma once

#include "kernels/activation/activation.h"
#include "kernels/activation/clamp.h"

namespace fastconv {

template <class T>
struct Epilogue {
  Activation activation;
  const T* slopes = nullptr;  // of prelu, by channel

  bool is_clamp() const { return fastconv::is_clamp<T>(activation); }
  Clamp<T> clamp() const { return clamp_of<T>(activation); }

  // To `count` elements of one channel.
  void apply(index_t channel, T* data, index_t count) const {
    const double a = slopes ? double{slopes[channel]} : activation.a;
    activation_kernels<T>().apply(activation.kind, data, data, count, static_cast<T>(a), static_cast<T>(activation.b));
  }
  // To pixels of neighbouring channels, those from `channel` on.
  void apply_to_pixels(index_t channel, index_t channels, T* data, index_t pixels) const {
    if (slopes) activation_kernels<T>().prelu(data, pixels, channels, slopes + channel);
    else apply(channel, data, pixels * channels);
  }
};

}  // namespace fastconv
