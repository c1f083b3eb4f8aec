// From an optimised graph to steps: where each value lies, which function computes it, with what.
// All decisions end here.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "conv/pointwise_depthwise.h"
#include "cpu/layouts.h"
#include "fastconv/error.h"
#include "fastconv/memory.h"
#include "fastconv/network.h"
#include "fastconv/ops.h"
#include "fastconv/words.h"
#include "plan/places.h"
#include "plan/pool.h"

namespace fastconv {

// A convolution with its weights. Where rounding errors with these weights forbade what was
// planned, `conv` has another plan.
template <class Conv, class Plan>
struct PackedConv {
  Plan planned;
  std::shared_ptr<const Conv> conv;
};
template <class Conv, class Plan>
using PackedByValue = std::map<ValueId, std::vector<PackedConv<Conv, Plan>>>;

// Those that compute in T, by the value's number in the optimised graph. A convolution is packed
// once for all plans that pack alike.
template <class T>
struct PackedConvs {
  PackedByValue<Conv2d<T>, ConvPlan> convs;
  PackedByValue<ConvTranspose2d<T>, ConvTransposePlan> transposed;

  std::size_t bytes() const;
};

// What all sizes of batches and images share.
struct Packed {
  const std::shared_ptr<Arena> arena = std::make_shared<Arena>();
  std::tuple<PackedConvs<float>, PackedConvs<double>> convs;
  std::map<ValueId, std::shared_ptr<AlignedArray<char>>> blocked_constants;
  mutable std::mutex mutex;  // held while lowering
  Pool<AlignedArray<char>> arenas;  // for calls of whatever size

  template <class T>
  PackedConvs<T>& of() {
    return std::get<PackedConvs<T>>(convs);
  }
  std::size_t bytes() const;
};

// A 4-d view of a value, whose address is known when the network runs.
struct Operand {
  int buffer;
  index_t offset;  // elements
  DType dtype;
  TensorView<void> view;  // its strides count elements

  template <class T>
  TensorView<T> at(void* const* buffers) const {
    const TensorView<void>& v = view;
    return {static_cast<T*>(buffers[buffer]) + offset, v.n, v.c, v.h, v.w, v.block, v.sn, v.sb, v.sh, v.sw, v.lane};
  }
  template <class T>
  T* data(void* const* buffers) const {
    return static_cast<T*>(buffers[buffer]) + offset;
  }
  void* data(void* const* buffers) const {
    return static_cast<std::byte*>(buffers[buffer]) + offset * static_cast<index_t>(item_size(dtype));
  }
};

struct Program {
  using Run = std::function<void(void* const* buffers)>;
  std::vector<Run> steps;
  std::vector<StepInfo> info;  // of each step
  BufferPlan memory;
};

// f<T>() for the type that kernels compute in. Throws std::invalid_argument where there is none for
// this dtype.
template <class F>
decltype(auto) with_float(DType dtype, const char* op, F&& f) {
  switch (dtype) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    default: fail(op, " has no kernel for ", word(dtype), " on the CPU");
  }
}

// f<T>() for what only moves elements, of any dtype: T is an unsigned integer for their bits, or a
// type that kernels know.
template <class F>
decltype(auto) with_bits(DType dtype, F&& f) {
  if (dtype == DType::f32) return f.template operator()<float>();
  if (dtype == DType::f64) return f.template operator()<double>();
  switch (item_size(dtype)) {
    case 1: return f.template operator()<std::uint8_t>();
    case 2: return f.template operator()<std::uint16_t>();
    case 4: return f.template operator()<std::uint32_t>();
    default: return f.template operator()<std::uint64_t>();
  }
}

class Lowering {
 public:
  Lowering(const Graph& graph, const NetworkOptions& options, Packed& packed);
  Program run();

 private:
  // Where a value lies. Contiguous, or blocked with images `image_stride` elements apart.
  struct Place {
    int buffer = -1;
    index_t offset = 0;  // elements
    DType dtype = DType::f32;
    bool blocked = false;
    index_t image_stride = 0;
  };

  void lower(ValueId id);
  // Operators: each places its result and emits its steps (lower_*.cc).
  void lower(ValueId id, const op::Conv2d& o);
  void lower(ValueId id, const op::Linear& o);
  void lower(ValueId id, const op::ConvTranspose2d& o);
  void lower(ValueId id, const op::Matmul& o);
  void lower(ValueId id, const op::ScaleShift& o);
  void lower(ValueId id, const op::LayerNorm& o);
  void lower(ValueId id, const op::GroupNorm& o);
  void lower(ValueId id, const op::LocalResponseNorm& o);
  void lower(ValueId id, const op::Activate& o);
  void lower(ValueId id, const op::Pointwise& o);
  void lower(ValueId id, const op::Pool& o);
  void lower(ValueId id, const op::AdaptivePool& o);
  void lower(ValueId id, const op::Reduce& o);
  void lower(ValueId id, const op::ArgMax& o);
  void lower(ValueId id, const op::Norm& o);
  void lower(ValueId id, const op::CumSum& o);
  void lower(ValueId id, const op::Reshape&) { view(id); }
  void lower(ValueId id, const op::Permute& o);
  void lower(ValueId id, const op::Slice& o);
  void lower(ValueId id, const op::Concat& o);
  void lower(ValueId id, const op::Pad& o);
  void lower(ValueId id, const op::Softmax& o);
  void lower(ValueId id, const op::Interpolate& o);
  void lower(ValueId id, const op::GridSample& o);
  void lower(ValueId id, const op::ChannelShuffle& o);
  void lower(ValueId id, const op::PixelShuffle& o);
  void lower(ValueId id, const op::PixelUnshuffle& o);
  void lower(ValueId id, const op::Take& o);
  void lower(ValueId id, const op::Tile& o);
  void lower(ValueId id, const op::ScatterAdd& o);
  void run_pool(ValueId id, op::Pool::Kind kind, std::shared_ptr<const PoolGeometry> geometry);
  void global_average(ValueId id);
  template <class Emit>  // emit(x, y, {outer, count, inner}) for each run of neighbouring axes, from the last
  void reduce(ValueId id, const std::vector<int>& axes, Emit&& emit);
  void move(ValueId id, const Operand& x, const Operand& y, const Shape& shape, const Shape& x_strides,
            const Shape& y_strides);
  void view(ValueId id);
  void write_outputs(ValueId id);

  // Places (lower.cc).
  Place new_place(const Shape& shape, DType dtype, bool blocked);
  void define(ValueId id);                   // gives the value of `id` its place
  bool reuse(ValueId id, ValueId x);         // gives it that of x, if nobody needs x any more
  void define_in_place(ValueId id, ValueId x) {
    if (!reuse(id, x)) define(id);
  }
  Place as(ValueId id, bool blocked);        // in this layout; converts where needed, once
  Place constant(ValueId id, bool blocked);  // a new buffer
  Place place(ValueId id) { return graph_.is_constant(id) ? as(id, false) : places_[id]; }
  template <class T>
  std::shared_ptr<const T> constant_data(ValueId id) const {  // null for kNone
    return id == kNone ? nullptr : std::static_pointer_cast<const T>(graph_[id].as<op::Constant>()->data);
  }
  template <class T>
  const T* weights(ValueId id);                              // scaled; valid until the next call

  // Views: of a value of up to 4 dimensions, of a contiguous one as if it had these sizes, and of
  // any for its address.
  Operand image(const Place& place, const Shape& shape) const;
  Operand image(ValueId id) { return image(place(id), graph_.shape(id)); }
  Operand planes(const Place& place, const Shape& sizes) const;
  Operand flat(const Place& place, ValueId id) const;
  // A value in any order of its axes, with the strides of those; one that strides_suffice() for
  // lies in its input.
  std::pair<Operand, Shape> strided(ValueId id);
  bool strides_suffice(ValueId id) const;
  // As an array that broadcasts to the value of `id`: sizes that both layouts have, and the strides
  // of a value in them.
  Shape broadcast_sizes(ValueId id) const;
  Shape broadcast_strides(ValueId value, const Place& place, ValueId id) const;
  // (outer, channels, 1, inner) of a value around axes [begin, end): how means and softmax see it.
  Shape around(ValueId id, int begin, int end) const;

  void copy(const Operand& from, const Operand& to, ValueId id, const char* why);
  // Adds a step that reads and writes these operands: run(buffers), or run<T>(buffers) for the type
  // of what is read.
  using Operands = const std::vector<Operand>&;
  StepInfo& emit(ValueId id, Operands operands, Program::Run run);
  template <class Run>  // throws where the value is of another dtype than kernels compute in
  StepInfo& emit_float(ValueId id, Operands operands, const Run& run) {
    return floats(id, [&]<class T>() -> StepInfo& {
      return emit(id, operands, [run](void* const* buffers) { run.template operator()<T>(buffers); });
    });
  }
  template <class Run>  // moves elements of any dtype
  StepInfo& emit_bits(ValueId id, Operands operands, const Run& run) {
    return with_bits(graph_.dtype(id), [&]<class T>() -> StepInfo& {
      return emit(id, operands, [run](void* const* buffers) { run.template operator()<T>(buffers); });
    });
  }
  template <class F>
  decltype(auto) floats(ValueId id, F&& f) const {  // f<T>()
    return with_float(graph_.dtype(graph_[id].inputs[0]), operator_name(graph_[id].op), f);
  }

  // Convolutions (lower_conv.cc).
  template <class T>
  struct ChosenConv {
    std::shared_ptr<const Conv2d<T>> conv;
    std::function<std::vector<Candidate>()> considered;
  };
  template <class T>
  struct Convs {
    std::map<ValueId, ChosenConv<T>> chosen;
    // By the depthwise convolution: what computes it together with the 1x1 convolution before it,
    // which has no place.
    std::map<ValueId, std::shared_ptr<const PointwiseDepthwise<T>>> joined;
    AlignedArray<T> scaled;  // the weights that are being packed
  };
  template <class T>
  Convs<T>& convs() {
    return std::get<Convs<T>>(convs_);
  }
  template <class T>
  void conv2d(ValueId id);
  template <class T>
  void linear(ValueId id);
  template <class T>
  void conv_transpose2d(ValueId id);
  ConvPlan plan(ValueId id, const ConvTask& task) const;
  template <class T>
  const ChosenConv<T>& conv(ValueId id, bool nchw);  // made once
  template <class T, class Conv, class Plan>
  std::shared_ptr<const Conv> packed(PackedByValue<Conv, Plan>& all, ValueId id, const Plan& plan);
  template <class T>
  bool joins_depthwise(ValueId id);
  template <class T>
  void run_conv(ValueId id, const Operand& x, const Operand& y, std::optional<Operand> residual);
  // A step that packs weights in every call, as they are values: run(the Conv, buffers).
  // `operands`: all others.
  template <class Conv, class T, class Plan, class Run>
  StepInfo& emit_unpacked(ValueId id, const Plan& plan, std::vector<Operand> operands, const Run& run);
  template <class T>
  void run_unpacked(ValueId id, const ConvTask& task, const Operand& x, const Operand& y, std::optional<Operand> residual);
  // Gives a convolution's result the place of its residual, if that may be.
  void define_over(ValueId id, const Operand& x, const std::optional<Operand>& residual);

  const Graph& graph_;
  const NetworkOptions& options_;
  Packed& packed_;
  const std::vector<int> uses_;
  const std::vector<bool> blocked_;  // by value: its layout
  const std::vector<int> output_of_;  // by value: the output that it is written to directly, or -1
  Buffers buffers_;
  Places<Place, bool> places_;  // another form is blocked, or not
  std::tuple<Convs<float>, Convs<double>> convs_;
  Program program_;
};

}  // namespace fastconv
