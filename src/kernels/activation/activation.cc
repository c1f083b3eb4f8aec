#include "kernels/activation/activation.h"

#include "simd/activations.h"

namespace fastconv::FASTCONV_ISA {
namespace {

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
