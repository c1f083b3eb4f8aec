// A 1x1 convolution and the depthwise convolution of its result as one, as in inverted residuals
// (Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", section 5.1): of
// the wide tensor between them there is never more than what lies in L2.
#pragma once

#include "conv/depthwise.h"

namespace fastconv {

// What computes 1x1 convolutions of a blocked x piece by piece.
template <class T>
class Pointwise {
 public:
  virtual ~Pointwise() = default;

  // Whether this convolution is such a one: 1x1, of stride 1, without padding or groups, and x
  // fills a block.
  virtual bool computes_pieces() const = 0;

  // Computes rows [row, row + rows) of image n and of output blocks [2 * pair, 2 * pair + 2), as
  // far as there are any, into out[block][row][column][lanes], with its bias and activation. The
  // weights must be packed.
  virtual void pair_rows(const TensorView<const T>& x, index_t n, index_t pair, index_t row, index_t rows, T* out) const = 0;
};

template <class T>
class PointwiseDepthwise {
 public:
  // `depthwise` takes what `pointwise` makes. Null where they cannot be one: where the algorithm of
  // `pointwise` computes no pieces, or `depthwise` has several outputs a channel or needs a halo.
  static std::shared_ptr<const PointwiseDepthwise> make(std::shared_ptr<const Conv2d<T>> pointwise,
                                                        std::shared_ptr<const Conv2d<T>> depthwise);

  // `residual` may be null; all are blocked. Bits are those of the two convolutions one after the
  // other.
  void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const;

  std::size_t workspace_bytes() const { return buffer_bytes(rows_); }  // scratch of one thread

 private:
  PointwiseDepthwise(std::shared_ptr<const Conv2d<T>> pointwise, std::shared_ptr<const Conv2d<T>> depthwise, const Pointwise<T>& first,
                     const Depthwise<T>& second);
  std::size_t buffer_bytes(index_t rows) const;

  const std::shared_ptr<const Conv2d<T>> convs_[2];  // own the engines
  const Pointwise<T>& pointwise_;
  const Depthwise<T>& depthwise_;
  const ConvGeometry& geometry_;  // of the depthwise convolution
  const index_t lanes_, blocks_;
  index_t rows_;  // of the output, in a band
};

}  // namespace fastconv
