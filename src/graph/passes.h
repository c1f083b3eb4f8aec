// The passes: each takes a graph and returns a simpler one with the same outputs, or the graph
// itself where it has nothing to do. None decides by the batch size, so that a network has the same
// nodes at each.
#pragma once

#include "fastconv/graph.h"

namespace fastconv {

Graph remove_dead(Graph graph);          // nodes that no output needs
Graph remove_identities(Graph graph);    // reshapes to the same shape, pads by nothing, ...
Graph products_to_linear(Graph graph);   // products by constant matrices become linear layers
Graph sink_permutes(Graph graph);        // channels-last sections compute on the NCHW value instead
Graph sink_reshapes(Graph graph);        // what is between 1-d layers computes on their images of height 1
Graph fold_padding(Graph graph);         // zero padding before a convolution becomes its own
Graph fold_affine(Graph graph);          // batch norms, products and sums with constants go into weights
Graph pool_first(Graph graph);           // averages of 1x1 convolutions become 1x1 convolutions of averages
Graph fuse_epilogues(Graph graph);       // activations and residual sums go into the operator before them

// Whether some node satisfies `wanted(node)`.
template <class F>
bool any_node(const Graph& graph, F&& wanted) {
  for (ValueId id = 0; id < graph.size(); ++id)
    if (wanted(graph[id])) return true;
  return false;
}

// Whether the node is this instruction, of its inputs in their order.
inline bool is_instruction(const Node& node, Instruction instruction) {
  const auto* pointwise = node.as<op::Pointwise>();
  return pointwise && pointwise->program.instruction() == instruction;
}

// Copies a graph node by node in order; a pass emits something else for some of them.
class Rewriter {
 public:
  explicit Rewriter(const Graph& in) : in(in), uses(in.use_counts()), new_id(in.size(), kNone) { out.nodes_.reserve(in.size()); }

  // `replace(id)` returns what node `id` becomes (a value of `out`), or kNone to have it copied.
  template <class F>
  Graph run(F&& replace) {
    bool changed = false;
    for (ValueId id = 0; id < in.size(); ++id) {
      const ValueId made = replace(id);
      new_id[id] = made == kNone ? copy(id) : made;
      changed |= made != kNone;
    }
    std::vector<ValueId> outputs;
    for (const ValueId id : in.outputs()) outputs.push_back(new_id[id]);
    out.set_outputs(std::move(outputs));
    return changed ? remove_dead(std::move(out)) : std::move(out);
  }

  ValueId copy(ValueId id);
  ValueId mapped(ValueId id) const { return id == kNone ? kNone : new_id[id]; }
  // Whether nobody but one operator needs the value, so that it may vanish into that operator.
  bool single_use(ValueId id) const { return id != kNone && uses[id] == 1; }
  // The node that a value of `in` has become.
  const Node& made(ValueId id) const { return out[new_id[id]]; }

  const Graph& in;
  Graph out;
  std::vector<int> uses;        // of `in`
  std::vector<ValueId> new_id;  // by value of `in`
};

}  // namespace fastconv
