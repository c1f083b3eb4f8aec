// Values that are written straight into a concatenation along the channels, so that concatenating
// them costs nothing.
#pragma once

#include <vector>

#include "fastconv/graph.h"

namespace fastconv {

struct Home {
  ValueId parent = kNone;  // the concatenation; it may have a home itself
  index_t channel = 0;     // where the value starts in it
};

// Homes of all values that can have one. `joins` says which concatenations are stored so that parts
// can lie in them, `writes` which values are written by a step that can write them there. A
// concatenation whose parts already lie one after the other in a larger one (DenseNet's features)
// is a part of that one too.
std::vector<Home> concat_homes(const Graph& graph, const std::vector<bool>& joins, const std::vector<bool>& writes);

}  // namespace fastconv
