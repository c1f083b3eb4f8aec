// Conversions from float to the formats of tensor cores, on the host and by bits, so that packing
// needs no CUDA header.
#pragma once

#include <bit>
#include <cstdint>

namespace fastconv::cuda {

// To 10 bits of mantissa, to nearest, ties away from zero, as cvt.rna.tf32.f32 rounds.
inline float round_to_tf32(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) >= 0x7f800000u) return x;  // infinity, NaN
  return std::bit_cast<float>((bits + 0x1000u) & 0xffffe000u);
}

// IEEE binary16, to nearest even; too large values become infinite.
inline std::uint16_t to_fp16_bits(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (size >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // from 65520 on
  const auto nearest_even = [](std::uint32_t value, unsigned shift) {
    return (value + (1u << (shift - 1)) - 1 + (value >> shift & 1)) >> shift;
  };
  if (size >= 0x38800000u) return static_cast<std::uint16_t>(sign | nearest_even(size - 0x38000000u, 13));  // normal: from 2^-14
  const unsigned shift = 126 - (size >> 23);  // units are 2^-24; `size` has its exponent less 150
  if (shift > 24) return static_cast<std::uint16_t>(sign);
  return static_cast<std::uint16_t>(sign | nearest_even((size & 0x7fffffu) | 0x800000u, shift));
}

// bfloat16, to nearest even.
inline std::uint16_t to_bf16_bits(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

}  // namespace fastconv::cuda
