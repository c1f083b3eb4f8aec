// Convolutions: geometry (checked), the choice of an algorithm (with its reasons), packed weights,
// execution.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fastconv/memory.h"
#include "fastconv/tensor.h"

namespace fastconv {

enum class Algorithm : std::uint8_t { automatic, reference, im2col, direct, depthwise, strassen, winograd, winograd2, winograd4, winograd6 };
// What results may differ by from exact arithmetic (docs/accuracy.md). With fastest, the error of a
// channel may be relative to the largest of all channels.
enum class Accuracy : std::uint8_t { fast, exact, fastest };

const char* algorithm_name(Algorithm algorithm);  // "auto", "reference", ...
const char* error_class(Algorithm algorithm);     // "exact", or the name of an algorithm that rounds more

// Everything that decides a convolution's shape. Pairs are (height, width).
struct ConvGeometry {
  index_t in_channels = 0, out_channels = 0, groups = 1;
  index_t in_h = 0, in_w = 0;
  index_t kernel_h = 1, kernel_w = 1;
  index_t stride_h = 1, stride_w = 1;
  index_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;  // negative: crops (transposed convolution needs it)
  index_t dilation_h = 1, dilation_w = 1;
  index_t out_h = 0, out_w = 0;

  index_t group_in() const { return in_channels / groups; }
  index_t group_out() const { return out_channels / groups; }
  index_t taps() const { return kernel_h * kernel_w; }
  index_t macs() const { return out_channels * out_h * out_w * group_in() * taps(); }  // of one image
  bool operator==(const ConvGeometry&) const = default;
};

// How padding is given: explicit sizes, or a rule.
struct Padding {
  enum class Mode : std::uint8_t { explicit_sizes, same, valid } mode = Mode::explicit_sizes;
  index_t top = 0, bottom = 0, left = 0, right = 0;
  bool operator==(const Padding&) const = default;
};

// Checks the shapes and fills in the padding rule and the output size. Throws std::invalid_argument
// that names the argument, what was expected and what came. `x` is (N, C, H, W), `weight` (out, in
// / groups, kernel_h, kernel_w).
ConvGeometry conv_geometry(const Shape& x, const Shape& weight, std::array<index_t, 2> stride, const Padding& padding,
                           std::array<index_t, 2> dilation, index_t groups);

// What is to be computed, but for the weights: all that a plan depends on.
struct ConvTask {
  ConvGeometry geometry;
  DType dtype = DType::f32;
  Activation activation = Activation::none;
  Accuracy accuracy = Accuracy::fast;
  // x and out will be plain NCHW rather than blocked: the cost of converting counts in the choice
  // of an algorithm.
  bool nchw = false;
  // The weights are for one call and outlive it: they are read where they are, and what packing
  // them costs counts too.
  bool one_call = false;
  bool operator==(const ConvTask&) const = default;
};

// All that is decided about a convolution.
struct ConvPlan {
  ConvTask task;
  Algorithm algorithm = Algorithm::reference;  // never `automatic`
  std::string reason;                          // why this one
  std::size_t packed_bytes = 0;                // of the weights as the algorithm reads them; 0: where they are
  std::size_t workspace_bytes = 0;             // scratch that one thread takes during a run
  bool operator==(const ConvPlan&) const = default;
};

// What the rule chooses, or the plan for another algorithm. Throws std::invalid_argument that says
// why where that cannot serve.
ConvPlan plan_conv(const ConvTask& task, Algorithm algorithm = Algorithm::automatic);
// Whether weights that were packed for one serve the other: both differ in the sizes of images
// alone.
bool packs_alike(const ConvTask& a, const ConvTask& b);
bool packs_alike(const ConvPlan& a, const ConvPlan& b);
// "64x56x56 -> 128x56x56, 3x3, stride 1,1, ...": sizes as channels x height x width.
std::string describe(const ConvGeometry& geometry);
std::string describe(const ConvPlan& plan);

// One line of what was considered for a convolution.
struct AlgorithmInfo {
  Algorithm algorithm;
  bool available;
  std::string reason;           // why it cannot serve, or what speaks for it
  std::size_t workspace_bytes;  // scratch of one thread
  std::string error_class;
};
// All algorithms for this task; those that can serve first, in the order of preference.
std::vector<AlgorithmInfo> conv_algorithms(const ConvTask& task);

// Whether two algorithms are known to round alike: 1x1, where each of these two sums channels in
// their order.
bool same_bits(const ConvGeometry& geometry, Algorithm a, Algorithm b);

template <class T>
class ConvEngine;

// How a convolution keeps its weights.
struct Packing {
  // Where rounding errors with these weights would be too large (docs/accuracy.md), another
  // algorithm takes the place of the planned one. Not for one call, which has no time to look.
  bool fall_back = true;
  std::shared_ptr<Arena> arena = nullptr;  // where packed weights go; by default into memory of their own
};

// A plan with packed weights: made once, run from any thread, on any batch size.
template <class T>
class Conv2d {
 public:
  // `weight` is contiguous (out, in / groups, kernel_h, kernel_w), `bias` has out_channels elements
  // or is null, as `slopes` has where the activation is prelu; none is kept, but weights for one
  // call (ConvTask). Without weights there is no run().
  Conv2d(ConvPlan plan, const T* weight, const T* bias, const Packing& packing = {}, const T* slopes = nullptr);
  // The same for another plan, with which it shares the packed weights of `other`: packs_alike(),
  // or a plan whose algorithm had to be replaced for `other`.
  Conv2d(const Conv2d& other, ConvPlan plan);
  ~Conv2d();
  Conv2d(Conv2d&&) noexcept;
  Conv2d& operator=(Conv2d&&) noexcept;

  // x, out and residual may each be NCHW with any strides or blocked (block = the ISA's vector
  // width); padding lanes of a blocked `out` are written with unspecified values. `residual` has
  // out's sizes; it is added before the activation and may be `out` itself. Allocates only scratch.
  void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const;

  const ConvPlan& plan() const { return plan_; }  // with the algorithm that the weights allowed
  const ConvGeometry& geometry() const { return plan_.task.geometry; }
  const ConvEngine<T>& engine() const { return *engine_; }  // what computes it (src/conv/engine.h)

 private:
  ConvPlan plan_;
  std::unique_ptr<ConvEngine<T>> engine_;
};

// Transposed convolution: weight is (in, out / groups, kernel_h, kernel_w). `geometry` is that of
// the convolution whose gradient this is, so its in_* describe the output here and its out_* the
// input.
ConvGeometry conv_transpose_geometry(const Shape& x, const Shape& weight, std::array<index_t, 2> stride,
                                     std::array<index_t, 2> padding, std::array<index_t, 2> output_padding,
                                     std::array<index_t, 2> dilation, index_t groups);

// All that is decided about a transposed convolution: a dense convolution for each phase of the
// stride (src/conv/transpose.h), or all phases together by Winograd's algorithm
// (src/conv/transpose_winograd.h).
struct ConvTransposePlan {
  // Output pixels (row, column), (row + stride_h, column), ... are a convolution of the input.
  struct Phase {
    index_t row = 0, column = 0;
    // Which taps (kernel row * kernel_w + column) of the transposed convolution are the dense
    // one's, in its order. None: no tap reaches these pixels, and the dense one has one tap, of
    // weight zero, beside the image.
    std::vector<index_t> taps;
    ConvPlan dense;
    bool operator==(const Phase&) const = default;
  };
  ConvTask task;              // its geometry as conv_transpose_geometry gives it
  std::vector<Phase> phases;  // none: Winograd
  std::string reason;
  std::size_t packed_bytes = 0, workspace_bytes = 0;
  bool operator==(const ConvTransposePlan&) const = default;

  bool is_winograd() const { return phases.empty(); }
  std::string algorithms() const;  // of the phases, each once
};
ConvTransposePlan plan_conv_transpose(const ConvTask& task);
bool packs_alike(const ConvTransposePlan& a, const ConvTransposePlan& b);

template <class T>
class TransposeWinograd;

// A plan with packed weights, as Conv2d.
template <class T>
class ConvTranspose2d {
 public:
  // `weight` is contiguous (in, out / groups, kernel_h, kernel_w); neither it nor bias and slopes
  // are kept.
  ConvTranspose2d(ConvTransposePlan plan, const T* weight, const T* bias, const Packing& packing = {}, const T* slopes = nullptr);
  // The same for another plan, with the packed weights of `other`: see Conv2d.
  ConvTranspose2d(const ConvTranspose2d& other, ConvTransposePlan plan);
  // Views as those of Conv2d::run.
  void run(const TensorView<const T>& x, const TensorView<T>& out) const;

  const ConvTransposePlan& plan() const { return plan_; }

 private:
  struct PackedPhase {
    Conv2d<T> conv;
    std::vector<Conv2d<T>> bands;  // the same for rows_ rows of x, and for what is left at its end; or none
  };
  void divide_rows();
  void run_bands(const TensorView<const T>& x, const TensorView<T>& out) const;

  ConvTransposePlan plan_;
  std::shared_ptr<const TransposeWinograd<T>> winograd_;  // or null: then phases_ compute
  std::vector<PackedPhase> phases_;
  index_t rows_ = 0;  // of x, in a band
};

// Channels in a block of the blocked layout under the active ISA.
index_t channel_block(DType dtype);

}  // namespace fastconv
