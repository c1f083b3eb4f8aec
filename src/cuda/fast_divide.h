// Division by what the host knows, for index arithmetic in kernels.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace fastconv::cuda {

// n / divisor for 0 <= n < 2^31 by a multiplication (Granlund and Montgomery 1994, "Division by invariant integers using
// multiplication"): with 2^(l - 1) < divisor <= 2^l the multiplier is ceil(2^(31 + l) / divisor), which rounding makes too large
// by less than 1; n times that, divided by 2^(31 + l), is less than 1 / divisor and cannot reach the next quotient.
struct FastDivide {
  std::uint32_t divisor = 1, multiplier = 1u << 31;
  int shift = 31;

  FastDivide() = default;
  __host__ explicit FastDivide(std::int64_t by) : divisor(static_cast<std::uint32_t>(by)) {
    while ((std::uint64_t{1} << (shift - 31)) < divisor) ++shift;
    multiplier = static_cast<std::uint32_t>(((std::uint64_t{1} << shift) + divisor - 1) / divisor);
  }
  // Integer is int or std::uint32_t.
  template <class Integer>
  __host__ __device__ __forceinline__ Integer quotient(Integer n) const {
    return static_cast<Integer>(std::uint64_t{static_cast<std::uint32_t>(n)} * multiplier >> shift);
  }
  template <class Integer>
  __host__ __device__ __forceinline__ Integer remainder(Integer n, Integer quotient) const {
    return n - quotient * static_cast<Integer>(divisor);
  }
};

}  // namespace fastconv::cuda
