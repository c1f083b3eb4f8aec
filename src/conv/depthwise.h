// Depthwise convolution: groups == in_channels, any channel multiplier. Channel blocks are computed
// one by one, each over any rows, so that others can hand one the rows that they have just made.
#pragma once

#include "conv/band.h"
#include "conv/engine.h"
#include "kernels/depthwise/depthwise.h"

namespace fastconv {

template <class T>
class Depthwise final : public ConvEngine<T> {
 public:
  explicit Depthwise(const ConvTask& task);

  void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const override;

  std::size_t workspace_bytes() const override { return static_cast<std::size_t>(band_size(rows_)) * sizeof(T); }

  // Whether the kernels skip taps outside of x. If not, x needs a halo of zeros: for sizes that
  // they have no tile for, and for weights that are not finite, as these make NaN of zeros.
  bool skips_outside() const { return skips_outside_; }

  // What [row, row + rows) of the output read, all columns; clipped to the image where the kernels
  // skip the rest.
  InputBand input_of(index_t row, index_t rows) const;

  // Computes rows [row, row + rows) of image n and of a channel block from `x`, which holds the
  // rectangle `held` of the padded input; nothing outside of it is read. `residual`, which may be
  // null, and `out` are blocked, their rows contiguous.
  void rows(index_t block, const T* x, index_t x_row_stride, const InputBand& held, index_t n, index_t row, index_t rows,
            const TensorView<const T>* residual, const TensorView<T>& out) const;

  using ConvEngine<T>::flush_denormals;

 private:
  std::unique_ptr<ConvEngine<T>> clone() const override;
  index_t packed_size() const override { return blocks_ * lanes_ * this->task_.geometry.taps(); }
  bool always_packs() const override { return true; }
  void pack_weights(const T* weight, T* packed) override;  // [block][tap][lanes]
  void fit_image() override;

  // What computes them but for y and the residual; bias and activation are set where the latter is
  // a clamp.
  DepthwiseBand<T> band(index_t block, const T* x, index_t x_row_stride, const InputBand& held, index_t row, index_t rows) const;
  index_t band_size(index_t rows) const;  // elements of packed input and sums
  void one_band(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out, index_t n,
                index_t block, index_t row, index_t rows, T* scratch) const;
  bool reads_in_place(const TensorView<const T>& x) const;
  bool writes_in_place(const TensorView<const T>* residual, const TensorView<T>& out) const;
  void pack_lane(const TensorView<const T>& x, index_t n, index_t channel, const InputBand& band, T* to) const;

  const index_t lanes_, blocks_;
  bool skips_outside_;
  index_t rows_;  // of a band that is packed
};

}  // namespace fastconv
