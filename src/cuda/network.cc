// The executor: runs lowered steps as one captured graph, in an arena of its own for each
// concurrent call.
#include "cuda/network.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <atomic>

#include "cuda/lower.h"
#include "fastconv/error.h"
#include "fastconv/words.h"
#include "plan/pool.h"

namespace fastconv::cuda {
namespace {

std::atomic<bool> poison_arenas{false};

// f<E>() for the elements of inputs and outputs.
template <class F>
void with_element(DType dtype, F&& f) {
  if (dtype == DType::boolean) f.template operator()<std::uint8_t>();
  else f.template operator()<float>();
}

template <class T>
class Executor final : public CudaNetwork {
 public:
  Executor(Graph graph, const CudaOptions& options, std::shared_ptr<Constants> constants)
      : options_(options), constants_(std::move(constants)), graph_(std::move(graph)), program_(lowered()) {
    if (!options_.keep_constants)
      for (ValueId id = 0; id < graph_.size(); ++id)
        if (graph_.is_constant(id)) graph_.drop_constant(id);
  }

  void run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs, const RunHooks& hooks) const override {
    const DeviceGuard guard(options_.device);
    std::unique_ptr<Instance> instance = take();
    const cudaStream_t stream = instance->stream;
    check(cudaStreamWaitEvent(stream, instance->done, 0), "cudaStreamWaitEvent");  // a run_on_device may be under way
    // Arrays on the device beside those of the caller.
    std::vector<Memory> memory;
    const auto staged = [&](ValueId id) {
      memory.emplace_back(std::max<std::size_t>(bytes(id), 1), options_.device, stream);
      return strided<void>(memory.back().template as<>(), graph_.shape(id), contiguous_strides(graph_.shape(id)));
    };
    std::vector<Strided<const void>> device_inputs;
    std::vector<Strided<void>> device_outputs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Strided<void> to = staged(graph_.inputs()[i]);
      copy_to_device(to.data, inputs[i], bytes(graph_.inputs()[i]), stream);
      device_inputs.push_back(to);
    }
    for (const ValueId id : graph_.outputs()) device_outputs.push_back(staged(id));
    enqueue(*instance, device_inputs, device_outputs, stream, hooks.seconds);
    for (std::size_t i = 0; i < outputs.size(); ++i)
      copy_to_host(outputs[i], device_outputs[i].data, bytes(graph_.outputs()[i]), stream);
    memory.clear();  // freed on this stream, while it is ours
    instances_.give_back(std::move(instance));
  }

  void run_on_device(const std::vector<Strided<const void>>& inputs, const std::vector<Strided<void>>& outputs,
                     cudaStream_t stream) const override {
    const DeviceGuard guard(options_.device);
    std::unique_ptr<Instance> instance = take();
    check(cudaStreamWaitEvent(stream, instance->done, 0), "cudaStreamWaitEvent");
    try {
      enqueue(*instance, inputs, outputs, stream, nullptr);
    } catch (...) {
      (void)cudaEventRecord(instance->done, stream);  // ~Instance waits for what has been issued
      throw;
    }
    instance->done.record(stream);
    instances_.give_back(std::move(instance));
  }

  std::shared_ptr<Network> with_graph(const Graph& optimized) const override {
    if (!options_.keep_constants) throw std::logic_error("with_graph: this network has dropped its constants");
    return std::make_shared<Executor>(optimized, options_, constants_);
  }

  const Graph& graph() const override { return graph_; }
  const std::vector<StepInfo>& steps() const override { return program_.info; }
  std::size_t packed_bytes() const override { return constants_->bytes(); }
  std::size_t arena_bytes() const override { return program_.memory.arena_bytes; }
  int device() const override { return options_.device; }

 private:
  // What one call at a time runs in. Captured addresses are those of its arena.
  struct Instance {
    Instance(std::size_t bytes, int device) : arena(std::max<std::size_t>(bytes, 1), device, stream) {
      check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");  // whoever runs first need not wait for this stream
    }
    ~Instance() { (void)cudaEventSynchronize(done); }

    Stream stream;
    Memory arena;
    Event done;  // of the last run
    CapturedGraph captured;
    bool has_run = false;
  };

  Program<T> lowered() {
    const DeviceGuard guard(options_.device);
    const std::lock_guard lock(constants_->mutex);
    Program<T> program = Lowering<T>(graph_, options_, *constants_).run();
    constants_->wait();
    return program;
  }

  std::size_t bytes(ValueId id) const { return static_cast<std::size_t>(checked_size(graph_.shape(id))) * item_size(graph_.dtype(id)); }

  std::unique_ptr<Instance> take() const {
    std::unique_ptr<Instance> instance = instances_.take([](const auto&) { return true; });
    return instance ? std::move(instance) : std::make_unique<Instance>(arena_bytes(), options_.device);
  }

  void enqueue(Instance& instance, const std::vector<Strided<const void>>& inputs, const std::vector<Strided<void>>& outputs,
               cudaStream_t stream, std::vector<double>* seconds) const {
    if (poison_arenas)
      check(cudaMemsetAsync(instance.arena.template as<>(), 0xff, arena_bytes(), stream), "cudaMemsetAsync");
    const std::vector<void*> buffers = program_.memory.addresses(instance.arena.template as<>());
    std::vector<Event> events;
    const auto mark = [&] {
      if (seconds) events.emplace_back(cudaEventDefault).record(stream);
    };
    mark();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      with_element(graph_.dtype(graph_.inputs()[i]), [&]<class From>() {
        cuda::copy<From, T>(inputs[i].template as<const From>(), program_.inputs[i].at(buffers.data()), stream);
      });
      mark();
    }
    const auto steps = [&](cudaStream_t on) {
      for (const auto& step : program_.steps) {
        step(buffers.data(), on);
        mark();
      }
    };
    // The first call launches one step after the other: what is used once need not be captured, and
    // the kernels are loaded then.
    if (!instance.has_run || seconds) {
      steps(stream);
      instance.has_run = true;
    } else if (!program_.steps.empty()) {
      if (!instance.captured) instance.captured.capture(instance.stream, [&] { steps(instance.stream); });
      instance.captured.launch(stream);
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      with_element(graph_.dtype(graph_.outputs()[i]), [&]<class To>() {
        cuda::copy<T, To>(program_.outputs[i].at(buffers.data()), outputs[i].template as<To>(), stream);
      });
      mark();
    }
    if (!seconds) return;
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    seconds->resize(events.size() - 1);
    for (std::size_t i = 0; i + 1 < events.size(); ++i) {
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, events[i], events[i + 1]), "cudaEventElapsedTime");
      (*seconds)[i] = 1e-3 * milliseconds;
    }
  }

  const CudaOptions options_;
  const std::shared_ptr<Constants> constants_;
  Graph graph_;
  const Program<T> program_;
  mutable Pool<std::unique_ptr<Instance>> instances_;
};

template <class T>
std::shared_ptr<CudaNetwork> make(Graph graph, const CudaOptions& options) {
  return std::make_shared<Executor<T>>(std::move(graph), options, std::make_shared<Constants>(options.device));
}

// Whether a node only moves elements. Masks lie on the device as floats, so what computes would
// take them for numbers.
bool moves(const Node& node) {
  return node.inputs.empty() || node.as<op::Reshape>() || node.as<op::Permute>() || node.as<op::Slice>() || node.as<op::Concat>() ||
         node.as<op::Pad>() || node.as<op::ChannelShuffle>() || node.as<op::PixelShuffle>() || node.as<op::PixelUnshuffle>();
}

}  // namespace

std::shared_ptr<CudaNetwork> compile_network(const Graph& recorded, const CudaOptions& options) {
  for (ValueId id = 0; id < recorded.size(); ++id) {
    const Node& node = recorded[id];
    if (node.dtype == DType::f64)
      fail("device='cuda' computes in fp32, tf32, fp16 or bf16, not in float64: convert the model with model.astype('float32')");
    const auto refuse = [&](DType dtype) { fail(operator_name(node.op), " has no kernel for ", word(dtype), " on device='cuda'"); };
    if (node.dtype != DType::f32 && node.dtype != DType::boolean) refuse(node.dtype);
    if (const auto* pointwise = node.as<op::Pointwise>()) {
      for (std::size_t i = 0; i < node.inputs.size(); ++i)
        if (recorded.dtype(node.inputs[i]) == DType::boolean && !pointwise->takes_mask(i)) refuse(DType::boolean);
    } else if (node.dtype == DType::boolean && !moves(node)) {
      refuse(DType::boolean);
    }
  }
  if (options.accuracy == Accuracy::exact && options.precision != Precision::fp32)
    fail("accuracy='exact' needs precision='fp32' on device='cuda'");
  const int devices = device_count();
  if (options.device < 0 || options.device >= devices)
    fail("device='cuda:", options.device, "' does not exist: there ", devices == 1 ? "is " : "are ", devices, " CUDA device", devices == 1 ? "" : "s");
  const DeviceGuard guard(options.device);
  Graph graph = options.is_optimized ? recorded : optimize(split_programs(recorded));
  switch (options.precision) {
    case Precision::fp16: return make<__half>(std::move(graph), options);
    case Precision::bf16: return make<__nv_bfloat16>(std::move(graph), options);
    default: return make<float>(std::move(graph), options);
  }
}

void set_poison_arenas(bool poison) { poison_arenas = poison; }

}  // namespace fastconv::cuda
