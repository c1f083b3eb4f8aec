// Division by what the host knows, for index arithmetic in kernels.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace fastconv::cuda {

// n / divisor for 0 <= n < 2^31 by a multiplication: Granlund and Montgomery 1994, "Division by
// invariant integers using multiplication", figure 4.1; n < 2^31 saves the overflow's care.
struct FastDivide {
  std::uint32_t divisor = 1, multiplier = 1, shift = 0;

  FastDivide() = default;
  __host__ explicit FastDivide(std::int64_t by) : divisor(static_cast<std::uint32_t>(by)) {
    while ((std::uint64_t{1} << shift) < divisor) ++shift;
    multiplier = static_cast<std::uint32_t>((((std::uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }
  // Integer is int or std::uint32_t.
  template <class Integer>
  __host__ __device__ __forceinline__ Integer quotient(Integer number) const {
    const std::uint32_t n = static_cast<std::uint32_t>(number);
    return static_cast<Integer>((static_cast<std::uint32_t>(std::uint64_t{n} * multiplier >> 32) + n) >> shift);
  }
  template <class Integer>
  __host__ __device__ __forceinline__ Integer remainder(Integer n, Integer quotient) const {
    return n - quotient * static_cast<Integer>(divisor);
  }
};

}  // namespace fastconv::cuda
