// Sizes, dtypes and the one tensor view that operators take.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fastconv/types.h"

namespace fastconv {

using Shape = std::vector<index_t>;

constexpr std::size_t item_size(DType dtype) {  // bytes
  constexpr std::size_t sizes[] = {4, 8, 2, 2, 1, 1, 4, 8, 1};
  return sizes[static_cast<int>(dtype)];
}
// Whether kernels compute in it.
constexpr bool is_computed_in(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

// "(1, 3, 224, 224)", as NumPy prints it.
std::string to_string(const Shape& shape);

// Product of non-negative sizes. Throws std::invalid_argument where it, times `item_bytes`, passes
// the address range.
index_t checked_size(const Shape& shape, std::size_t item_bytes = 1);
// a + b. Throws std::invalid_argument where it does not fit.
index_t checked_sum(index_t a, index_t b);

// Integer arguments above this have no use, and would let sums and products of a few of them pass
// 64 bits.
inline constexpr index_t kLargestArgument = index_t{1} << 40;

// Strides of a C-contiguous array, in elements.
inline Shape contiguous_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

// A 4-d tensor whose channels may be grouped in blocks: element (n, c, h, w) lies at
//   data[n * sn + (c / block) * sb + (c % block) + h * sh + w * sw].
// NCHW and every strided NumPy array is block = 1 (sb is then the channel stride); nChw16c is block
// = 16 with sw = 16. Strides count elements and may be zero or negative. `lane` is the lane of
// channel 0 in its block: nonzero only for slices of blocked tensors that start inside a block.
template <class T>
struct TensorView {
  T* data = nullptr;
  index_t n = 0, c = 0, h = 0, w = 0;
  index_t block = 1;
  index_t sn = 0, sb = 0, sh = 0, sw = 0;
  index_t lane = 0;

  T* channel(index_t in, index_t ic) const {
    const index_t at = lane + ic;
    return block == 1 ? data + in * sn + at * sb : data + in * sn + (at / block) * sb + at % block;
  }
  operator TensorView<const T>() const { return {data, n, c, h, w, block, sn, sb, sh, sw, lane}; }
};

// Contiguous NCHW.
template <class T>
TensorView<T> nchw_view(T* data, index_t n, index_t c, index_t h, index_t w) {
  return {data, n, c, h, w, 1, c * h * w, h * w, w, 1, 0};
}

inline index_t ceil_div(index_t a, index_t b) { return (a + b - 1) / b; }

// Contiguous nChw<block>c; the last block is padded to full width.
template <class T>
TensorView<T> blocked_view(T* data, index_t n, index_t c, index_t h, index_t w, index_t block) {
  return {data, n, c, h, w, block, ceil_div(c, block) * h * w * block, h * w * block, w * block, block, 0};
}

}  // namespace fastconv
