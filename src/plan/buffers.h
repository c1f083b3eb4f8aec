// The memory of a lowered network: which buffers there are, which steps use them, which values lie
// in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "fastconv/graph.h"
#include "plan/memory_plan.h"

namespace fastconv {

// A piece of memory that steps read and write; its address is known when the network runs.
struct Buffer {
  enum class Kind : std::uint8_t { arena, input, output, constant } kind;
  int index = 0;                                   // of the input or output
  std::size_t bytes = 0;                           // of an arena buffer
  std::shared_ptr<const void> constant = nullptr;  // keeps a constant's memory
};

// All buffers of a program.
struct BufferPlan {
  std::vector<Buffer> buffers;
  std::vector<Lifetime> lifetimes;   // parallel to `buffers`
  std::vector<std::size_t> offsets;  // of those in the arena, bytes; parallel to `buffers`
  std::size_t arena_bytes = 0;

  bool in_use(int buffer, int step) const { return lifetimes[buffer].first <= step && step <= lifetimes[buffer].last; }

  // Where each buffer is in a call.
  std::vector<void*> addresses(void* arena, const std::vector<const void*>& inputs = {},
                               const std::vector<void*>& outputs = {}) const;
};

// Buffers while steps are added one after the other.
class Buffers {
 public:
  explicit Buffers(const Graph& graph) : last_use_(graph.last_uses()) {}

  int add(Buffer buffer);                // returns its number
  int add_arena(std::size_t bytes) { return add({Buffer::Kind::arena, 0, bytes}); }
  int add_constant(std::shared_ptr<const void> data) { return add({Buffer::Kind::constant, 0, 0, std::move(data)}); }
  void use(int buffer);                  // by the step that comes next
  void end_step() { ++step_; }
  void hold(int buffer, ValueId value);  // the value lies there
  // Whether the step of node `id` may overwrite the buffer: nobody needs what lies there after it.
  bool is_free_at(int buffer, ValueId id) const;

  ValueId last_use(ValueId value) const { return last_use_[value]; }
  void need_until(ValueId value, ValueId node);  // a later node reads the value in place of its reader

  BufferPlan plan() &&;  // offsets in the arena follow from when buffers are in use

 private:
  struct Use {
    int first, last;              // steps
    std::vector<ValueId> values;  // that lie there
  };
  int step_ = 0;
  std::vector<ValueId> last_use_;  // by value: the last node that reads it; the graph's size for outputs
  std::vector<Buffer> buffers_;
  std::vector<Use> uses_;  // parallel to buffers_
};

}  // namespace fastconv
