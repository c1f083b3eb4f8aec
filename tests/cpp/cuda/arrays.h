// Arrays on the device for tests of kernels: written from and read as float, each of the element
// types.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <random>
#include <vector>

#include "cuda/ops.h"
#include "test.h"

namespace fastconv::cuda {

// Half of the distance from 1 to the next number: the relative error of rounding.
template <class T>
inline constexpr float kRounding = 0x1p-24f;
template <>
inline constexpr float kRounding<__half> = 0x1p-11f;
template <>
inline constexpr float kRounding<__nv_bfloat16> = 0x1p-8f;

template <class T>
class Array {
 public:
  explicit Array(const std::vector<float>& values) : count_(static_cast<index_t>(values.size())), memory_(bytes(), 0, nullptr) {
    std::vector<T> rounded;
    for (const float v : values) rounded.push_back(T(v));
    copy_to_device(memory_.as<>(), rounded.data(), bytes(), nullptr);
  }
  // Full of NaN, which must not stay.
  explicit Array(index_t count) : Array(std::vector<float>(static_cast<std::size_t>(count), NAN)) {}

  T* data() const { return memory_.template as<T>(); }
  index_t count() const { return count_; }
  std::vector<float> read() const {
    std::vector<T> values(static_cast<std::size_t>(count_));
    copy_to_host(values.data(), memory_.as<>(), bytes(), nullptr);
    std::vector<float> result;
    for (const T v : values) result.push_back(static_cast<float>(v));
    return result;
  }

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(count_) * sizeof(T); }
  index_t count_;
  Memory memory_;
};

// Rounded to T, as the device sees them.
template <class T>
std::vector<float> normal(index_t count, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values;
  for (index_t i = 0; i < count; ++i) values.push_back(static_cast<float>(T(distribution(random))));
  return values;
}

// Numbers within `tolerance` of what was expected, relative to it or to 1, and NaN and infinities
// where they were expected.
inline bool close(double value, double expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(value);
  if (std::isinf(expected)) return value == expected;
  return std::abs(value - expected) <= tolerance * std::max(1.0, std::abs(expected));
}

template <class F>
void for_each_type(F&& f) {
  f.template operator()<float>();
  f.template operator()<__half>();
  f.template operator()<__nv_bfloat16>();
}

template <class T>
Strided<T> strided(T* data, const std::vector<index_t>& size, const std::vector<index_t>& stride) {
  Strided<T> array;
  array.data = data;
  array.rank = static_cast<int>(size.size());
  for (std::size_t d = 0; d < size.size(); ++d) {
    array.size[d] = size[d];
    array.stride[d] = stride[d];
  }
  return array;
}
inline std::vector<index_t> contiguous(const std::vector<index_t>& size) {
  std::vector<index_t> stride(size.size(), 1);
  for (std::size_t d = size.size(); d-- > 1;) stride[d - 1] = stride[d] * size[d];
  return stride;
}
inline index_t product(const std::vector<index_t>& size) {
  index_t count = 1;
  for (const index_t s : size) count *= s;
  return count;
}

// Calls f(index) for each index of an array of these sizes.
template <class F>
void for_each_index(const std::vector<index_t>& size, F&& f) {
  if (product(size) == 0) return;
  std::vector<index_t> index(size.size(), 0);
  for (;;) {
    f(index);
    std::size_t d = size.size();
    while (d > 0 && ++index[d - 1] == size[d - 1]) index[--d] = 0;
    if (d == 0) return;
  }
}
inline index_t dot(const std::vector<index_t>& index, const std::vector<index_t>& stride) {
  index_t at = 0;
  for (std::size_t d = 0; d < index.size(); ++d) at += index[d] * stride[d];
  return at;
}

// Images whose pixels lie `pixel` >= c elements apart.
template <class T>
Nhwc<T> images(T* data, index_t n, index_t h, index_t w, index_t c, index_t pixel) {
  Nhwc<T> view = nhwc_view(data, n, h, w, pixel);
  view.c = static_cast<int>(c);
  return view;
}

}  // namespace fastconv::cuda
