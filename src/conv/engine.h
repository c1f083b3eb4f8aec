// What every convolution algorithm implements; plan.cc chooses among them.
#pragma once

#include <memory>
#include <string>

#include "fastconv/conv.h"
#include "fastconv/memory.h"

namespace fastconv {

template <class T>
class ConvEngine {
 public:
  virtual ~ConvEngine() = default;
  // `residual` may be null. Sizes have been checked.
  virtual void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const = 0;
  virtual std::size_t packed_bytes() const = 0;
  virtual std::size_t workspace_bytes() const = 0;  // scratch of one thread
  // The largest error on a few pixels of hard data, in units of the roundoff and of the convolution of absolute values: for
  // algorithms whose rounding depends on the weights, which are given once more.
  virtual double probe(const T* /*weight*/) const { return 0; }

  // The same convolution of images of other sizes, with the same packed weights and bias.
  std::unique_ptr<ConvEngine> resized(const ConvGeometry& geometry) const {
    std::unique_ptr<ConvEngine> engine = clone();
    engine->geometry_ = geometry;
    engine->fit_image();
    return engine;
  }

 protected:
  // Copies the bias, with zeros behind it so that whole vectors can be loaded from any channel on.
  ConvEngine(const ConvGeometry& geometry, const ConvOptions& options, const T* bias);
  ConvEngine(const ConvEngine&) = default;

  bool flush_denormals() const { return options_.accuracy != Accuracy::exact; }
  // For a probe: without bias and activation.
  void forget_epilogue();

  ConvGeometry geometry_;
  ConvOptions options_;
  SharedArray<T> bias_;

 private:
  virtual std::unique_ptr<ConvEngine> clone() const = 0;
  virtual void fit_image() {}  // sets what depends on the size of images
};

// Whether direct convolution fills vectors with the output channels of several groups. Beyond two vectors a group it hardly
// leaves lanes empty without; the permutes of the narrowest vectors are too slow for groups that straddle two of them. Each sum
// is made in one go, so that long ones would round more.
inline bool spans_groups(const ConvGeometry& g, index_t lanes) {
  constexpr index_t kLongest = 288;  // 32 channels, 3x3
  return g.groups > 1 && g.group_out() % lanes != 0 && g.group_out() < (lanes > 4 ? 2 * lanes : lanes) &&
         g.group_in() * g.taps() <= kLongest;
}

// One for each algorithm. Weights that are borrowed (ConvOptions) and large are read by run() only, so that asking for
// workspace_bytes() is cheap. `weight` is contiguous (out, in / groups, kernel_h, kernel_w).
template <class T>
std::unique_ptr<ConvEngine<T>> make_reference(const ConvGeometry&, const ConvOptions&, const T* weight, const T* bias);
template <class T>
std::unique_ptr<ConvEngine<T>> make_im2col(const ConvGeometry&, const ConvOptions&, const T* weight, const T* bias);
template <class T>
std::unique_ptr<ConvEngine<T>> make_direct(const ConvGeometry&, const ConvOptions&, const T* weight, const T* bias);
// What make_direct makes where spans_groups().
template <class T>
std::unique_ptr<ConvEngine<T>> make_grouped(const ConvGeometry&, const ConvOptions&, const T* weight, const T* bias);
template <class T>
std::unique_ptr<ConvEngine<T>> make_depthwise(const ConvGeometry&, const ConvOptions&, const T* weight, const T* bias);
// 1x1 without padding, one group, multiples of 32 channels.
template <class T>
std::unique_ptr<ConvEngine<T>> make_strassen(const ConvGeometry&, const ConvOptions&, const T* weight, const T* bias);
// `tile` is the output tile's side: 2, 4 or 6.
template <class T>
std::unique_ptr<ConvEngine<T>> make_winograd(const ConvGeometry&, const ConvOptions&, int tile, const T* weight, const T* bias);

}  // namespace fastconv
