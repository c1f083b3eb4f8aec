// Winograd convolution F(m x m, 3 x 3).
#include <numeric>
#include <vector>

#include "conv/engine.h"
#include "conv/probe.h"
#include "conv/winograd_tiles.h"

namespace fastconv {
namespace {

template <class T>
class Winograd final : public ConvEngine<T> {
 public:
  Winograd(const ConvTask& task, int tile)
      : ConvEngine<T>(task),
        tiles_(tile, 3, task.geometry.group_in()),
        positions_(static_cast<std::size_t>(tiles_.positions())),
        lanes_(pack_kernels<T>().lanes),
        out_blocks_(ceil_div(task.geometry.group_out(), lanes_)),
        transformed_size_(task.geometry.groups * tiles_.positions() * task.geometry.group_in() * out_blocks_ * lanes_) {
    std::iota(positions_.begin(), positions_.end(), index_t{0});
    fit_image();
  }

  void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const override {
    const T* borrowed = this->borrowed_;
    const Scratch ahead(borrowed ? static_cast<std::size_t>(packed_size()) * sizeof(T) : 0);
    if (borrowed) transform(borrowed, ahead.as<T>());
    const T* weights = borrowed ? ahead.as<T>() : this->packed_.data();
    tiles_.for_each_block(this->task_.geometry, x, ceil_div(out_blocks_, 2), this->flush_denormals(),
                          [&](const Block& block, index_t pair, const Buffers& b) { multiply(block, pair, weights, b, residual, out); });
  }

  std::size_t workspace_bytes() const override { return tiles_.workspace_bytes(); }

  double probe(const T* weight) const override {
    return probe_error<T>(this->task_.geometry, tiles_.side(), weight, [&](const ConvGeometry& g, const auto& x, const auto& y) {
      Winograd plain(*this);
      plain.task_.geometry = g;
      plain.fit_image();
      plain.forget_epilogue();
      plain.run(x, nullptr, y);
    });
  }

 private:
  using Block = typename WinogradTiles<T>::Block;
  using Buffers = typename WinogradTiles<T>::Buffers;

  std::unique_ptr<ConvEngine<T>> clone() const override { return std::make_unique<Winograd>(*this); }
  index_t packed_size() const override { return transformed_size_ + this->task_.geometry.groups * out_blocks_ * lanes_; }
  void pack_weights(const T* weight, T* packed) override { transform(weight, packed); }

  void fit_image() override { tiles_.fit(this->task_.geometry.out_h, this->task_.geometry.out_w, gemm_kernels<T>().max_rows); }

  int pair_vectors(index_t pair) const { return 2 * pair + 1 < out_blocks_ ? 2 : 1; }

  // [group][pair][xi][channel][vectors of the pair], then the scale of each output channel:
  // [group][block][lanes].
  void transform(const T* weight, T* packed) const {
    const ConvGeometry& g = this->task_.geometry;
    parallel_for(g.groups * out_blocks_, [&](index_t task) {
      const index_t group = task / out_blocks_, block = task % out_blocks_, channels = g.group_in();
      T* to = packed + (group * out_blocks_ + block / 2 * 2) * lanes_ * channels * tiles_.positions() + block % 2 * lanes_;
      tiles_.pack_weights(weight + (group * g.group_out() + block * lanes_) * channels * 9, std::min(lanes_, g.group_out() - block * lanes_),
                          pair_vectors(block / 2), to, packed + transformed_size_ + task * lanes_);
    });
  }

  void multiply(const Block& block, index_t pair, const T* all_weights, const Buffers& b, const TensorView<const T>* residual,
                const TensorView<T>& out) const {
    const ConvGeometry& g = this->task_.geometry;
    const index_t channels = g.group_in(), m = tiles_.side();
    const int vectors = pair_vectors(pair);
    const T* weights = all_weights + (block.group * out_blocks_ + 2 * pair) * lanes_ * channels * tiles_.positions();
    tiles_.multiply(block, positions_, weights, vectors, b);
    for (int v = 0; v < vectors; ++v) {
      const index_t oc = (2 * pair + v) * lanes_, row = block.row * m, column = block.column * m;
      BandSums<T> band = tiles_.transform_output(block, v, vectors, all_weights + transformed_size_ + block.group * out_blocks_ * lanes_ + oc, b);
      band.oc = block.group * g.group_out() + oc;
      band.channels = std::min(lanes_, g.group_out() - oc);
      band.y = row;
      band.rows = std::min(block.rows * m, g.out_h - row);
      band.x = column;
      band.columns = std::min(block.columns * m, g.out_w - column);
      finish_band(band, this->bias_.data(), residual, this->epilogue(), out);
    }
  }

  WinogradTiles<T> tiles_;
  std::vector<index_t> positions_;  // all of a tile
  const index_t lanes_, out_blocks_;
  const index_t transformed_size_;  // of the weights
};

}  // namespace

template <class T>
std::unique_ptr<ConvEngine<T>> make_winograd(const ConvTask& task, int tile) {
  return std::make_unique<Winograd<T>>(task, tile);
}
template std::unique_ptr<ConvEngine<float>> make_winograd(const ConvTask&, int);
template std::unique_ptr<ConvEngine<double>> make_winograd(const ConvTask&, int);

}  // namespace fastconv
