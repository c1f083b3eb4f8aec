// One thread for some neighbouring channels of a pixel of y: pooling, resizing, what reads windows.
#pragma once

#include "cuda/kernels/lanes.cuh"
#include "cuda/loops.h"
#include "cuda/runtime.h"

namespace fastconv::cuda {

inline constexpr int kImageThreads = 128;

struct Position {
  int n, h, w, c;
};

struct Pixels {
  index_t count;  // of threads
  int lanes;
  FastDivide channels, width, height;

  template <class T>
  Pixels(const Nhwc<T>& y, int lanes)
      : count(index_t{y.n} * y.h * y.w * (y.c / lanes)), lanes(lanes), channels(std::max(1, y.c / lanes)),
        width(std::max(1, y.w)), height(std::max(1, y.h)) {}

  dim3 blocks() const { return dim3(static_cast<unsigned>((count + kImageThreads - 1) / kImageThreads)); }

  // False where this thread has nothing to do.
  __device__ __forceinline__ bool locate(Position& at) const {
    const index_t step = index_t{blockIdx.x} * kImageThreads + threadIdx.x;
    if (step >= count) return false;
    if (count < index_t{1} << 31) {
      const std::uint32_t i = static_cast<std::uint32_t>(step), pixel = channels.quotient(i), line = width.quotient(pixel),
                          image = height.quotient(line);
      at = {static_cast<int>(image), static_cast<int>(height.remainder(line, image)),
            static_cast<int>(width.remainder(pixel, line)), static_cast<int>(channels.remainder(i, pixel)) * lanes};
    } else {
      const index_t pixel = step / channels.divisor, line = pixel / width.divisor, image = line / height.divisor;
      at = {static_cast<int>(image), static_cast<int>(line % height.divisor), static_cast<int>(pixel % width.divisor),
            static_cast<int>(step % channels.divisor) * lanes};
    }
    return true;
  }
};

// Whether `lanes` neighbouring channels can be taken at once.
template <class T>
bool lanes_fit(const Nhwc<T>& x, int lanes) {
  return x.c % lanes == 0 && x.sw % lanes == 0 && x.sh % lanes == 0 && x.sn % lanes == 0 &&
         aligned(x.data, lanes * sizeof(T));
}

template <class T>
__host__ __device__ __forceinline__ T* pixel(const Nhwc<T>& x, int n, int h, int w) {
  return x.data + n * x.sn + h * x.sh + w * x.sw;
}

}  // namespace fastconv::cuda
