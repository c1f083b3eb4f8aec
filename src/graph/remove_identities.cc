#include <algorithm>

#include "graph/passes.h"

namespace fastconv {
namespace {

bool is_identity(const Graph& graph, const Node& node) {
  if (node.as<op::Reshape>()) return node.shape == graph.shape(node.inputs[0]);
  if (const auto* permute = node.as<op::Permute>()) return std::is_sorted(permute->order.begin(), permute->order.end());
  if (const auto* slice = node.as<op::Slice>())
    return node.shape == graph.shape(node.inputs[0]) &&
           std::all_of(slice->step.begin(), slice->step.end(), [](index_t step) { return step == 1; });
  if (const auto* pad = node.as<op::Pad>()) {
    const auto zero = [](index_t size) { return size == 0; };
    return std::all_of(pad->before.begin(), pad->before.end(), zero) &&
           std::all_of(pad->after.begin(), pad->after.end(), zero);
  }
  if (const auto* mean = node.as<op::Mean>()) return mean->axes.empty();
  if (const auto* shuffle = node.as<op::ChannelShuffle>()) return shuffle->groups == 1;
  if (const auto* shuffle = node.as<op::PixelShuffle>()) return shuffle->upscale == 1;
  if (const auto* activate = node.as<op::Activate>()) return activate->kind == Activation::none;
  return node.as<op::Concat>() && node.inputs.size() == 1;
}

}  // namespace

Graph remove_identities(const Graph& graph) {
  Rewriter r(graph);
  return r.run([&](ValueId id) {
    const Node& node = graph[id];
    if (is_identity(graph, node)) return r.mapped(node.inputs[0]);
    // A reshape of a reshape needs only the last.
    if (node.as<op::Reshape>())
      if (const Node& before = r.made(node.inputs[0]); before.as<op::Reshape>())
        return r.out.add(node.op, {before.inputs[0]}, node.name);
    return kNone;
  });
}

}  // namespace fastconv
