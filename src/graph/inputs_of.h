// The inputs of an operator, as its home sees them.
#pragma once

#include "fastconv/graph.h"

namespace fastconv {

inline op::Inputs inputs_of(const Graph& graph, const char* name, const std::vector<ValueId>& inputs) {
  std::vector<op::Inputs::Value> values;
  for (const ValueId id : inputs) values.push_back({id == kNone ? nullptr : &graph.shape(id), graph.is_constant(id)});
  return {name, std::move(values)};
}

}  // namespace fastconv
