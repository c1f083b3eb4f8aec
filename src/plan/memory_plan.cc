#include "plan/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "fastconv/memory.h"

namespace fastconv {

MemoryPlan plan_memory(const std::vector<Lifetime>& buffers) {
  const auto rounded = [&](int i) { return (buffers[i].bytes + kAlignment - 1) / kAlignment * kAlignment; };
  std::vector<int> order(buffers.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return buffers[a].bytes > buffers[b].bytes; });

  MemoryPlan plan;
  plan.offsets.assign(buffers.size(), 0);
  std::vector<int> placed;  // by offset
  for (const int i : order) {
    constexpr std::size_t kNowhere = ~std::size_t{0};
    std::size_t best = kNowhere, best_gap = kNowhere, end = 0;
    for (const int j : placed) {
      if (buffers[j].last < buffers[i].first || buffers[i].last < buffers[j].first) continue;
      const std::size_t gap = plan.offsets[j] > end ? plan.offsets[j] - end : 0;
      if (gap >= rounded(i) && gap < best_gap) {
        best = end;
        best_gap = gap;
      }
      end = std::max(end, plan.offsets[j] + rounded(j));
    }
    plan.offsets[i] = best == kNowhere ? end : best;
    plan.bytes = std::max(plan.bytes, plan.offsets[i] + rounded(i));
    const auto after = [&](int a, int b) { return plan.offsets[a] < plan.offsets[b]; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i, after), i);
  }
  return plan;
}

}  // namespace fastconv
