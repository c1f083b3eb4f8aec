#include "conv/pointwise_depthwise.h"

#include "fastconv/cpu.h"
#include "fastconv/thread_pool.h"

namespace fastconv {

template <class T>
std::shared_ptr<const PointwiseDepthwise<T>> PointwiseDepthwise<T>::make(std::shared_ptr<const Conv2d<T>> pointwise,
                                                                         std::shared_ptr<const Conv2d<T>> depthwise) {
  const auto* first = dynamic_cast<const Pointwise<T>*>(&pointwise->engine());
  const auto* second = dynamic_cast<const Depthwise<T>*>(&depthwise->engine());
  if (!first || !first->computes_pieces()) return nullptr;
  if (!second || !second->skips_outside() || depthwise->geometry().group_out() != 1) return nullptr;
  return std::shared_ptr<const PointwiseDepthwise>(
      new PointwiseDepthwise(std::move(pointwise), std::move(depthwise), *first, *second));
}

template <class T>
PointwiseDepthwise<T>::PointwiseDepthwise(std::shared_ptr<const Conv2d<T>> pointwise, std::shared_ptr<const Conv2d<T>> depthwise,
                                          const Pointwise<T>& first, const Depthwise<T>& second)
    : convs_{std::move(pointwise), std::move(depthwise)},
      pointwise_(first),
      depthwise_(second),
      geometry_(convs_[1]->geometry()),
      lanes_(pack_kernels<T>().lanes),
      blocks_(ceil_div(geometry_.out_channels, lanes_)),
      rows_(geometry_.out_h) {
  // Half of L2: smaller bands compute more rows twice, and measured up to a tenth slower.
  while (rows_ > 1 && buffer_bytes(rows_) > cache_sizes().l2 / 2) rows_ = ceil_div(rows_, 2);
}

template <class T>
std::size_t PointwiseDepthwise<T>::buffer_bytes(index_t rows) const {
  const ConvGeometry& g = geometry_;
  const index_t in_rows = std::min(g.in_h, (rows - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1);
  return static_cast<std::size_t>(2 * in_rows * g.in_w * lanes_) * sizeof(T);
}

template <class T>
void PointwiseDepthwise<T>::run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const {
  constexpr index_t kLeastRows = 14;  // to divide further would compute too many rows twice
  const index_t pairs = ceil_div(blocks_, 2), threads = num_threads();
  index_t rows = rows_;
  while (threads > 1 && rows > kLeastRows && out.n * pairs * ceil_div(out.h, rows) < 3 * threads) rows = ceil_div(rows, 2);
  const index_t bands = ceil_div(out.h, rows);
  // The pairs of a band follow one another, so that its part of x stays in L2 as well.
  parallel(out.n * bands * pairs, [&](TaskQueue& queue) {
    const FlushDenormals flush(depthwise_.flush_denormals());
    const Scratch scratch(buffer_bytes(rows));
    T* between = scratch.as<T>();
    for (index_t begin, end; queue.next(begin, end);)
      for (index_t task = begin; task < end; ++task) {
        const index_t n = task / pairs / bands, row = task / pairs % bands * rows, pair = task % pairs;
        const index_t count = std::min(rows, out.h - row);
        const InputBand held = depthwise_.input_of(row, count);
        pointwise_.pair_rows(x, n, pair, held.y, held.rows, between);
        const index_t row_stride = held.columns * lanes_;
        for (index_t v = 0; v < 2 && 2 * pair + v < blocks_; ++v)
          depthwise_.rows(2 * pair + v, between + v * held.rows * row_stride, row_stride, held, n, row, count, residual, out);
      }
  });
}

template class PointwiseDepthwise<float>;
template class PointwiseDepthwise<double>;

}  // namespace fastconv
