// Sums that do not lose accuracy with their length.
#pragma once

#include "simd/vec.h"

namespace fastconv::FASTCONV_ISA {

// Lane-wise compensated summation: the rounding error of each addition, which TwoSum (Knuth, TAOCP
// vol. 2, 4.2.2) gives exactly, is summed on its own (Ogita, Rump and Oishi, Accurate sum and dot
// product, 2005, algorithm 4.1).
template <class T>
struct Sum {
  Vec<T> total{}, error{};

  FASTCONV_MEMBER void add(Vec<T> v) {
    const Vec<T> next = total + v;
    const Vec<T> shift = next - total;
    error += (total - (next - shift)) + (v - shift);
    total = next;
  }
  FASTCONV_MEMBER void add(const Sum& other) {
    add(other.total);
    error += other.error;
  }
  FASTCONV_MEMBER Vec<T> value() const { return error == error ? total + error : total; }  // infinities make it NaN
};

}  // namespace fastconv::FASTCONV_ISA
