// Operators other than convolutions, on device memory. T is float, __half or __nv_bfloat16; all
// compute in float32. Shapes are checked where graphs are made, not here.
#pragma once

#include <cstdint>

#include "cuda/runtime.h"
#include "cuda/tensor.h"
#include "fastconv/instructions.h"

namespace fastconv::cuda {

// y = x, between any strides and element types; sizes are equal. Strides of y are not zero. Bytes
// are masks: 1 where an element is not 0, else 0.
template <class From, class To>
void copy(const Strided<const From>& x, const Strided<To>& y, cudaStream_t stream);

template <class T>
void fill(const Strided<T>& y, float value, cudaStream_t stream);

// Element by element on arrays of y's sizes; a stride of zero repeats. y may be exactly x, a or b.
template <class T>
void activate(const Activation& activation, const Strided<const T>& x, const Strided<T>& y, cudaStream_t stream);
// An instruction of pointwise programs but for activations; `x` are its operands. Masks are 1 and
// 0.
template <class T>
void pointwise(Instruction instruction, const Strided<const T>* x, const Strided<T>& y, cudaStream_t stream);
// y = activation(x * scale + shift); scale and shift (float) are indexed along `axis`.
template <class T>
void scale_shift(const Strided<const T>& x, const float* scale, const float* shift, int axis, const Activation& activation,
                 const Strided<T>& y, cudaStream_t stream);

// Pairs are (height, width). Windows and what averages divide by: as fastconv::pool_geometry; the
// output's sizes are y's.
struct PoolParameters {
  bool maximum = true;
  int kernel[2] = {1, 1}, stride[2] = {1, 1}, padding[2] = {0, 0}, dilation[2] = {1, 1};
  bool count_include_pad = true;
};
template <class T>
void pool2d(const PoolParameters& parameters, const Nhwc<const T>& x, const Nhwc<T>& y, cudaStream_t stream);
template <class T>
void adaptive_pool2d(bool maximum, const Nhwc<const T>& x, const Nhwc<T>& y, cudaStream_t stream);

// Of x as (outer, count, inner) with these strides, over the middle axis: mean gives (outer,
// inner), contiguous; softmax gives x's sizes and strides.
struct Rows {
  index_t outer, count, inner;
  index_t outer_stride, count_stride, inner_stride;
};
template <class T>
void mean(const Rows& rows, const T* x, T* y, cudaStream_t stream);
template <class T>
void softmax(const Rows& rows, bool logarithm, const T* x, T* y, cudaStream_t stream);

// Each row of `count` neighbouring elements; rows lie x_stride and y_stride apart. weight and bias
// (float) may be null.
template <class T>
void layer_norm(index_t rows, index_t count, const T* x, index_t x_stride, const float* weight, const float* bias, float eps,
                T* y, index_t y_stride, cudaStream_t stream);

template <class T>
void local_response_norm(index_t size, float alpha, float beta, float k, const Nhwc<const T>& x, const Nhwc<T>& y,
                         cudaStream_t stream);

// op::Pad's modes; `before` counts elements before each axis of x (negative crops); the sizes after
// follow from y's.
enum class PadMode : std::uint8_t { constant, reflect, replicate };
template <class T>
void pad(PadMode mode, float value, const index_t* before, const Strided<const T>& x, const Strided<T>& y, cudaStream_t stream);

// `scale` is the input step per output element, (height, width), 0 for input size / output size.
template <class T>
void interpolate(bool bilinear, bool align_corners, const double (&scale)[2], const Nhwc<const T>& x, const Nhwc<T>& y,
                 cudaStream_t stream);

}  // namespace fastconv::cuda
