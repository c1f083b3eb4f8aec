// From an optimised graph to steps: where each value lies, which function computes it, with what. All decisions end here.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "conv/pointwise_depthwise.h"
#include "cpu/layouts.h"
#include "fastconv/memory.h"
#include "fastconv/network.h"
#include "fastconv/ops.h"
#include "plan/places.h"
#include "plan/pool.h"

namespace fastconv {

// A convolution with its weights: as the plan wanted it, or, where rounding errors with these weights forbade that, otherwise.
template <class T>
struct PackedConv {
  Algorithm planned;
  std::shared_ptr<const Conv2d<T>> conv;
};

// What all sizes of batches and images share, by the value's number in the optimised graph. A convolution is packed once
// for each algorithm that a plan wants for some size.
template <class T>
struct Packed {
  const std::shared_ptr<Arena> arena = std::make_shared<Arena>();
  std::map<ValueId, std::vector<PackedConv<T>>> convs;
  std::map<ValueId, std::vector<std::shared_ptr<const ConvTranspose2d<T>>>> transposed;
  std::map<ValueId, std::shared_ptr<AlignedArray<T>>> blocked_constants;
  mutable std::mutex mutex;  // held while lowering
  Pool<AlignedArray<char>> arenas;  // for calls of whatever size

  std::size_t bytes() const;
};

// A 4-d view of a value: `view.data` is null until run time (see at()).
template <class T>
struct Operand {
  int buffer;
  index_t offset;  // elements
  TensorView<T> view;

  TensorView<T> at(void* const* buffers) const {
    TensorView<T> v = view;
    v.data = static_cast<T*>(buffers[buffer]) + offset;
    return v;
  }
};

template <class T>
struct Program {
  using Run = std::function<void(void* const* buffers)>;
  std::vector<Run> steps;
  std::vector<StepInfo> info;  // of each step
  BufferPlan memory;
};

template <class T>
class Lowering {
 public:
  Lowering(const Graph& graph, const NetworkOptions& options, Packed<T>& packed);
  Program<T> run();

 private:
  // Where a value lies. Contiguous, or blocked with images `image_stride` elements apart.
  struct Place {
    int buffer = -1;
    index_t offset = 0;
    bool blocked = false;
    index_t image_stride = 0;
  };

  void lower(ValueId id);
  // Operators: each places its result and emits its steps (lower_*.cc).
  void lower(ValueId id, const op::Conv2d& o);
  void lower(ValueId id, const op::Linear& o);
  void lower(ValueId id, const op::ConvTranspose2d& o);
  void lower(ValueId id, const op::ScaleShift& o);
  void lower(ValueId id, const op::LayerNorm& o);
  void lower(ValueId id, const op::LocalResponseNorm& o);
  void lower(ValueId id, const op::Activate& o);
  void lower(ValueId id, const op::Binary& o);
  void lower(ValueId id, const op::Pool& o);
  void lower(ValueId id, const op::AdaptivePool& o);
  void lower(ValueId id, const op::Mean& o);
  void lower(ValueId id, const op::Reshape&) { view(id); }
  void lower(ValueId id, const op::Permute& o);
  void lower(ValueId id, const op::Slice& o);
  void lower(ValueId id, const op::Concat& o);
  void lower(ValueId id, const op::Pad& o);
  void lower(ValueId id, const op::Softmax& o);
  void lower(ValueId id, const op::Interpolate& o);
  void lower(ValueId id, const op::ChannelShuffle& o);
  void lower(ValueId id, const op::PixelShuffle& o);
  void run_pool(ValueId id, op::Pool::Kind kind, std::shared_ptr<const PoolGeometry> geometry);
  void global_average(ValueId id);
  void move(ValueId id, const Operand<T>& x, const Operand<T>& y, const Shape& shape, const Shape& x_strides,
            const Shape& y_strides);
  void view(ValueId id);
  void write_outputs(ValueId id);

  // Places (lower.cc).
  Place new_place(const Shape& shape, bool blocked);
  void define(ValueId id);                   // gives the value of `id` its place
  bool reuse(ValueId id, ValueId x);         // gives it that of x, if nobody needs x any more
  void define_in_place(ValueId id, ValueId x) {
    if (!reuse(id, x)) define(id);
  }
  Place as(ValueId id, bool blocked);        // in this layout; converts where needed, once
  Place constant(ValueId id, bool blocked);  // a new buffer
  Place place(ValueId id) { return graph_.is_constant(id) ? as(id, false) : places_[id]; }
  std::shared_ptr<const T> constant_data(ValueId id) const;  // null for kNone
  const T* weights(ValueId id);                              // scaled; valid until the next call

  // Views: of a value of up to 4 dimensions, of a contiguous one as if it had these sizes, and of any for its address.
  Operand<T> image(const Place& place, const Shape& shape) const;
  Operand<T> image(ValueId id) { return image(place(id), graph_.shape(id)); }
  Operand<T> planes(const Place& place, const Shape& sizes) const;
  Operand<T> flat(const Place& place, ValueId id) const;
  // (outer, channels, 1, inner) of a value around axes [begin, end): how means and softmax see it.
  Shape around(ValueId id, int begin, int end) const;

  void copy(const Operand<T>& from, const Operand<T>& to, ValueId id, const char* why);
  // Adds a step that reads and writes these operands.
  StepInfo& emit(ValueId id, std::initializer_list<Operand<T>> operands, typename Program<T>::Run run);
  struct ChosenConv {
    std::shared_ptr<const Conv2d<T>> conv;
    std::string reason;  // of its algorithm
    std::function<std::vector<Candidate>()> considered;
  };
  const ChosenConv& conv(ValueId id, bool nchw);  // made once
  std::shared_ptr<const Conv2d<T>> packed(ValueId id, const ConvGeometry& geometry, ConvOptions options);
  bool joins_depthwise(ValueId id);
  void run_conv(ValueId id, const Operand<T>& x, const Operand<T>& y, std::optional<Operand<T>> residual);

  const Graph& graph_;
  const NetworkOptions& options_;
  Packed<T>& packed_;
  const index_t block_;
  const std::vector<int> uses_;
  const std::vector<bool> blocked_;  // by value: its layout
  const std::vector<int> output_of_;  // by value: the output that it is written to directly, or -1
  Buffers buffers_;
  Places<Place, bool> places_;  // another form is blocked, or not
  std::map<ValueId, ChosenConv> convs_;
  // By the depthwise convolution: what computes it together with the 1x1 convolution before it, which has no place.
  std::map<ValueId, std::shared_ptr<const PointwiseDepthwise<T>>> joined_;
  AlignedArray<T> scaled_;  // the weights that are being packed
  Program<T> program_;
};

}  // namespace fastconv
