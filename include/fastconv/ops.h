// Operators other than convolutions: they check shapes, divide the work among threads and call the
// kernels.
//
// Tensor views may each be NCHW with any strides or blocked by the width of the ISA's vectors
// (channel_block), starting at lane 0, unless a function says otherwise. The padding lanes of a
// blocked output get unspecified values, those of a blocked input may hold anything. Results do not
// depend on the number of threads.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <vector>

#include "fastconv/interpolation.h"
#include "fastconv/pointwise.h"
#include "fastconv/tensor.h"

namespace fastconv {

// ---- Layout ----

// y = x, between any two layouts. T may be an unsigned integer, for the bits of any dtype.
template <class T>
void copy(const TensorView<const T>& x, const TensorView<T>& y);

// ---- Element by element ----

// y[i] = activation(x[i]) on contiguous memory; y may be x.
template <class T>
void activate(const Activation& activation, const T* x, T* y, index_t count);

// A pointwise program, ready for arrays of a shape: floats, or bytes for true and false. Strides
// count elements, zero repeats; those of the inputs come first, then those of the result. The
// function computes arrays at these places, in the same order. The result may be exactly one of the
// inputs. A blocked tensor is an array of shape (n, blocks, h * w, block).
using PointwiseFunction = std::function<void(void* const* data)>;
template <class T>
PointwiseFunction pointwise(const PointwiseProgram& program, const Shape& shape, std::span<const Shape> strides);

// y = activation((x - mean) * scale + shift), a number of each for every channel, and of `slopes`
// for prelu. NCHW views need contiguous rows; both views have the same block, which may be any (x
// of shape (N, C) is a view with block = C, w = N). y may be x.
template <class T>
void affine(const TensorView<const T>& x, const TensorView<T>& y, const T* mean, const T* scale, const T* shift,
            const Activation& activation = {}, const T* slopes = nullptr);

// ---- Pooling and resizing ----

// The windows of a pooling, decided once.
struct PoolGeometry {
  index_t in_h = 0, in_w = 0, out_h = 0, out_w = 0;
  index_t step_h = 1, step_w = 1;  // dilation
  std::vector<PoolWindow> rows, columns;
};

// Windows as in torch. Throw std::invalid_argument that names the argument. Pairs are (height,
// width).
PoolGeometry pool_geometry(std::array<index_t, 2> size, std::array<index_t, 2> kernel_size, std::array<index_t, 2> stride,
                           std::array<index_t, 2> padding, std::array<index_t, 2> dilation, bool ceil_mode,
                           bool count_include_pad = true);
std::array<index_t, 2> pool_output_size(std::array<index_t, 2> size, std::array<index_t, 2> kernel_size,
                                        std::array<index_t, 2> stride, std::array<index_t, 2> padding,
                                        std::array<index_t, 2> dilation, bool ceil_mode);
PoolGeometry adaptive_pool_geometry(std::array<index_t, 2> size, std::array<index_t, 2> output_size);

template <class T>
void max_pool2d(const PoolGeometry& geometry, const TensorView<const T>& x, const TensorView<T>& y);
template <class T>
void avg_pool2d(const PoolGeometry& geometry, const TensorView<const T>& x, const TensorView<T>& y);

// The mean of each channel; y is (n, c, 1, 1). NCHW input needs contiguous planes.
template <class T>
void global_avg_pool2d(const TensorView<const T>& x, const TensorView<T>& y);

// Along one axis: output element i is made of taps[begins[i]], ... before taps[begins[i + 1]].
struct InterpolationFilter {
  std::vector<index_t> begins;
  std::vector<WeightedTap> taps;
};
struct InterpolationGeometry {
  bool bilinear = false;
  std::vector<InterpolationTap> rows, columns;    // of nearest and bilinear images; else empty,
  InterpolationFilter row_filter, column_filter;  // for these have any number of taps
};
InterpolationGeometry interpolation_geometry(std::array<index_t, 2> size, std::array<index_t, 2> output_size,
                                             const Interpolation& how);
// x and y have the same block.
template <class T>
void interpolate(const InterpolationGeometry& geometry, const TensorView<const T>& x, const TensorView<T>& y);

// y at (n, :, i, j) is x at the place (horizontal, vertical) of the contiguous grid (n, y.h, y.w,
// 2). x and y have the same block, x has pixels.
template <class T>
void grid_sample(const GridSampling& how, const TensorView<const T>& x, const T* grid, const TensorView<T>& y);

// ---- Normalisation over channels ----

// Each pixel over its channels; weight and bias have c elements or are null.
template <class T>
void layer_norm_channels(const TensorView<const T>& x, const TensorView<T>& y, const T* weight, const T* bias, double eps);

template <class T>
void local_response_norm(const TensorView<const T>& x, const TensorView<T>& y, index_t size, double alpha, double beta,
                         double k);

// ---- On contiguous arrays ----

// Each row of `count` elements; weight and bias have `count` elements or are null. y may be x.
template <class T>
void layer_norm(const T* x, T* y, index_t rows, index_t count, const T* weight, const T* bias, double eps);

// Of x with shape (n, groups * channels, pixels), over the channels and pixels of each group;
// weight and bias have an element for each channel, or are null. y may be x.
template <class T>
void group_norm(const T* x, T* y, index_t n, index_t groups, index_t channels, index_t pixels, const T* weight, const T* bias, double eps);

// Of x with shape (outer, count, inner), over the middle axis: the first three give (outer, inner),
// the others x's shape. Of no elements the mean is NaN, the sum 0, the product 1, the maximum
// -infinity and the minimum infinity.
template <class T>
void reduce(ReduceKind kind, const T* x, T* y, index_t outer, index_t count, index_t inner);
// The index of the first greatest or least element, NaN before all others. There must be some.
template <class T>
void argmax(bool least, const T* x, std::int64_t* y, index_t outer, index_t count, index_t inner);
// (sum |x|^ord)^(1 / ord), without overflow or underflow on the way; for 0 the number of elements
// other than 0, for infinities the greatest and the least |x|.
template <class T>
void norm(double ord, const T* x, T* y, index_t outer, index_t count, index_t inner);
// Sums up to each element; without itself, or from the end.
template <class T>
void cumsum(const T* x, T* y, index_t outer, index_t count, index_t inner, bool exclusive, bool reverse);
template <class T>
void softmax(const T* x, T* y, index_t outer, index_t count, index_t inner, bool logarithm);

// Of x with shape (outer, count, inner), over the middle axis: y[o, i] = x[o, indices[i]]. T may be
// an unsigned integer, for the bits of any dtype.
template <class T>
void take(const T* x, T* y, index_t outer, index_t count, index_t inner, const std::vector<index_t>& indices);
// y = x, and then y[o, indices[i]] += updates[o, i] for each i in turn. y may be x.
template <class T>
void scatter_add(const T* x, const T* updates, T* y, index_t outer, index_t count, index_t inner,
                 const std::vector<index_t>& indices);

// ---- Products of matrices ----

// A batch of products (m, k) @ (k, n). Strides count elements and may be anything; those of the
// batch are 0 where a matrix serves several.
struct MatmulGeometry {
  struct Strides {
    Shape batch;
    index_t row = 0, column = 0;
  };
  Shape batch;
  index_t m = 1, k = 1, n = 1;
  Strides a, b;

  index_t macs() const { return checked_size(batch) * m * k * n; }
};
// Of arrays as NumPy's matmul takes them, and of their product of the shape `y`, which
// op::matmul_shape knows.
MatmulGeometry matmul_geometry(const Shape& a, const Shape& a_strides, const Shape& b, const Shape& b_strides, Shape y);
// c, contiguous (batch, m, n), overlaps neither a nor b. If `exact`, the bits of an element depend
// on its row and column alone, and subnormal numbers count; else products of a single row or column
// may sum in another order.
template <class T>
void matmul(MatmulGeometry g, const T* a, const T* b, T* c, bool exact);

}  // namespace fastconv
