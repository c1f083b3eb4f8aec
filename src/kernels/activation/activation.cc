#include "kernels/activation/activation.h"

#include "simd/math.h"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T>
Vec<T> zero_to_six(Vec<T> x) {
  return at_most(at_least(x, Vec<T>{}), broadcast(T(6)));
}

template <class T>
Vec<T> with_slope(Vec<T> x, Vec<T> slope) {
  return x < T(0) ? x * slope : x;
}

template <Activation::Kind kKind, class T>
Vec<T> activated(Vec<T> x, [[maybe_unused]] T first, [[maybe_unused]] T second) {
  using enum Activation::Kind;
  constexpr Activation::Kind a = kKind;
  if constexpr (a == none) return x;
  if constexpr (a == relu) return at_least(x, Vec<T>{});
  if constexpr (a == relu6) return zero_to_six<T>(x);
  if constexpr (a == leaky_relu || a == prelu) return with_slope<T>(x, broadcast(first));
  // Of zeros of either sign the bound, as `minimum` and `maximum` have it.
  if constexpr (a == clip) return x == x ? at_most(broadcast(second), at_least(broadcast(first), x)) : x;
  if constexpr (a == gelu) return x * normal_cdf<T>(x);
  // x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), written as x sigmoid(2 u): nothing cancels.
  if constexpr (a == gelu_tanh)
    return x / (T(1) + exp_normal<T>(T(-1.5957691216057308) * x * (T(1) + T(0.044715) * x * x)));
  if constexpr (a == silu) return x / (T(1) + exp_normal<T>(-x));
  if constexpr (a == hardswish) return x * (zero_to_six<T>(x + T(3)) * T(1.0 / 6));
  if constexpr (a == hardsigmoid) return zero_to_six<T>(x + T(3)) * T(1.0 / 6);
  if constexpr (a == sigmoid) return FASTCONV_ISA::sigmoid<T>(x);
  if constexpr (a == tanh) return FASTCONV_ISA::tanh<T>(x);
  // x tanh(log(1 + e)) = x e (e + 2) / (e (e + 2) + 2) with e = exp(x), which is h h: x h is far from underflow where e is not.
  if constexpr (a == mish) {
    constexpr T kLinear = 20;  // from here on the factor of x rounds to 1
    const Vec<T> h = exp_normal<T>(at_most(x, broadcast(kLinear)) * T(0.5)), e = h * h;
    return x > kLinear ? x : x * h * (h * ((e + T(2)) / (e * (e + T(2)) + T(2))));
  }
}

// The last vector overlaps the one before it; it is computed first, for y may be x.
template <class T, class F>
void map(const T* x, T* y, index_t count, F f) {
  constexpr int L = lanes<T>;
  if (count < L) {
    if (count > 0) store_partial(y, f(load_partial(x, int(count))), int(count));
    return;
  }
  const Vec<T> last = f(load(x + count - L));
  for (index_t i = 0; i + L < count; i += L) store(y + i, f(load(x + i)));
  store(y + count - L, last);
}

template <class T>
void apply(Activation::Kind kind, const T* x, T* y, index_t count, T a, T b) {
  if (kind == Activation::none && x == y) return;
  switch (kind) {
#define ROW(name, definition) \
  case Activation::name: return map(x, y, count, [a, b](Vec<T> v) { return activated<Activation::name, T>(v, a, b); });
    FASTCONV_ACTIVATIONS(ROW)
#undef ROW
  }
}

template <class T>
void prelu(T* x, index_t pixels, index_t channels, const T* slopes) {
  constexpr int L = lanes<T>;
  for (index_t c = 0; c < channels; c += L) {
    if (channels - c >= L) {
      const Vec<T> slope = load(slopes + c);
      for (index_t p = 0; p < pixels; ++p) store(x + p * channels + c, with_slope<T>(load(x + p * channels + c), slope));
    } else {
      const int n = int(channels - c);
      const Vec<T> slope = load_partial(slopes + c, n);
      for (index_t p = 0; p < pixels; ++p) store_partial(x + p * channels + c, with_slope<T>(load_partial(x + p * channels + c, n), slope), n);
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(ActivationKernels, activation_kernels, {apply<T>, prelu<T>})
