#include <algorithm>

#include "graph/passes.h"

namespace fastconv {
namespace {

bool pads_zeros(const Node& node) {
  const auto* pad = node.as<op::Pad>();
  if (!pad || pad->mode != op::Pad::Mode::constant || pad->value != 0 || pad->before.size() != 4) return false;
  const auto grows = [](index_t size) { return size >= 0; };
  return pad->before[0] == 0 && pad->before[1] == 0 && pad->after[0] == 0 && pad->after[1] == 0 &&
         std::all_of(pad->before.begin(), pad->before.end(), grows) &&
         std::all_of(pad->after.begin(), pad->after.end(), grows);
}

}  // namespace

Graph fold_padding(Graph graph) {
  if (!any_node(graph, pads_zeros)) return graph;
  Rewriter r(graph);
  return r.run([&](ValueId id) {
    const auto* conv = graph[id].as<op::Conv2d>();
    if (!conv || !pads_zeros(graph[graph[id].inputs[0]])) return kNone;
    const Node& padded = graph[graph[id].inputs[0]];
    const auto& pad = *padded.as<op::Pad>();
    op::Conv2d folded = *conv;
    folded.padding.top += pad.before[2];
    folded.padding.bottom += pad.after[2];
    folded.padding.left += pad.before[3];
    folded.padding.right += pad.after[3];
    std::vector<ValueId> inputs;
    for (const ValueId input : graph[id].inputs) inputs.push_back(r.mapped(input));
    inputs[0] = r.mapped(padded.inputs[0]);
    return r.out.add(folded, std::move(inputs), graph[id].name);
  });
}

}  // namespace fastconv
