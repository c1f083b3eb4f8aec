// The instructions of pointwise programs: a kernel for each, one pass over memory.
#include <stdexcept>

#include "cuda/kernels/map.cuh"
#include "cuda/ops.h"
#include "fastconv/pointwise.h"

namespace fastconv::cuda {
namespace {

using I = Instruction;

// NumPy's, as on the CPU: NaN where one of the two is.
__device__ __forceinline__ float minimum(float a, float b) { return a != a ? a : a < b ? a : b; }
__device__ __forceinline__ float maximum(float a, float b) { return a != a ? a : a > b ? a : b; }

// Masks are 1 and 0; anything but 0 is true.
template <I i>
__device__ __forceinline__ float compute(float a, [[maybe_unused]] float b, [[maybe_unused]] float c) {
  using std::exp, std::expm1, std::log, std::log1p, std::erf, std::sin, std::cos, std::floor, std::ceil, std::rint, std::sqrt,
      std::pow, std::fabs;
  if constexpr (i == I::add) return a + b;
  if constexpr (i == I::subtract) return a - b;
  if constexpr (i == I::multiply) return a * b;
  if constexpr (i == I::divide) return a / b;
  if constexpr (i == I::power) return pow(a, b);
  if constexpr (i == I::minimum) return minimum(a, b);
  if constexpr (i == I::multiply_add) return a * b + c;
  if constexpr (i == I::maximum) return maximum(a, b);
  if constexpr (i == I::clip) return minimum(maximum(a, b), c);
  if constexpr (i == I::where) return a != 0 ? b : c;
  if constexpr (i == I::equal) return a == b;
  if constexpr (i == I::not_equal) return a != b;
  if constexpr (i == I::less) return a < b;
  if constexpr (i == I::less_equal) return a <= b;
  if constexpr (i == I::greater) return a > b;
  if constexpr (i == I::greater_equal) return a >= b;
  if constexpr (i == I::logical_and) return a != 0 && b != 0;
  if constexpr (i == I::logical_or) return a != 0 || b != 0;
  if constexpr (i == I::logical_xor) return (a != 0) != (b != 0);
  if constexpr (i == I::logical_not) return a == 0;
  if constexpr (i == I::negative) return -a;
  if constexpr (i == I::abs) return fabs(a);
  if constexpr (i == I::sign) return a > 0 ? 1.f : a < 0 ? -1.f : a + 0.f;
  if constexpr (i == I::reciprocal) return 1.f / a;
  if constexpr (i == I::square) return a * a;
  if constexpr (i == I::sqrt) return sqrt(a);
  if constexpr (i == I::rsqrt) return 1.f / sqrt(a);
  if constexpr (i == I::exp) return exp(a);
  if constexpr (i == I::expm1) return expm1(a);
  if constexpr (i == I::log) return log(a);
  if constexpr (i == I::log1p) return log1p(a);
  if constexpr (i == I::erf) return erf(a);
  if constexpr (i == I::sin) return sin(a);
  if constexpr (i == I::cos) return cos(a);
  if constexpr (i == I::floor) return floor(a);
  if constexpr (i == I::ceil) return ceil(a);
  if constexpr (i == I::round) return rint(a);
  if constexpr (i == I::trunc) return trunc(a);
}

template <I i>
struct Compute {
  template <int kLanes, int kInputs>
  __device__ __forceinline__ void operator()(float (&y)[kLanes], const float (&x)[kInputs][kLanes]) const {
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane)  // the last of x is no operand
      y[lane] = compute<i>(x[0][lane], x[kInputs > 2 ? 1 : 0][lane], x[kInputs > 3 ? 2 : 0][lane]);
  }
};

template <I i, int kOperands, class T>
void run(const Strided<const T>* x, const Strided<T>& y, cudaStream_t stream) {
  const char* name = info_of(i).name;
  if constexpr (kOperands == 1) {
    map(name, Compute<i>{}, collapse<2>(y.rank, y.size, {y.stride, x[0].stride}), stream, y.data, x[0].data);
  } else if constexpr (kOperands == 2) {
    map(name, Compute<i>{}, collapse<3>(y.rank, y.size, {y.stride, x[0].stride, x[1].stride}), stream, y.data, x[0].data, x[1].data);
  } else {
    map(name, Compute<i>{}, collapse<4>(y.rank, y.size, {y.stride, x[0].stride, x[1].stride, x[2].stride}), stream, y.data,
        x[0].data, x[1].data, x[2].data);
  }
}

constexpr int length(const char* text) { return *text ? 1 + length(text + 1) : 0; }

}  // namespace

template <class T>
void pointwise(Instruction instruction, const Strided<const T>* x, const Strided<T>& y, cudaStream_t stream) {
  switch (instruction) {
#define ROW(name, operands, result) \
  case I::name: \
    return run<I::name, length(operands)>(x, y, stream);
    FASTCONV_NAMED_INSTRUCTIONS(ROW)
    ROW(multiply_add, "fff", 'f')
#undef ROW
    default: throw std::logic_error("activations have kernels of their own");
  }
}

template void pointwise<float>(Instruction, const Strided<const float>*, const Strided<float>&, cudaStream_t);
template void pointwise<__half>(Instruction, const Strided<const __half>*, const Strided<__half>&, cudaStream_t);
template void pointwise<__nv_bfloat16>(Instruction, const Strided<const __nv_bfloat16>*, const Strided<__nv_bfloat16>&, cudaStream_t);

}  // namespace fastconv::cuda
