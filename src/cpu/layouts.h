// Decisions about where values lie that need the whole graph: which are blocked, and which are parts of a concatenation.
#pragma once

#include <vector>

#include "fastconv/graph.h"

namespace fastconv {

// Whether each value is stored in channel blocks (nChw<block>c) rather than contiguously. Values between convolutions,
// pools, norms and elementwise operators are; inputs, and values of operators that have no blocked form, are not.
std::vector<bool> choose_blocked(const Graph& graph);

// A value that is written straight into a concatenation along the channels.
struct Home {
  ValueId parent = kNone;  // the concatenation; it may have a home itself
  index_t channel = 0;     // where the value starts in it
};
// Homes of all values that can have one, so that concatenating them costs nothing. A concatenation whose parts already lie
// one after the other in a larger one (DenseNet's features) is a part of that one too.
std::vector<Home> concat_homes(const Graph& graph, const std::vector<bool>& blocked);

// Whether the result of a node is a part of its input's memory, given the layouts: no step is needed.
bool is_view(const Graph& graph, ValueId id, const std::vector<bool>& blocked);

}  // namespace fastconv
