// A network as a graph: operators in execution order, each with one result. Values have a logical shape only; layouts,
// algorithms and memory are chosen when the graph is lowered (src/cpu/). The passes that simplify a graph are in src/graph/.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "fastconv/conv.h"
#include "fastconv/tensor.h"

namespace fastconv {

using ValueId = int;                  // the number of the node whose result it is
inline constexpr ValueId kNone = -1;  // an optional input that is absent

// The operators: their attributes, and their inputs in the comment. Comparable, so that graphs are.
namespace op {

using Pair = std::array<index_t, 2>;  // (height, width)

struct Input {  // -
  bool operator==(const Input&) const = default;
};
struct Constant {  // - ; contiguous, of the graph's dtype; null once its last user has packed it
  std::shared_ptr<const void> data;
  // Of some weights: a factor for each index of the first axis, applied when they are packed (see fold_affine).
  std::shared_ptr<const std::vector<double>> scale = nullptr;
  bool operator==(const Constant&) const = default;
};
struct Conv2d {  // x, weight, bias?, residual?
  Pair stride{1, 1};
  std::array<index_t, 4> padding{};  // top, bottom, left, right
  Pair dilation{1, 1};
  index_t groups = 1;
  Activation activation = Activation::none;
  bool operator==(const Conv2d&) const = default;
};
struct ConvTranspose2d {  // x, weight, bias?
  Pair stride{1, 1}, padding{}, output_padding{}, dilation{1, 1};
  index_t groups = 1;
  Activation activation = Activation::none;
  bool operator==(const ConvTranspose2d&) const = default;
};
struct Linear {  // x, weight (out, in), bias?, residual?; over the last axis
  Activation activation = Activation::none;
  bool operator==(const Linear&) const = default;
};
struct BatchNorm {  // x, mean, variance, weight?, bias?
  double eps = 1e-5;
  Activation activation = Activation::none;
  bool operator==(const BatchNorm&) const = default;
};
struct ScaleShift {  // x, scale, shift (vectors along `axis`): what batch norms and products with constants become
  int axis = 1;
  Activation activation = Activation::none;
  bool operator==(const ScaleShift&) const = default;
};
struct LayerNorm {  // x, weight?, bias?; normalises axes [begin, end)
  int begin = 0, end = 0;
  double eps = 1e-5;
  bool operator==(const LayerNorm&) const = default;
};
struct LocalResponseNorm {  // x
  index_t size = 5;
  double alpha = 1e-4, beta = 0.75, k = 1;
  bool operator==(const LocalResponseNorm&) const = default;
};
struct Activate {  // x
  Activation kind = Activation::relu;
  double negative_slope = 0.01;
  bool operator==(const Activate&) const = default;
};
struct Binary {  // a, b; NumPy's broadcasting
  BinaryKind kind = BinaryKind::add;
  bool operator==(const Binary&) const = default;
};
struct Pool {  // x
  enum class Kind : std::uint8_t { max, average } kind = Kind::max;
  Pair kernel{1, 1}, stride{1, 1}, padding{}, dilation{1, 1};
  bool ceil_mode = false, count_include_pad = true;
  bool operator==(const Pool&) const = default;
};
struct AdaptivePool {  // x
  Pool::Kind kind = Pool::Kind::average;
  Pair size{1, 1};
  bool operator==(const AdaptivePool&) const = default;
};
struct Mean {  // x
  std::vector<int> axes;  // ascending
  bool keepdims = false;
  bool operator==(const Mean&) const = default;
};
struct Reshape {  // x
  Shape shape;
  bool operator==(const Reshape&) const = default;
};
struct Permute {  // x; result axis i is axis order[i] of x
  std::vector<int> order;
  bool operator==(const Permute&) const = default;
};
struct Slice {  // x
  Shape start, stop, step;  // of each axis, as Python's slice.indices gives them
  bool operator==(const Slice&) const = default;
};
struct Concat {  // arrays...
  int axis = 1;
  bool operator==(const Concat&) const = default;
};
struct Pad {  // x
  enum class Mode : std::uint8_t { constant, reflect, replicate } mode = Mode::constant;
  Shape before, after;  // of each axis; negative crops
  double value = 0;
  bool operator==(const Pad&) const = default;
};
struct Softmax {  // x
  int axis = 1;
  bool log = false;
  bool operator==(const Softmax&) const = default;
};
struct Interpolate {  // x
  enum class Mode : std::uint8_t { nearest, bilinear } mode = Mode::nearest;
  Pair size{1, 1};
  std::array<double, 2> scale{};  // input step per output pixel; 0: input size / output size
  bool align_corners = false;
  bool operator==(const Interpolate&) const = default;
};
struct ChannelShuffle {  // x
  index_t groups = 1;
  bool operator==(const ChannelShuffle&) const = default;
};
struct PixelShuffle {  // x
  index_t upscale = 1;
  bool operator==(const PixelShuffle&) const = default;
};

}  // namespace op

using Operator =
    std::variant<op::Input, op::Constant, op::Conv2d, op::ConvTranspose2d, op::Linear, op::BatchNorm, op::ScaleShift,
                 op::LayerNorm, op::LocalResponseNorm, op::Activate, op::Binary, op::Pool, op::AdaptivePool, op::Mean,
                 op::Reshape, op::Permute, op::Slice, op::Concat, op::Pad, op::Softmax, op::Interpolate,
                 op::ChannelShuffle, op::PixelShuffle>;

const char* operator_name(const Operator& op);          // "conv2d", "add", ...
const char* activation_suffix(Activation activation);  // "+relu", ..., "" for none

struct Node {
  Operator op;
  std::vector<ValueId> inputs;
  Shape shape;
  std::string name;  // path of the module that it comes from

  template <class Op>
  const Op* as() const {
    return std::get_if<Op>(&op);
  }
};

class Graph {
 public:
  explicit Graph(DType dtype) : dtype_(dtype) {}

  ValueId add_input(const Shape& shape);
  ValueId add_constant(const Shape& shape, std::shared_ptr<const void> data,
                       std::shared_ptr<const std::vector<double>> scale = nullptr);
  // Checks the operator against its inputs and infers the shape. Throws std::invalid_argument.
  ValueId add(Operator op, std::vector<ValueId> inputs, std::string name = "");

  DType dtype() const { return dtype_; }
  int size() const { return static_cast<int>(nodes_.size()); }
  const Node& operator[](ValueId value) const { return nodes_[value]; }
  const Shape& shape(ValueId value) const { return nodes_[value].shape; }
  bool is_constant(ValueId value) const { return value != kNone && nodes_[value].as<op::Constant>(); }
  void set_name(ValueId value, const std::string& name) { nodes_[value].name = name; }

  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  void set_outputs(std::vector<ValueId> outputs);

  std::vector<int> use_counts() const;  // by value; being an output is a use
  std::vector<ValueId> last_uses() const;  // by value: the last node that reads it; size() for outputs
  // The same network for inputs whose first dimension is `batch`.
  Graph with_batch(index_t batch) const;
  bool same_as(const Graph& other) const;  // the same operators on the same constants; names may differ
  void drop_constant(ValueId value) { std::get<op::Constant>(nodes_[value].op).data.reset(); }

 private:
  friend class Rewriter;
  DType dtype_;
  std::vector<Node> nodes_;
  std::vector<ValueId> inputs_, outputs_;
};

Shape infer_shape(const Graph& graph, const Operator& op, const std::vector<ValueId>& inputs);  // throws

// The geometry of a convolution in a graph; that of a linear layer is a 1x1 convolution's (see as_image).
ConvGeometry geometry_of(const Graph& graph, const Node& node);
// A value whose last axis is channels, as (N, C, H, W): the image on which a linear layer is a 1x1 convolution.
Shape as_image(const Shape& x);

// All passes in their order: what is lowered.
Graph optimize(const Graph& graph);

}  // namespace fastconv
