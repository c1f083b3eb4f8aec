#include "graph/passes.h"

namespace fastconv {
namespace {

// Whether every element of the result is a mean over as many elements of x, so that a constant is
// its own.
bool averages(const Node& node) {
  if (const auto* pool = node.as<op::AdaptivePool>()) return pool->kind == op::Pool::Kind::average;
  const auto* pool = node.as<op::Pool>();
  return pool && pool->kind == op::Pool::Kind::average && pool->padding == op::Pair{0, 0} && !pool->ceil_mode;
}

bool mixes_channels_only(const Node& node) {
  const auto* conv = node.as<op::Conv2d>();
  return conv && conv->stride == op::Pair{1, 1} && conv->padding == Padding{} &&
         conv->activation == Activation::none && (node.inputs.size() < 4 || node.inputs[3] == kNone);
}

}  // namespace

Graph pool_first(Graph graph) {
  if (!any_node(graph, averages)) return graph;
  Rewriter r(graph);
  return r.run([&](ValueId id) {
    const Node& pool = graph[id];
    if (!averages(pool) || !r.single_use(pool.inputs[0])) return kNone;
    const Node& conv = graph[pool.inputs[0]];
    if (!mixes_channels_only(conv)) return kNone;
    const Shape& kernel = graph.shape(conv.inputs[1]);
    const auto pixels = [](const Shape& shape) { return shape[2] * shape[3]; };
    if (pixels(kernel) != 1 || 2 * pixels(pool.shape) > pixels(conv.shape)) return kNone;
    std::vector<ValueId> inputs;
    for (const ValueId input : conv.inputs) inputs.push_back(r.mapped(input));
    inputs[0] = r.out.add(pool.op, {inputs[0]}, pool.name);
    return r.out.add(conv.op, std::move(inputs), conv.name);
  });
}

}  // namespace fastconv
