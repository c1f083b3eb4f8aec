// Activations, batch norms: one pass over memory each.
#include "cuda/kernels/map.cuh"
#include "cuda/ops.h"

namespace fastconv::cuda {
namespace {

struct Constant {
  float value;

  template <int kLanes, int kInputs>
  __device__ __forceinline__ void operator()(float (&y)[kLanes], const float (&)[kInputs][kLanes]) const {
    set(y, value);
  }
};

struct Activate {
  Activation activation;

  template <int kLanes, int kInputs>
  __device__ __forceinline__ void operator()(float (&y)[kLanes], const float (&x)[kInputs][kLanes]) const {
#pragma unroll
    for (int i = 0; i < kLanes; ++i) y[i] = x[0][i];
    activate(activation, y);
  }
};

struct ScaleShift {
  Activation activation;

  template <int kLanes, int kInputs>
  __device__ __forceinline__ void operator()(float (&y)[kLanes], const float (&x)[kInputs][kLanes]) const {
#pragma unroll
    for (int i = 0; i < kLanes; ++i) y[i] = x[0][i] * x[1][i] + x[2][i];
    activate(activation, y);
  }
};

}  // namespace

template <class T>
void fill(const Strided<T>& y, float value, cudaStream_t stream) {
  map("fill", Constant{value}, collapse<1>(y.rank, y.size, {y.stride}), stream, y.data);
}

template <class T>
void activate(const Activation& activation, const Strided<const T>& x, const Strided<T>& y, cudaStream_t stream) {
  map("activate", Activate{activation}, collapse<2>(y.rank, y.size, {y.stride, x.stride}), stream, y.data, x.data);
}

template <class T>
void scale_shift(const Strided<const T>& x, const float* scale, const float* shift, int axis, const Activation& activation,
                 const Strided<T>& y, cudaStream_t stream) {
  index_t along[kMaxRank] = {};  // scale and shift are arrays of x's sizes that repeat in all but one direction
  along[axis] = 1;
  map("scale_shift", ScaleShift{activation}, collapse<4>(y.rank, y.size, {y.stride, x.stride, along, along}), stream, y.data,
      x.data, scale, shift);
}

#define FASTCONV_INSTANTIATE(T)                                                                                          \
  template void fill<T>(const Strided<T>&, float, cudaStream_t);                                                         \
  template void activate<T>(const Activation&, const Strided<const T>&, const Strided<T>&, cudaStream_t);                \
  template void scale_shift<T>(const Strided<const T>&, const float*, const float*, int, const Activation&, const Strided<T>&,  \
                               cudaStream_t);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(__half)
FASTCONV_INSTANTIATE(__nv_bfloat16)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv::cuda
