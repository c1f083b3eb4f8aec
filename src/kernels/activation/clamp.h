#pragma once

#include <limits>

#include "fastconv/types.h"

namespace fastconv {

// Activations that are a clamp are done in registers by every kernel; the others in a pass of their
// own. A clamp leaves a zero that equals a bound its sign, and clip does not.
template <class T>
struct Clamp {
  T low, high;
};
template <class T>
bool is_clamp(const Activation& a) {
  return a.kind == Activation::none || a.kind == Activation::relu || a.kind == Activation::relu6 ||
         (a.kind == Activation::clip && static_cast<T>(a.a) != 0 && static_cast<T>(a.b) != 0);
}
template <class T>
Clamp<T> clamp_of(const Activation& a) {
  constexpr T inf = std::numeric_limits<T>::infinity();
  if (a.kind == Activation::relu) return {T(0), inf};
  if (a.kind == Activation::relu6) return {T(0), T(6)};
  if (a.kind == Activation::clip) return {static_cast<T>(a.a), static_cast<T>(a.b)};
  return {-inf, inf};
}

}  // namespace fastconv
