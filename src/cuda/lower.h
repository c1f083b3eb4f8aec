// From an optimised graph to launches: where each value lies in device memory, which kernels
// compute it, with what.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cuda/conv.h"
#include "cuda/network.h"
#include "cuda/ops.h"
#include "cuda/stream.h"
#include "cuda/strides.h"
#include "plan/places.h"
#include "plan/steps.h"

namespace fastconv::cuda {

// Constants on the device, which every batch size shares. By the value's number in the optimised
// graph, and in which form.
class Constants {
 public:
  explicit Constants(int device) : device_(device) {}

  // `make` returns the bytes where they are not there yet.
  template <class F>
  const void* get(ValueId value, const std::string& form, F&& make) {
    Memory& memory = memories_[{value, form}];
    if (!memory.as<>()) {
      const auto bytes = make();
      const std::size_t size = bytes.size() * sizeof(bytes[0]);
      Memory made(std::max<std::size_t>(size, 1), device_, stream_);
      copy_to_device(made.as<>(), bytes.data(), size, stream_);
      memory = std::move(made);
      bytes_ += size;
    }
    return memory.as<>();
  }
  void wait() { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }  // until all are there
  std::size_t bytes() const { return bytes_; }

  std::mutex mutex;  // held while lowering

 private:
  const int device_;
  Stream stream_;  // outlives the memory that is freed on it
  std::map<std::pair<ValueId, std::string>, Memory> memories_;
  std::atomic<std::size_t> bytes_ = 0;
};

// A view of a value whose address is known when the network runs.
template <class View>
struct Operand {
  int buffer = 0;
  index_t offset = 0;  // elements
  View view;

  View at(void* const* buffers) const {
    View v = view;
    v.data = static_cast<decltype(v.data)>(buffers[buffer]) + offset;
    return v;
  }
};

template <class T>
index_t elements(const Nhwc<T>& view) {
  return index_t{view.n} * view.h * view.w * view.c;
}
template <class T>
index_t elements(const Strided<T>& view) {
  index_t count = 1;
  for (int i = 0; i < view.rank; ++i) count *= view.size[i];
  return count;
}

template <class T>
struct Program {
  using Run = std::function<void(void* const* buffers, cudaStream_t stream)>;
  std::vector<Run> steps;            // those between the inputs' and the outputs' copies
  std::vector<StepInfo> info;        // of each input's copy, each step, each output's copy
  BufferPlan memory;
  std::vector<Operand<Strided<T>>> inputs, outputs;  // where the graph's inputs and outputs lie
};

template <class T>
class Lowering {
 public:
  Lowering(const Graph& graph, const CudaOptions& options, Constants& constants);
  Program<T> run();

 private:
  // Where a value lies: element (i, j, ...) at offset + i * strides[0] + j * strides[1] + ... of
  // the buffer.
  struct Place {
    int buffer = -1;
    index_t offset = 0;
    Shape strides;
  };
  using Images = Operand<Nhwc<T>>;
  using Array = Operand<Strided<T>>;

  void lower(ValueId id);
  // Operators: each places its result and emits its steps (lower_*.cc).
  void lower(ValueId id, const op::Conv2d& o);
  void lower(ValueId id, const op::Linear& o);
  void lower(ValueId id, const op::ConvTranspose2d& o);
  void lower(ValueId id, const op::ScaleShift& o);
  void lower(ValueId id, const op::LayerNorm& o);
  void lower(ValueId id, const op::LocalResponseNorm& o);
  void lower(ValueId id, const op::Activate& o);
  void lower(ValueId id, const op::Pointwise& o);
  void lower(ValueId id, const op::Pool& o);
  void lower(ValueId id, const op::AdaptivePool& o);
  void lower(ValueId id, const op::Reduce& o);
  void lower(ValueId id, const op::Reshape&);
  void lower(ValueId id, const op::Permute& o);
  void lower(ValueId id, const op::Slice& o);
  void lower(ValueId id, const op::Concat& o);
  void lower(ValueId id, const op::Pad& o);
  void lower(ValueId id, const op::Softmax& o);
  void lower(ValueId id, const op::Interpolate& o);
  void lower(ValueId id, const op::ChannelShuffle& o);
  void lower(ValueId id, const op::PixelShuffle& o);
  void lower(ValueId id, const op::PixelUnshuffle& o);
  void add_inputs();
  void add_outputs();

  // Places (lower.cc).
  int new_buffer(index_t elements) { return buffers_.add_arena(static_cast<std::size_t>(elements) * sizeof(T)); }
  Place new_place(const Shape& shape, const Order& order);
  void define(ValueId id, const Order& order);  // gives the value of `id` its place
  void define_like(ValueId id, ValueId x);      // in the memory order of x, which has its shape
  bool reuse(ValueId id, ValueId x) { return places_.reuse(id, x); }
  const Place& place(ValueId id);
  // The value without gaps in this order of its axes: a copy, where it does not lie so. One for
  // each value and order.
  const Place& ordered(ValueId id, const Order& order, const char* why);
  const Place& channels_last(ValueId id);       // with neighbouring channels
  const Place& contiguous(ValueId id) { return ordered(id, logical_order(graph_.shape(id).size()), "to a contiguous array"); }

  // Views of places.
  Images images(const Place& place, const Shape& shape) const;  // shape is (N, C, H, W)
  Images images(ValueId id) { return images(place(id), graph_.shape(id)); }
  Array array(const Place& place, const Shape& shape) const;
  Array array(ValueId id) { return array(place(id), graph_.shape(id)); }
  Images pixels(ValueId id);                    // of a linear layer: its last axis as channels

  // Constants, on the device.
  const float* floats(ValueId id);              // null for kNone
  const float* constant_data(ValueId id) const; // on the host

  // The inputs of a node as arrays that broadcast to its result, which gets its place.
  std::vector<Array> broadcast(ValueId id);

  // Adds a step that reads and writes these operands.
  template <class... Operands>
  StepInfo& emit(ValueId id, typename Program<T>::Run run, const Operands&... operands) {
    StepInfo info = info_of(graph_, id);
    const auto use = [&](const auto& operand) {
      buffers_.use(operand.buffer);
      info.bytes += static_cast<std::size_t>(elements(operand.view)) * sizeof(T);
    };
    (use(operands), ...);
    program_.steps.push_back(std::move(run));
    return add(std::move(info));
  }
  StepInfo& add(StepInfo info) {
    buffers_.end_step();
    program_.info.push_back(std::move(info));
    return program_.info.back();
  }
  StepInfo& copy(ValueId id, const Array& from, const Array& to);

  struct Choice {
    ConvPlan plan;
    std::vector<Candidate> considered;
  };
  Choice choose(const ConvGeometry& geometry, index_t batch) const;
  const void* packed(ValueId weight, const ConvPlan& plan);
  // Scratch that the next step has to itself; -1 for none.
  int workspace(std::size_t bytes);
  void run_conv(ValueId id, const Activation& activation, const Images& x, const Images& y, const std::optional<Images>& residual);

  const Graph& graph_;
  const CudaOptions& options_;
  const Limits& limits_;
  Constants& constants_;
  Buffers buffers_;
  Places<Place, Order> places_;  // another form has its axes in another order
  Program<T> program_;
};

}  // namespace fastconv::cuda
