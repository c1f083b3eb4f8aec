// Decisions about where values lie that need the whole graph: which are blocked, and which are
// views.
#pragma once

#include <vector>

#include "fastconv/graph.h"

namespace fastconv {

// Whether each value is stored in channel blocks (nChw<block>c) rather than contiguously. Values
// between convolutions, pools, norms and elementwise operators are; inputs, and values of operators
// that have no blocked form, are not.
std::vector<bool> choose_blocked(const Graph& graph);

// Whether the result of a node is a part of its input's memory, given the layouts: no step is
// needed.
bool is_view(const Graph& graph, ValueId id, const std::vector<bool>& blocked);

// Which values are blocked and written by a step.
std::vector<bool> writes_blocks(const Graph& graph, const std::vector<bool>& blocked);

}  // namespace fastconv
