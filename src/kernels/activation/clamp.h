#pragma once

#include <limits>

#include "fastconv/types.h"

namespace fastconv {

// Activations that are a clamp are done in registers by every kernel; the others in a pass of their own.
template <class T>
struct Clamp {
  T low, high;
};
inline bool is_clamp(Activation a) { return a == Activation::none || a == Activation::relu || a == Activation::relu6; }
template <class T>
Clamp<T> clamp_of(Activation a) {
  constexpr T inf = std::numeric_limits<T>::infinity();
  if (a == Activation::relu) return {T(0), inf};
  if (a == Activation::relu6) return {T(0), T(6)};
  return {-inf, inf};
}

}  // namespace fastconv
