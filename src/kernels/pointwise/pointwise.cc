#include "kernels/pointwise/pointwise.h"

#include "simd/activations.h"
#include "simd/math.h"
#include "simd/sine.h"

namespace fastconv::FASTCONV_ISA {
namespace {

using I = Instruction;

template <class T>
FASTCONV_INLINE Vec<T> mask(IntVec<T> is_true) {
  return from_bits<T>(is_true);
}

// NumPy's: NaN where one of the two is, and b where they are equal: 0 and -0.
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
  if constexpr (i == I::multiply_add) return a * b + c;
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
  if constexpr (i == I::sin) return sin<T>(a);
  if constexpr (i == I::cos) return cos<T>(a);
  constexpr bool f = sizeof(T) == 4;
  const auto square_root = [](T x) -> T { return f ? __builtin_sqrtf(x) : __builtin_sqrt(x); };
  if constexpr (i == I::sqrt) return each<T>(a, square_root);
  if constexpr (i == I::rsqrt) return T(1) / each<T>(a, square_root);
  if constexpr (i == I::floor) return floor<T>(a);
  if constexpr (i == I::ceil) return each<T>(a, [](T x) -> T { return f ? __builtin_ceilf(x) : __builtin_ceil(x); });
  if constexpr (i == I::round) return round_to_even<T>(a);
  if constexpr (i == I::trunc) return each<T>(a, [](T x) -> T { return f ? __builtin_truncf(x) : __builtin_trunc(x); });
  if constexpr (i == I::power) {
    Vec<T> y;
    for (int l = 0; l < lanes<T>; ++l) y[l] = f ? __builtin_powf(a[l], b[l]) : __builtin_pow(a[l], b[l]);
    return y;
  }
#define ROW(name, definition) \
  if constexpr (i == I::name) return activated<Activation::name, T>(a, T(0), T(0));
  FASTCONV_PLAIN_ACTIVATIONS(ROW)
#undef ROW
}

constexpr int length(const char* text) {
  int n = 0;
  while (text[n]) ++n;
  return n;
}
#define ROW(name, operands, result) length(operands),
constexpr int kOperands[] = {FASTCONV_INSTRUCTIONS(ROW)};
#undef ROW
// Those whose code is long.
constexpr bool is_long(I i) {
  return i == I::exp || i == I::expm1 || i == I::log || i == I::log1p || i == I::erf || i == I::sin || i == I::cos || i == I::power ||
         i == I::gelu || i == I::gelu_tanh || i == I::silu || i == I::sigmoid || i == I::tanh || i == I::mish;
}

constexpr int used_bits(I i) {
  const bool commutes = i == I::add || i == I::multiply || i == I::equal || i == I::not_equal || i == I::logical_and || i == I::logical_or || i == I::logical_xor;
  const int operands = kOperands[static_cast<int>(i)];
  return operands == 1 ? 0 : commutes ? kSecondSame : kSecondSame | kThirdSame;
}

constexpr int kVectors = 8;  // of a group: as many as functions are given in registers on every machine
#define FASTCONV_EACH(F) F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7)
#define FASTCONV_VECTOR(k) Vec<T> v##k
#define FASTCONV_NAME(k) v##k
#define FASTCONV_ELEMENT(k) v[k]

// A step calls the next one at its end, with the same arguments but the vectors: optimised, that is
// a jump, and they stay where they are.
template <class T>
using Step = void (*)(const PointwiseCode<T>* code, index_t i, FASTCONV_EACH(FASTCONV_VECTOR));
template <class T>
FASTCONV_INLINE void next(const PointwiseCode<T>* code, index_t i, const Vec<T> (&v)[kVectors]) {
  reinterpret_cast<Step<T>>(code[1].run)(code + 1, i, FASTCONV_EACH(FASTCONV_ELEMENT));
}

template <bool same, class T>
FASTCONV_INLINE Vec<T> operand(const T* x, index_t i, int k) {
  return same ? load(x) : load(x + i + k * lanes<T>);
}

template <I instruction, int bits, class T>
void compute_step(const PointwiseCode<T>* code, index_t i, FASTCONV_EACH(FASTCONV_VECTOR)) {
  constexpr int n = kOperands[static_cast<int>(instruction)];
  constexpr bool exchanged = n == 2 && (bits & kExchanged);
  Vec<T> v[kVectors] = {FASTCONV_EACH(FASTCONV_NAME)};
  const auto at = [&](int k) __attribute__((always_inline)) {
    Vec<T> second{}, third{};
    if constexpr (n > 1) second = operand<bool(bits & kSecondSame)>(code->operands[0], i, k);
    if constexpr (n > 2) third = operand<bool(bits & kThirdSame)>(code->operands[1], i, k);
    v[k] = exchanged ? compute<instruction, T>(second, v[k], third) : compute<instruction, T>(v[k], second, third);
  };
  if constexpr (is_long(instruction)) {
#pragma GCC unroll 1
    for (int k = 0; k < kVectors; ++k) at(k);
  } else {
#pragma GCC unroll 8
    for (int k = 0; k < kVectors; ++k) at(k);
  }
  next<T>(code, i, v);
}

template <PointwiseMove move, int bits, class T>
void move_step(const PointwiseCode<T>* code, index_t i, FASTCONV_EACH(FASTCONV_VECTOR)) {
  Vec<T> v[kVectors] = {FASTCONV_EACH(FASTCONV_NAME)};
  T* x = code->operands[0];
#pragma GCC unroll 8
  for (int k = 0; k < kVectors; ++k)
    if constexpr (move == PointwiseMove::load) v[k] = operand<bool(bits & kSecondSame)>(x, i, k);
    else if constexpr (move == PointwiseMove::stream) store_past_caches(x + i + k * lanes<T>, v[k]);
    else store(x + i + k * lanes<T>, v[k]);
  if constexpr (move == PointwiseMove::load || move == PointwiseMove::keep) next<T>(code, i, v);
}

template <class T>
void (*find(int operation, int bits))() {
#define BITS(step, what, used) {step<what, 0, T>, step<what, used & 1, T>, step<what, used & 2, T>, step<what, used & 3, T>},
#define ROW(name, operands, result) BITS(compute_step, I::name, used_bits(I::name))
  static constexpr Step<T> steps[kInstructions + kPointwiseMoves][4] = {
      FASTCONV_INSTRUCTIONS(ROW) BITS(move_step, PointwiseMove::load, 1) BITS(move_step, PointwiseMove::keep, 0)
          BITS(move_step, PointwiseMove::finish, 0) BITS(move_step, PointwiseMove::stream, 0)};
#undef ROW
#undef BITS
  return reinterpret_cast<void (*)()>(steps[operation][bits]);
}

template <class T>
void run(const PointwiseCode<T>* code, index_t count) {
  const Vec<T> none{};
#define FASTCONV_NONE(k) none
  for (index_t i = 0; i < count; i += kVectors * lanes<T>)
    reinterpret_cast<Step<T>>(code->run)(code, i, FASTCONV_EACH(FASTCONV_NONE));
#undef FASTCONV_NONE
}

void drain() { drain_stores(); }

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

}  // namespace
}  // namespace fastconv::FASTCONV_ISA

FASTCONV_DEFINE_KERNELS(PointwiseKernels, pointwise_kernels,
                        {lanes<T>, kVectors * lanes<T>, find<T>, run<T>, drain, read_mask<T>, write_mask<T>})
