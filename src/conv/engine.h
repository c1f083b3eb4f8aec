// What every convolution algorithm implements: made from a task, then given weights. plan.cc
// chooses among them.
#pragma once

#include <memory>
#include <string>

#include "fastconv/conv.h"
#include "fastconv/memory.h"
#include "kernels/activation/epilogue.h"

namespace fastconv {

template <class T>
class ConvEngine {
 public:
  virtual ~ConvEngine() = default;

  // Known from the task alone.
  std::size_t packed_bytes() const { return borrows() ? 0 : static_cast<std::size_t>(packed_size()) * sizeof(T); }
  virtual std::size_t workspace_bytes() const = 0;  // scratch of one thread

  // Comes before run(), once. `weight` is contiguous (out, in / groups, kernel_h, kernel_w); `bias`
  // may be null. `slopes` are those of prelu, and else null.
  void pack(const T* weight, const T* bias, const T* slopes, Arena* arena);
  // `residual` may be null. Sizes have been checked.
  virtual void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const = 0;
  // The largest error on a few pixels of hard data, in units of the roundoff and of the convolution
  // of absolute values: for algorithms whose rounding depends on the weights, which are given once
  // more.
  virtual double probe(const T* /*weight*/) const { return 0; }

  // The same convolution of images of other sizes, with the same packed weights and bias.
  std::unique_ptr<ConvEngine> resized(const ConvTask& task) const;

 protected:
  explicit ConvEngine(const ConvTask& task) : task_(task) {}
  ConvEngine(const ConvEngine&) = default;

  const T* weights() const { return borrowed_ ? borrowed_ : packed_.data(); }  // where packing is but a copy
  bool flush_denormals() const { return task_.accuracy != Accuracy::exact; }
  Epilogue<T> epilogue() const { return {task_.activation, slopes_.data()}; }
  // For a probe: without bias and activation.
  void forget_epilogue();

  ConvTask task_;
  SharedArray<T> packed_, bias_;  // the bias with zeros behind it, so that whole vectors can be loaded from any channel on
  SharedArray<T> slopes_;         // of prelu, or none
  const T* borrowed_ = nullptr;   // or the caller's weights: those for one call, which run() packs

 private:
  bool borrows() const { return task_.one_call && !always_packs(); }

  virtual std::unique_ptr<ConvEngine> clone() const = 0;
  virtual index_t packed_size() const = 0;  // elements
  virtual bool always_packs() const { return false; }  // ahead, even for one call
  virtual void prepare() {}  // what packing needs, ahead or in run()
  virtual void pack_weights(const T* weight, T* packed) = 0;
  virtual void fit_image() {}  // sets what depends on the size of images
};

// Whether direct convolution fills vectors with the output channels of several groups. Beyond two
// vectors a group it hardly leaves lanes empty without; the permutes of the narrowest vectors are
// too slow for groups that straddle two of them. Each sum is made in one go, so that long ones
// would round more.
inline bool spans_groups(const ConvGeometry& g, index_t lanes) {
  constexpr index_t kLongest = 288;  // 32 channels, 3x3
  return g.groups > 1 && g.group_out() % lanes != 0 && g.group_out() < (lanes > 4 ? 2 * lanes : lanes) &&
         g.group_in() * g.taps() <= kLongest;
}

// That of an algorithm, which can serve.
template <class T>
std::unique_ptr<ConvEngine<T>> make_engine(const ConvTask& task, Algorithm algorithm);

template <class T>
std::unique_ptr<ConvEngine<T>> make_reference(const ConvTask& task);
template <class T>
std::unique_ptr<ConvEngine<T>> make_im2col(const ConvTask& task);
template <class T>
std::unique_ptr<ConvEngine<T>> make_direct(const ConvTask& task);
// What make_direct makes where spans_groups().
template <class T>
std::unique_ptr<ConvEngine<T>> make_grouped(const ConvTask& task);
template <class T>
std::unique_ptr<ConvEngine<T>> make_depthwise(const ConvTask& task);
// 1x1 without padding, one group, multiples of 32 channels.
template <class T>
std::unique_ptr<ConvEngine<T>> make_strassen(const ConvTask& task);
// `tile` is the output tile's side: 2, 4 or 6.
template <class T>
std::unique_ptr<ConvEngine<T>> make_winograd(const ConvTask& task, int tile);

}  // namespace fastconv
