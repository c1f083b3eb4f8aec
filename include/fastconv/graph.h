// A network as a graph: operators in execution order, each with one result. Values have a logical
// shape and a dtype; layouts, algorithms and memory are chosen when the graph is lowered
// (src/cpu/). The passes that simplify a graph are in src/graph/.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "fastconv/op/activate.h"
#include "fastconv/op/batch_norm.h"
#include "fastconv/op/concat.h"
#include "fastconv/op/conv2d.h"
#include "fastconv/op/conv_transpose2d.h"
#include "fastconv/op/grid_sample.h"
#include "fastconv/op/group_norm.h"
#include "fastconv/op/interpolate.h"
#include "fastconv/op/layer_norm.h"
#include "fastconv/op/linear.h"
#include "fastconv/op/local_response_norm.h"
#include "fastconv/op/matmul.h"
#include "fastconv/op/pad.h"
#include "fastconv/op/permute.h"
#include "fastconv/op/pointwise.h"
#include "fastconv/op/pool.h"
#include "fastconv/op/reduce.h"
#include "fastconv/op/reshape.h"
#include "fastconv/op/scale_shift.h"
#include "fastconv/op/shuffle.h"
#include "fastconv/op/slice.h"
#include "fastconv/op/softmax.h"
#include "fastconv/op/source.h"
#include "fastconv/op/take.h"
#include "fastconv/op/tile.h"
#include "fastconv/tensor.h"

namespace fastconv {

using ValueId = int;                  // the number of the node whose result it is
inline constexpr ValueId kNone = -1;  // an optional input that is absent

using Operator =
    std::variant<op::Input, op::Constant, op::Conv2d, op::ConvTranspose2d, op::Linear, op::Matmul, op::BatchNorm, op::ScaleShift,
                 op::LayerNorm, op::GroupNorm, op::LocalResponseNorm, op::Activate, op::Pointwise, op::Pool, op::AdaptivePool,
                 op::Reduce, op::ArgMax, op::Norm, op::CumSum, op::Reshape, op::Permute, op::Slice, op::Concat, op::Pad, op::Softmax,
                 op::Interpolate, op::GridSample, op::ChannelShuffle, op::PixelShuffle, op::PixelUnshuffle, op::Take, op::Tile, op::ScatterAdd>;

// What all operators have, by their homes (fastconv/op/): see docs/architecture.md.
const char* operator_name(const Operator& op);     // "conv2d", "add", ...
Attributes attributes_of(const Operator& op);      // with which read_operator gives it again
std::string input_name(const Operator& op, std::size_t i);  // "weight"
std::string activation_suffix(const Activation& activation);  // "+relu", ..., "" for none
bool keeps_layout(const Operator& op);             // whether its result lies as x does, in channel blocks or plainly
bool is_pointwise(const Operator& op);             // whether it computes each element from the same ones of its inputs

// What Python, documents and tests know of an operator.
struct OperatorInfo {
  std::string name;    // "max_pool2d"
  std::string type;    // "Pool", of fastconv::op
  std::string inputs;  // "x, weight, bias?"
  struct AttributeInfo {
    std::string name, kind;
    Attribute otherwise;  // what it is where it is not given
    bool required;
  };
  std::vector<AttributeInfo> attributes;
};
std::vector<OperatorInfo> all_operators();

struct Node {
  Operator op;
  std::vector<ValueId> inputs;
  Shape shape;
  DType dtype;
  std::string name;  // path of the module that it comes from

  // One that may be absent.
  ValueId input(std::size_t i) const { return i < inputs.size() ? inputs[i] : kNone; }
  template <class Op>
  const Op* as() const {
    return std::get_if<Op>(&op);
  }
};

class Graph {
 public:
  ValueId add_input(const Shape& shape, DType dtype);
  ValueId add_constant(const Shape& shape, DType dtype, std::shared_ptr<const void> data,
                       std::shared_ptr<const std::vector<double>> scale = nullptr);
  // Checks the operator against its inputs and infers shape and dtype. Throws
  // std::invalid_argument.
  ValueId add(Operator op, std::vector<ValueId> inputs, std::string name = "");

  int size() const { return static_cast<int>(nodes_.size()); }
  const Node& operator[](ValueId value) const { return nodes_[value]; }
  const Shape& shape(ValueId value) const { return nodes_[value].shape; }
  DType dtype(ValueId value) const { return nodes_[value].dtype; }
  bool is_constant(ValueId value) const { return value != kNone && nodes_[value].as<op::Constant>(); }
  // Whether a convolution or linear layer has weights and bias that are constants: then they are
  // packed once.
  bool has_constant_weights(const Node& node) const {
    return is_constant(node.inputs[1]) && (node.input(2) == kNone || is_constant(node.input(2)));
  }
  void set_name(ValueId value, const std::string& name) { nodes_[value].name = name; }

  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  void set_outputs(std::vector<ValueId> outputs);

  std::vector<int> use_counts() const;  // by value; being an output is a use
  std::vector<ValueId> last_uses() const;  // by value: the last node that reads it; size() for outputs
  // The same operators in the same order on the same constants; shapes, and attributes that are
  // sizes, may differ.
  bool same_but_sizes(const Graph& other) const;
  void drop_constant(ValueId value) { std::get<op::Constant>(nodes_[value].op).data.reset(); }

 private:
  friend class Rewriter;
  std::vector<Node> nodes_;
  std::vector<ValueId> inputs_, outputs_;
};

// The operator of this name with these attributes, in their final form for these inputs. Throws
// std::invalid_argument.
Operator read_operator(const Graph& graph, const std::string& name, const Attributes& attributes, const std::vector<ValueId>& inputs);
// Whether the node only passes its first input on.
bool is_identity(const Graph& graph, const Node& node);
// The geometry of a convolution in a graph; that of a linear layer is a 1x1 convolution's (see
// op::Linear::as_image).
ConvGeometry geometry_of(const Graph& graph, const Node& node);

// All passes in their order: what is lowered.
Graph optimize(Graph graph);
// One more after them, for a back end that runs programs of several instructions: chains of
// pointwise operators become one.
Graph fuse_pointwise(Graph graph);
// One more before them, for a back end that runs single instructions: such programs become an
// operator for each.
Graph split_programs(Graph graph);

}  // namespace fastconv
