// Transposed convolution by Winograd's F(3 x 3, 2 x 2), all phases of the stride together.
#pragma once

#include <memory>
#include <vector>

#include "conv/transpose.h"
#include "conv/winograd_tiles.h"

namespace fastconv {

// The windows of 2x2 pixels of the input that all phases read, as a dense convolution: `dense`,
// whose outputs are the windows.
struct TransposeWindows {
  struct Phase {
    index_t first_tap_h, first_tap_w;  // where its taps lie in the window
    index_t shift_h, shift_w;          // the window of its first output
    std::vector<index_t> positions;    // of transformed tiles, whose products are not zero
  };
  ConvGeometry dense;
  std::vector<Phase> phases;
};

template <class T>
class TransposeWinograd {
 public:
  // Whether phases with at most two taps an axis, and enough of them, channels and pixels to repay
  // the transforms.
  static bool pays(const std::vector<TransposePhase>& phases, Accuracy accuracy);

  explicit TransposeWinograd(const ConvTask& task);
  // As ConvEngine's.
  void pack(const T* weight, const T* bias, const T* slopes, Arena* arena);
  std::shared_ptr<const TransposeWinograd> resized(const ConvTask& task) const;
  void run(const TensorView<const T>& x, const TensorView<T>& out) const;
  double probe(const T* weight) const;
  std::size_t packed_bytes() const { return static_cast<std::size_t>(packed_size_) * sizeof(T); }
  std::size_t workspace_bytes() const { return tiles_.workspace_bytes(); }

 private:
  using Block = typename WinogradTiles<T>::Block;
  using Buffers = typename WinogradTiles<T>::Buffers;

  void fit_image();
  void fit_tiles(const ConvGeometry& windows);
  int pair_vectors(index_t pair) const { return 2 * pair + 1 < out_blocks_ ? 2 : 1; }
  std::vector<T> window_weight(std::size_t phase, const T* weight) const;
  void pack_weights(const T* weight);
  void multiply(const Block& block, std::size_t phase, index_t pair, const Buffers& b, const TensorView<T>& out) const;

  ConvTask task_;
  index_t lanes_, out_blocks_;
  std::vector<T> bias_;  // with zeros behind it so that whole vectors can be loaded
  std::vector<T> slopes_;  // of prelu, or none
  std::vector<TransposePhase> phases_;
  TransposeWindows windows_;
  WinogradTiles<T> tiles_;
  std::vector<index_t> first_weight_;  // in packed_, of each phase
  index_t scales_ = 0;                 // in packed_
  index_t packed_size_ = 0;
  SharedArray<T> packed_;
};

}  // namespace fastconv
