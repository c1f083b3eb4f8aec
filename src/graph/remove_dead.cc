#include <algorithm>

#include "graph/passes.h"

namespace fastconv {

Graph remove_dead(Graph graph) {
  std::vector<bool> needed(graph.size());
  for (const ValueId id : graph.outputs()) needed[id] = true;
  for (ValueId id = graph.size() - 1; id >= 0; --id) {
    if (graph[id].as<op::Input>()) needed[id] = true;  // the caller passes it all the same
    if (!needed[id]) continue;
    for (const ValueId input : graph[id].inputs)
      if (input != kNone) needed[input] = true;
  }
  if (std::find(needed.begin(), needed.end(), false) == needed.end()) return graph;
  Rewriter r(graph);
  for (ValueId id = 0; id < graph.size(); ++id)
    if (needed[id]) r.new_id[id] = r.copy(id);
  std::vector<ValueId> outputs;
  for (const ValueId id : graph.outputs()) outputs.push_back(r.new_id[id]);
  r.out.set_outputs(std::move(outputs));
  return std::move(r.out);
}

}  // namespace fastconv
