#include "graph/passes.h"

namespace fastconv {

Graph remove_identities(Graph graph) {
  const auto may_go = [&](const Node& node) { return node.as<op::Reshape>() || is_identity(graph, node); };
  if (!any_node(graph, may_go)) return graph;
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
