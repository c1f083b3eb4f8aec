#include "kernels/pointwise/pointwise.h"

#include "simd/math.h"

namespace fastconv::FASTCONV_ISA {
namespace {

using I = Instruction;

template <class T>
FASTCONV_INLINE Vec<T> mask(IntVec<T> is_true) {
  return from_bits<T>(is_true);
}

// NumPy's: NaN where one of the two is.
template <class T>
FASTCONV_INLINE Vec<T> minimum(Vec<T> a, Vec<T> b) {
  return a == a ? at_most(b, a) : a;
}
template <class T>
FASTCONV_INLINE Vec<T> maximum(Vec<T> a, Vec<T> b) {
  return a == a ? at_least(b, a) : a;
}

template <I i, class T>
FASTCONV_INLINE Vec<T> compute(Vec<T> a, [[maybe_unused]] Vec<T> b, [[maybe_unused]] Vec<T> c) {
  const Vec<T> one = broadcast(T(1));
  if constexpr (i == I::add) return a + b;
  if constexpr (i == I::subtract) return a - b;
  if constexpr (i == I::multiply) return a * b;
  if constexpr (i == I::divide) return a / b;
  if constexpr (i == I::minimum) return minimum<T>(a, b);
  if constexpr (i == I::maximum) return maximum<T>(a, b);
  if constexpr (i == I::clip) return minimum<T>(maximum<T>(a, b), c);
  if constexpr (i == I::where) return bits<T>(a) ? b : c;
  if constexpr (i == I::equal) return mask<T>(a == b);
  if constexpr (i == I::not_equal) return mask<T>(a != b);
  if constexpr (i == I::less) return mask<T>(a < b);
  if constexpr (i == I::less_equal) return mask<T>(a <= b);
  if constexpr (i == I::greater) return mask<T>(a > b);
  if constexpr (i == I::greater_equal) return mask<T>(a >= b);
  if constexpr (i == I::logical_and) return mask<T>(bits<T>(a) & bits<T>(b));
  if constexpr (i == I::logical_or) return mask<T>(bits<T>(a) | bits<T>(b));
  if constexpr (i == I::logical_xor) return mask<T>(bits<T>(a) ^ bits<T>(b));
  if constexpr (i == I::logical_not) return mask<T>(~bits<T>(a));
  if constexpr (i == I::negative) return -a;
  if constexpr (i == I::abs) return absolute<T>(a);
  if constexpr (i == I::sign) return a > T(0) ? one : a < T(0) ? -one : a + T(0);
  if constexpr (i == I::reciprocal) return T(1) / a;
  if constexpr (i == I::square) return a * a;
  if constexpr (i == I::exp) return exp<T>(a);
  if constexpr (i == I::expm1) return expm1<T>(a);
  if constexpr (i == I::log) return log<T>(a);
  if constexpr (i == I::log1p) return log1p<T>(a);
  if constexpr (i == I::erf) return erf<T>(a);
}

// Those that vectors have no form of. Those that are one machine instruction become it: compilers see through the loop.
template <I i, class T>
FASTCONV_INLINE T compute_scalar(T a, [[maybe_unused]] T b) {
  constexpr bool f = sizeof(T) == 4;
  if constexpr (i == I::sqrt) return f ? __builtin_sqrtf(a) : __builtin_sqrt(a);
  if constexpr (i == I::rsqrt) return T(1) / (f ? __builtin_sqrtf(a) : __builtin_sqrt(a));
  if constexpr (i == I::floor) return f ? __builtin_floorf(a) : __builtin_floor(a);
  if constexpr (i == I::ceil) return f ? __builtin_ceilf(a) : __builtin_ceil(a);
  if constexpr (i == I::round) return f ? __builtin_rintf(a) : __builtin_rint(a);
  if constexpr (i == I::sin) return f ? __builtin_sinf(a) : __builtin_sin(a);
  if constexpr (i == I::cos) return f ? __builtin_cosf(a) : __builtin_cos(a);
  if constexpr (i == I::power) return f ? __builtin_powf(a, b) : __builtin_pow(a, b);
}
constexpr bool is_scalar(I i) {
  return i == I::sqrt || i == I::rsqrt || i == I::floor || i == I::ceil || i == I::round || i == I::sin || i == I::cos || i == I::power;
}

template <I i, int kOperands, class T>
void run(const T* a, const T* b, const T* c, T* y, index_t count) {
  if constexpr (is_scalar(i)) {
    for (index_t k = 0; k < count; ++k) y[k] = compute_scalar<i, T>(a[k], kOperands > 1 ? b[k] : T(0));
  } else {
    constexpr int L = lanes<T>;
    const auto at = [&](index_t k) __attribute__((always_inline)) {
      Vec<T> second{}, third{};
      if constexpr (kOperands > 1) second = load(b + k);
      if constexpr (kOperands > 2) third = load(c + k);
      return compute<i, T>(load(a + k), second, third);
    };
    if (count < L) {
      if (count == 0) return;
      Vec<T> second{}, third{};
      if constexpr (kOperands > 1) second = load_partial(b, int(count));
      if constexpr (kOperands > 2) third = load_partial(c, int(count));
      return store_partial(y, compute<i, T>(load_partial(a, int(count)), second, third), int(count));
    }
    // The last vector overlaps the one before it; it is computed first, for y may be an operand.
    const Vec<T> last = at(count - L);
    for (index_t k = 0; k + L < count; k += L) store(y + k, at(k));
    store(y + count - L, last);
  }
}

template <class T>
struct MaskBits;
template <>
struct MaskBits<float> {
  using type = int32_t;
};
template <>
struct MaskBits<double> {
  using type = int64_t;
};

template <class T>
void read_mask(const uint8_t* x, index_t stride, T* y, index_t count) {
  typedef typename MaskBits<T>::type Bits __attribute__((may_alias));
  Bits* to = reinterpret_cast<Bits*>(y);
  for (index_t k = 0; k < count; ++k) to[k] = x[k * stride] ? -1 : 0;
}
template <class T>
void write_mask(const T* x, uint8_t* y, index_t stride, index_t count) {
  typedef typename MaskBits<T>::type Bits __attribute__((may_alias));
  const Bits* from = reinterpret_cast<const Bits*>(x);
  for (index_t k = 0; k < count; ++k) y[k * stride] = from[k] & 1;
}

constexpr int length(const char* text) {
  int n = 0;
  while (text[n]) ++n;
  return n;
}

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

#define ROW(name, operands, result) run<Instruction::name, length(operands), T>,
FASTCONV_DEFINE_KERNELS(PointwiseKernels, pointwise_kernels, {{FASTCONV_INSTRUCTIONS(ROW)}, read_mask<T>, write_mask<T>})
#undef ROW
