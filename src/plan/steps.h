// What steps are called.
#pragma once

#include "fastconv/network.h"

namespace fastconv {

inline StepInfo info_of(const Graph& graph, ValueId id) {
  const Node& node = graph[id];
  StepInfo info;
  info.name = node.name;
  info.op = operator_name(node.op);
  info.shape = node.shape;
  return info;
}

}  // namespace fastconv
