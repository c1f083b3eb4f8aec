#include "kernels/activation/activation.h"

#include "simd/math.h"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T>
Vec<T> zero_to_six(Vec<T> x) {
  return at_most(at_least(x, Vec<T>{}), broadcast(T(6)));
}

template <class T>
struct Identity {
  Vec<T> operator()(Vec<T> x) const { return x; }
};
template <class T>
struct Relu {
  Vec<T> operator()(Vec<T> x) const { return at_least(x, Vec<T>{}); }
};
template <class T>
struct Relu6 {
  Vec<T> operator()(Vec<T> x) const { return zero_to_six<T>(x); }
};
template <class T>
struct LeakyRelu {
  T slope;
  Vec<T> operator()(Vec<T> x) const { return x > T(0) ? x : x * slope; }
};
template <class T>
struct Gelu {
  Vec<T> operator()(Vec<T> x) const { return x * normal_cdf<T>(x); }
};
// x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), written as x sigmoid(2 u): nothing cancels.
template <class T>
struct GeluTanh {
  Vec<T> operator()(Vec<T> x) const {
    return x / (T(1) + exp_normal<T>(T(-1.5957691216057308) * x * (T(1) + T(0.044715) * x * x)));
  }
};
template <class T>
struct Silu {
  Vec<T> operator()(Vec<T> x) const { return x / (T(1) + exp_normal<T>(-x)); }
};
template <class T>
struct Hardswish {
  Vec<T> operator()(Vec<T> x) const { return x * (zero_to_six<T>(x + T(3)) * T(1.0 / 6)); }
};
template <class T>
struct Hardsigmoid {
  Vec<T> operator()(Vec<T> x) const { return zero_to_six<T>(x + T(3)) * T(1.0 / 6); }
};
template <class T>
struct Sigmoid {
  Vec<T> operator()(Vec<T> x) const { return sigmoid<T>(x); }
};
template <class T>
struct Tanh {
  Vec<T> operator()(Vec<T> x) const { return tanh<T>(x); }
};

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
void apply(Activation activation, const T* x, T* y, index_t count, T slope) {
  switch (activation) {
    case Activation::none: return x == y ? void() : map(x, y, count, Identity<T>{});
    case Activation::relu: return map(x, y, count, Relu<T>{});
    case Activation::relu6: return map(x, y, count, Relu6<T>{});
    case Activation::leaky_relu: return map(x, y, count, LeakyRelu<T>{slope});
    case Activation::gelu: return map(x, y, count, Gelu<T>{});
    case Activation::gelu_tanh: return map(x, y, count, GeluTanh<T>{});
    case Activation::silu: return map(x, y, count, Silu<T>{});
    case Activation::hardswish: return map(x, y, count, Hardswish<T>{});
    case Activation::hardsigmoid: return map(x, y, count, Hardsigmoid<T>{});
    case Activation::sigmoid: return map(x, y, count, Sigmoid<T>{});
    case Activation::tanh: return map(x, y, count, Tanh<T>{});
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(ActivationKernels, activation_kernels, {apply<T>})
