#include "plan/concat_homes.h"

#include <algorithm>

namespace fastconv {

std::vector<Home> concat_homes(const Graph& graph, const std::vector<bool>& joins, const std::vector<bool>& writes) {
  std::vector<Home> homes(graph.size());
  for (ValueId id = graph.size() - 1; id >= 0; --id) {
    if (!graph[id].as<op::Concat>() || !joins[id]) continue;
    const std::vector<ValueId>& parts = graph[id].inputs;
    const Home first = homes[parts[0]];
    if (first.parent != kNone && homes[id].parent == kNone) {
      index_t channel = first.channel;
      bool in_order = true;
      for (const ValueId part : parts) {
        in_order = in_order && homes[part].parent == first.parent && homes[part].channel == channel;
        channel += graph.shape(part)[1];
      }
      if (in_order) {
        homes[id] = first;
        continue;
      }
    }
    index_t channel = 0;
    for (const ValueId part : parts) {
      const bool once = std::count(parts.begin(), parts.end(), part) == 1;
      if (once && writes[part] && homes[part].parent == kNone) homes[part] = {id, channel};
      channel += graph.shape(part)[1];
    }
  }
  return homes;
}

}  // namespace fastconv
