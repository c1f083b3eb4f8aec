// The executor: runs lowered steps in order, in an arena of its own for each concurrent call.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
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
    const bool packs = node.as<op::Conv2d>() || node.as<op::ConvTranspose2d>() || node.as<op::Linear>();
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      if (node.inputs[i] != kNone && !(packs && (i == 1 || i == 2))) kept[node.inputs[i]] = true;
  }
  for (const ValueId id : graph.outputs()) kept[id] = true;
  for (ValueId id = 0; id < graph.size(); ++id)
    if (graph.is_constant(id) && !kept[id]) graph.drop_constant(id);
}

template <class T>
class CpuNetwork final : public Network {
 public:
  CpuNetwork(Graph graph, const NetworkOptions& options, std::shared_ptr<Packed<T>> packed)
      : options_(options), packed_(std::move(packed)), graph_(std::move(graph)), program_(lowered()) {
    drop_packed_constants(graph_);
  }

  void run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs, const RunHooks& hooks) const override {
    const ThreadOverride threads(options_.threads);
    AlignedArray<T> arena = packed_->arenas.take(program_.arena_bytes / sizeof(T));
    expose(arena.data(), arena.bytes());
    if (poison_arenas) std::fill_n(arena.data(), arena.size(), std::numeric_limits<T>::quiet_NaN());
    std::vector<T*> buffers;
    buffers.reserve(program_.buffers.size());
    for (std::size_t i = 0; i < program_.buffers.size(); ++i) {
      const Buffer& buffer = program_.buffers[i];
      switch (buffer.kind) {
        case Buffer::Kind::arena: buffers.push_back(arena.data() + program_.offsets[i] / sizeof(T)); break;
        case Buffer::Kind::output: buffers.push_back(static_cast<T*>(outputs[buffer.index])); break;
        // Steps write to none of these.
        case Buffer::Kind::input: buffers.push_back(static_cast<T*>(const_cast<void*>(inputs[buffer.index]))); break;
        case Buffer::Kind::constant: buffers.push_back(static_cast<T*>(const_cast<void*>(buffer.constant.get()))); break;
      }
    }
    execute(buffers.data(), arena, hooks);
    packed_->arenas.give_back(std::move(arena));
  }

  std::shared_ptr<Network> with_graph(const Graph& optimized) const override {
    return std::make_shared<CpuNetwork>(optimized, options_, packed_);
  }

  const Graph& graph() const override { return graph_; }
  const std::vector<StepInfo>& steps() const override { return program_.info; }
  std::size_t packed_bytes() const override { return packed_->bytes(); }
  std::size_t arena_bytes() const override { return program_.arena_bytes; }

 private:
  using Clock = std::chrono::steady_clock;

  Program<T> lowered() {
    const std::lock_guard lock(packed_->mutex);
    return Lowering<T>(graph_, options_, *packed_).run();
  }

  // During a step nothing of the arena may be touched but the buffers that are in use.
  void fence(const AlignedArray<T>& arena, int step) const {
    hide(arena.data(), arena.bytes());
    for (std::size_t i = 0; i < program_.buffers.size(); ++i) {
      const Buffer& b = program_.buffers[i];
      if (b.kind == Buffer::Kind::arena && b.first <= step && step <= b.last)
        expose(arena.data() + program_.offsets[i] / sizeof(T), static_cast<std::size_t>(b.elements) * sizeof(T));
    }
  }

  void execute(T* const* buffers, const AlignedArray<T>& arena, const RunHooks& hooks) const {
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
  const std::shared_ptr<Packed<T>> packed_;
  Graph graph_;
  const Program<T> program_;
};

}  // namespace

std::shared_ptr<Network> compile_network(const Graph& recorded, const NetworkOptions& options) {
  Graph graph = optimize(recorded);
  if (graph.dtype() == DType::f32)
    return std::make_shared<CpuNetwork<float>>(std::move(graph), options, std::make_shared<Packed<float>>());
  return std::make_shared<CpuNetwork<double>>(std::move(graph), options, std::make_shared<Packed<double>>());
}

std::vector<StepInfo> plan_network(const Graph& recorded, NetworkOptions options) {
  options.pack_weights = false;
  const Graph graph = optimize(recorded);
  const auto steps = [&]<class T>(Packed<T> packed) { return Lowering<T>(graph, options, packed).run().info; };
  return graph.dtype() == DType::f32 ? steps(Packed<float>()) : steps(Packed<double>());
}

void set_poison_arenas(bool poison) { poison_arenas = poison; }

}  // namespace fastconv
