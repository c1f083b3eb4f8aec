// The executor: runs lowered steps in order, in an arena of its own for each concurrent call.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>

#include "core/fence.h"
#include "cpu/lower.h"
#include "fastconv/thread_pool.h"

namespace fastconv {
namespace {

std::atomic<bool> poison_arenas{false};

class ThreadOverride {
 public:
  explicit ThreadOverride(int threads) : set_(threads > 0), former_(set_ ? set_thread_override(threads) : 0) {}
  ~ThreadOverride() {
    if (set_) set_thread_override(former_);
  }
  ThreadOverride(const ThreadOverride&) = delete;
  ThreadOverride& operator=(const ThreadOverride&) = delete;

 private:
  const bool set_;
  const int former_;
};

// Frees constants that nothing but packed weights was made from.
void drop_packed_constants(Graph& graph) {
  std::vector<bool> kept(graph.size());
  for (ValueId id = 0; id < graph.size(); ++id) {
    const Node& node = graph[id];
    const bool weighted = node.as<op::Conv2d>() || node.as<op::ConvTranspose2d>() || node.as<op::Linear>();
    const bool packs = weighted && graph.has_constant_weights(node);
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      if (node.inputs[i] != kNone && !(packs && (i == 1 || i == 2))) kept[node.inputs[i]] = true;
  }
  for (const ValueId id : graph.outputs()) kept[id] = true;
  for (ValueId id = 0; id < graph.size(); ++id)
    if (graph.is_constant(id) && !kept[id]) graph.drop_constant(id);
}

class CpuNetwork final : public Network {
 public:
  CpuNetwork(Graph graph, const NetworkOptions& options, std::shared_ptr<Packed> packed)
      : options_(options), packed_(std::move(packed)), graph_(std::move(graph)), program_(lowered()) {
    drop_packed_constants(graph_);
  }

  void run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs, const RunHooks& hooks) const override {
    const ThreadOverride threads(options_.threads);
    AlignedArray<char> arena = packed_->arenas.take([&](const auto& kept) { return kept.size() >= arena_bytes(); });
    if (!arena.data()) arena = AlignedArray<char>(arena_bytes() + room_to_grow());
    expose(arena.data(), arena.bytes());
    if (poison_arenas) std::fill_n(arena.data(), arena_bytes(), static_cast<char>(0xff));  // NaN
    execute(program_.memory.addresses(arena.data(), inputs, outputs).data(), arena, hooks);
    packed_->arenas.give_back(std::move(arena));
  }

  std::shared_ptr<Network> with_graph(const Graph& optimized) const override {
    return std::make_shared<CpuNetwork>(optimized, options_, packed_);
  }

  const Graph& graph() const override { return graph_; }
  const std::vector<StepInfo>& steps() const override { return program_.info; }
  std::size_t packed_bytes() const override { return packed_->bytes(); }
  std::size_t arena_bytes() const override { return program_.memory.arena_bytes; }

 private:
  using Clock = std::chrono::steady_clock;

  // Addresses behind an arena, for the networks of larger images: without them these would need a
  // new one, and the first touch of its pages costs as much as some layers. Addresses that nobody
  // touches cost no memory.
  std::size_t room_to_grow() const { return 3 * std::min(arena_bytes(), std::size_t{32} << 20); }

  Program lowered() {
    const std::lock_guard lock(packed_->mutex);
    return Lowering(graph_, options_, *packed_).run();
  }

  // During a step nothing of the arena may be touched but the buffers that are in use.
  void fence(const AlignedArray<char>& arena, int step) const {
    hide(arena.data(), arena.bytes());
    const BufferPlan& memory = program_.memory;
    for (std::size_t i = 0; i < memory.buffers.size(); ++i)
      if (memory.buffers[i].kind == Buffer::Kind::arena && memory.in_use(static_cast<int>(i), step))
        expose(arena.data() + memory.offsets[i], memory.buffers[i].bytes);
  }

  void execute(void* const* buffers, [[maybe_unused]] const AlignedArray<char>& arena, const RunHooks& hooks) const {
    constexpr auto kInterval = std::chrono::milliseconds(50);
    if (hooks.seconds) hooks.seconds->resize(program_.steps.size());
    Clock::time_point asked = Clock::now(), before = asked;
    for (std::size_t i = 0; i < program_.steps.size(); ++i) {
      if constexpr (kFences) fence(arena, static_cast<int>(i));
      program_.steps[i](buffers);
      const Clock::time_point now = Clock::now();
      if (hooks.seconds) (*hooks.seconds)[i] = std::chrono::duration<double>(now - before).count();
      before = now;
      if (hooks.interrupt && now - asked > kInterval) {
        asked = now;
        hooks.interrupt();
      }
    }
  }

  const NetworkOptions options_;
  const std::shared_ptr<Packed> packed_;
  Graph graph_;
  const Program program_;
};

}  // namespace

std::shared_ptr<Network> compile_network(const Graph& recorded, const NetworkOptions& options) {
  return std::make_shared<CpuNetwork>(options.is_optimized ? recorded : fuse_pointwise(optimize(recorded)), options,
                                      std::make_shared<Packed>());
}

std::vector<StepInfo> plan_network(const Graph& recorded, NetworkOptions options) {
  options.pack_weights = false;
  const Graph graph = fuse_pointwise(optimize(recorded));
  Packed packed;
  return Lowering(graph, options, packed).run().info;
}

void set_poison_arenas(bool poison) { poison_arenas = poison; }

}  // namespace fastconv
