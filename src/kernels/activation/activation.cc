#include "kernels/activation/activation.h"

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {
namespace {

template <class T>
struct Relu {
  Vec<T> operator()(Vec<T> x) const { return at_least(x, Vec<T>{}); }
};
template <class T>
struct Relu6 {
  Vec<T> operator()(Vec<T> x) const { return at_most(at_least(x, Vec<T>{}), broadcast(T(6))); }
};

template <class T, class F>
void map(const T* x, T* y, index_t count, F f) {
  index_t i = 0;
  for (; i + lanes<T> <= count; i += lanes<T>) store(y + i, f(load(x + i)));
  if (i < count) store_partial(y + i, f(load_partial(x + i, int(count - i))), int(count - i));
}

template <class T>
void apply(Activation activation, const T* x, T* y, index_t count, T) {
  switch (activation) {
    case Activation::relu: return map(x, y, count, Relu<T>{});
    case Activation::relu6: return map(x, y, count, Relu6<T>{});
    default: return;
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(ActivationKernels, activation_kernels, {apply<T>})
