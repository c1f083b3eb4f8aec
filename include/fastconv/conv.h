// Convolutions: geometry (checked), the choice of an algorithm (with its reasons), packed weights, execution.
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
// What results may differ by from exact arithmetic (docs/accuracy.md). With fastest, the error of a channel may be
// relative to the largest of all channels.
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

// Checks the shapes and fills in the padding rule and the output size. Throws std::invalid_argument that names the
// argument, what was expected and what came. `x` is (N, C, H, W), `weight` (out, in / groups, kernel_h, kernel_w).
ConvGeometry conv_geometry(const Shape& x, const Shape& weight, std::array<index_t, 2> stride, const Padding& padding,
                           std::array<index_t, 2> dilation, index_t groups);

struct ConvOptions {
  Activation activation = Activation::none;
  Algorithm algorithm = Algorithm::automatic;
  Accuracy accuracy = Accuracy::fast;
  // x and out will be plain NCHW rather than blocked: the cost of converting counts in the choice of an algorithm.
  bool nchw = false;
  // The weights outlive the Conv2d, which may then read them where they are instead of copying them.
  bool borrow_weights = false;
  // Even where `algorithm` is given, another is taken if its rounding error with these weights would be too large.
  bool fall_back = false;
  // Where packed weights go; by default into memory of their own.
  std::shared_ptr<Arena> arena = nullptr;
};

// One line of what was considered for a convolution.
struct AlgorithmInfo {
  Algorithm algorithm;
  bool available;
  std::string reason;           // why it cannot serve, or what speaks for it
  std::size_t workspace_bytes;  // scratch of one thread
  std::string error_class;
};
// All algorithms for this geometry; those that can serve first, in the order of preference.
std::vector<AlgorithmInfo> conv_algorithms(const ConvGeometry& geometry, DType dtype, const ConvOptions& options);

// What the rule takes where options.algorithm is automatic.
struct RuleChoice {
  Algorithm algorithm;
  std::string reason;
};
RuleChoice conv_rule(const ConvGeometry& geometry, DType dtype, const ConvOptions& options);

// Whether two algorithms are known to round alike: 1x1, where each of these two sums channels in their order.
bool same_bits(const ConvGeometry& geometry, Algorithm a, Algorithm b);

template <class T>
class ConvEngine;

// A convolution that is decided and whose weights are packed: made once, run from any thread, on any batch size.
template <class T>
class Conv2d {
 public:
  // `weight` is contiguous (out, in / groups, kernel_h, kernel_w), `bias` has out_channels elements or is null; neither is
  // kept (but see borrow_weights). Throws std::invalid_argument when options.algorithm cannot serve.
  Conv2d(const ConvGeometry& geometry, const ConvOptions& options, const T* weight, const T* bias);
  // The same with other sizes of images. It shares the packed weights of `other`, whatever a rule says of these sizes.
  Conv2d(const Conv2d& other, const ConvGeometry& geometry);
  ~Conv2d();
  Conv2d(Conv2d&&) noexcept;
  Conv2d& operator=(Conv2d&&) noexcept;

  // x, out and residual may each be NCHW with any strides or blocked (block = the ISA's vector width); padding lanes of a
  // blocked `out` are written with unspecified values. `residual` has out's sizes; it is added before the activation and
  // may be `out` itself. Allocates only scratch.
  void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const;

  const ConvGeometry& geometry() const;
  Algorithm algorithm() const;       // what was chosen, never `automatic`
  const std::string& reason() const; // why
  std::size_t packed_bytes() const;
  std::size_t workspace_bytes() const;  // scratch that one thread takes during run()
  const ConvEngine<T>& engine() const;  // what computes it (src/conv/engine.h)

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Transposed convolution: weight is (in, out / groups, kernel_h, kernel_w). `geometry` is that of the convolution whose
// gradient this is, so its in_* describe the output here and its out_* the input.
ConvGeometry conv_transpose_geometry(const Shape& x, const Shape& weight, std::array<index_t, 2> stride,
                                     std::array<index_t, 2> padding, std::array<index_t, 2> output_padding,
                                     std::array<index_t, 2> dilation, index_t groups);
template <class T>
void conv_transpose2d(const ConvGeometry& geometry, const ConvOptions& options, const T* weight, const T* bias,
                      const TensorView<const T>& x, const TensorView<T>& out);

template <class T>
class TransposeWinograd;

// The same with weights that are packed once: a dense convolution for each phase of the stride (src/conv/transpose.h), or all
// phases together by Winograd (src/conv/transpose_winograd.h).
template <class T>
class ConvTranspose2d {
 public:
  ConvTranspose2d(const ConvGeometry& geometry, const ConvOptions& options, const T* weight, const T* bias);
  // The same with other sizes of images, and with the same packed weights; null where these sizes would be planned otherwise.
  std::shared_ptr<const ConvTranspose2d> resized(const ConvGeometry& geometry, const ConvOptions& options) const;
  // Views as those of Conv2d::run.
  void run(const TensorView<const T>& x, const TensorView<T>& out) const;

  const ConvGeometry& geometry() const { return geometry_; }
  std::string algorithms() const;  // of the phases, each once
  std::string reason() const;
  std::size_t packed_bytes() const;
  std::size_t workspace_bytes() const;

 private:
  struct Phase {
    index_t row, column;  // its first output pixel
    Algorithm planned;    // what the rule says
    Conv2d<T> conv;
    std::vector<Conv2d<T>> bands;  // the same for rows_ rows of x, and for what is left at its end; or none
  };
  explicit ConvTranspose2d(const ConvGeometry& geometry) : geometry_(geometry) {}
  void divide_rows();
  void run_bands(const TensorView<const T>& x, const TensorView<T>& out) const;

  ConvGeometry geometry_;
  index_t rows_ = 0;  // of x, in a band
  bool planned_winograd_ = false;                          // what the rule says
  std::shared_ptr<const TransposeWinograd<T>> winograd_;  // or null: then phases_ compute
  std::vector<Phase> phases_;
};

// Channels in a block of the blocked layout under the active ISA.
index_t channel_block(DType dtype);

}  // namespace fastconv
