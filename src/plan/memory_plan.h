// Where buffers lie in the arena, given when each is in use.
#pragma once

#include <cstddef>
#include <vector>

namespace fastconv {

struct Lifetime {
  std::size_t bytes;
  int first, last;  // steps, both included
};

struct MemoryPlan {
  std::vector<std::size_t> offsets;  // aligned to kAlignment
  std::size_t bytes = 0;
};

// Greedy by size: the largest buffer first, each into the smallest gap that is free during its
// lifetime (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020).
MemoryPlan plan_memory(const std::vector<Lifetime>& buffers);

}  // namespace fastconv
