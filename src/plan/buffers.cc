#include "plan/buffers.h"

#include <algorithm>

#include "core/fence.h"

namespace fastconv {

int Buffers::add(Buffer buffer) {
  buffers_.push_back(std::move(buffer));
  uses_.push_back({step_, step_ - 1, {}});
  return static_cast<int>(buffers_.size()) - 1;
}

void Buffers::use(int buffer) {
  Use& use = uses_[buffer];
  if (use.last < use.first) use.first = step_;
  use.last = step_;
}

void Buffers::hold(int buffer, ValueId value) { uses_[buffer].values.push_back(value); }

bool Buffers::is_free_at(int buffer, ValueId id) const {
  const std::vector<ValueId>& values = uses_[buffer].values;
  return buffers_[buffer].kind == Buffer::Kind::arena &&
         std::all_of(values.begin(), values.end(), [&](ValueId value) { return last_use_[value] <= id; });
}

void Buffers::need_until(ValueId value, ValueId node) { last_use_[value] = std::max(last_use_[value], node); }

BufferPlan Buffers::plan() && {
  std::vector<Lifetime> lifetimes;
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const std::size_t bytes = buffers_[i].bytes;
    lifetimes.push_back({bytes ? bytes + kFenceBytes : 0, uses_[i].first, uses_[i].last});
  }
  MemoryPlan plan = plan_memory(lifetimes);
  return {std::move(buffers_), std::move(lifetimes), std::move(plan.offsets), plan.bytes};
}

std::vector<void*> BufferPlan::addresses(void* arena, const std::vector<const void*>& inputs,
                                         const std::vector<void*>& outputs) const {
  std::vector<void*> result;
  result.reserve(buffers.size());
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const Buffer& buffer = buffers[i];
    switch (buffer.kind) {
      case Buffer::Kind::arena: result.push_back(static_cast<char*>(arena) + offsets[i]); break;
      case Buffer::Kind::output: result.push_back(outputs[buffer.index]); break;
      // Steps write to none of these.
      case Buffer::Kind::input: result.push_back(const_cast<void*>(inputs[buffer.index])); break;
      case Buffer::Kind::constant: result.push_back(const_cast<void*>(buffer.constant.get())); break;
    }
  }
  return result;
}

}  // namespace fastconv
