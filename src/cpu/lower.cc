// The order of lowering, and where values lie.
#include "cpu/lower.h"

#include <algorithm>
#include <cstring>

#include "fastconv/ops.h"
#include "plan/steps.h"

namespace fastconv {
namespace {

// Which values their producer writes into the caller's array.
std::vector<int> direct_outputs(const Graph& graph, const std::vector<bool>& blocked) {
  std::vector<int> output_of(graph.size(), -1);
  for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
    const ValueId id = graph.outputs()[i];
    const bool computed = !graph[id].inputs.empty() && !is_view(graph, id, blocked);
    if (computed && !blocked[id] && output_of[id] < 0) output_of[id] = static_cast<int>(i);
  }
  return output_of;
}

// Fewer than four sizes broadcast as NumPy's do.
Shape four_sizes(Shape shape) {
  if (shape.size() < 4) shape.insert(shape.begin(), 4 - shape.size(), 1);
  return shape;
}

// Elements of an image of a blocked value.
index_t blocked_image(const Shape& shape, index_t block) {
  const Shape s = four_sizes(shape);
  return ceil_div(s[1], block) * block * s[2] * s[3];
}

}  // namespace

template <class T>
std::size_t PackedConvs<T>::bytes() const {
  std::size_t sum = 0;
  for (const auto& [id, all] : convs)
    for (const auto& packed : all) sum += packed.conv->plan().packed_bytes;
  for (const auto& [id, all] : transposed)
    for (const auto& packed : all) sum += packed.conv->plan().packed_bytes;
  return sum;
}

std::size_t Packed::bytes() const {
  const std::lock_guard lock(mutex);
  std::size_t sum = std::get<0>(convs).bytes() + std::get<1>(convs).bytes();
  for (const auto& [id, array] : blocked_constants) sum += array->bytes();
  return sum;
}

Lowering::Lowering(const Graph& graph, const NetworkOptions& options, Packed& packed)
    : graph_(graph),
      options_(options),
      packed_(packed),
      uses_(graph.use_counts()),
      blocked_(choose_blocked(graph)),
      output_of_(direct_outputs(graph, blocked_)),
      buffers_(graph),
      places_(graph, buffers_, concat_homes(graph, blocked_, writes_blocks(graph, blocked_))) {}

Program Lowering::run() {
  int inputs = 0;
  for (const ValueId id : graph_.inputs())
    places_.put(id, {buffers_.add({Buffer::Kind::input, inputs++}), 0, graph_.dtype(id), false, 0});
  for (std::size_t i = 0; i < graph_.outputs().size(); ++i) buffers_.add({Buffer::Kind::output, static_cast<int>(i)});
  for (ValueId id = 0; id < graph_.size(); ++id) {
    if (!graph_[id].inputs.empty()) lower(id);
    write_outputs(id);
  }
  program_.memory = std::move(buffers_).plan();
  return std::move(program_);
}

void Lowering::lower(ValueId id) {
  if (is_view(graph_, id, blocked_)) return view(id);
  std::visit([&](const auto& o) {
    if constexpr (requires { lower(id, o); }) return lower(id, o);
    fail(operator_name(graph_[id].op), " has no kernel for ", word(graph_.dtype(id)), " on the CPU");
  }, graph_[id].op);
}

Lowering::Place Lowering::new_place(const Shape& shape, DType dtype, bool blocked) {
  const auto buffer = [&](const Shape& sizes) {
    return buffers_.add_arena(static_cast<std::size_t>(checked_size(sizes, item_size(dtype))) * item_size(dtype));
  };
  if (!blocked) return {buffer(shape), 0, dtype, false, 0};
  const index_t image = blocked_image(shape, channel_block(dtype));
  return {buffer({four_sizes(shape)[0], image}), 0, dtype, true, image};
}

void Lowering::define(ValueId id) {
  const auto make = [&](ValueId value) -> Place {
    const int output = output_of_[value], inputs = static_cast<int>(graph_.inputs().size());
    if (output >= 0) return {inputs + output, 0, graph_.dtype(value), false, 0};
    return new_place(graph_.shape(value), graph_.dtype(value), blocked_[value]);
  };
  places_.define(id, make, [&](Place whole, index_t channel, ValueId part) {
    whole.offset += channel * graph_.shape(part)[2] * graph_.shape(part)[3];
    return whole;
  });
}

bool Lowering::reuse(ValueId id, ValueId x) {
  const bool whole = !places_.has_home(x) && places_[x].offset == 0;
  return whole && output_of_[id] < 0 && places_[x].blocked == blocked_[id] && places_.reuse(id, x);
}

Lowering::Place Lowering::constant(ValueId id, bool blocked) {
  const DType dtype = graph_.dtype(id);
  const Shape shape = four_sizes(graph_.shape(id));
  std::shared_ptr<const void> data = graph_[id].as<op::Constant>()->data;
  if (!blocked) return {buffers_.add_constant(std::move(data)), 0, dtype, false, 0};
  const index_t block = channel_block(dtype), image = blocked_image(shape, block);
  std::shared_ptr<AlignedArray<char>>& array = packed_.blocked_constants[id];
  if (!array) {
    array = std::make_shared<AlignedArray<char>>(static_cast<std::size_t>(shape[0] * image) * item_size(dtype));
    with_bits(dtype, [&]<class T>() {
      fastconv::copy<T>(nchw_view(static_cast<const T*>(data.get()), shape[0], shape[1], shape[2], shape[3]),
                        blocked_view(reinterpret_cast<T*>(array->data()), shape[0], shape[1], shape[2], shape[3], block));
    });
  }
  return {buffers_.add_constant({array, array->data()}), 0, dtype, true, image};
}

Lowering::Place Lowering::as(ValueId id, bool blocked) {
  const bool is_constant = graph_.is_constant(id);
  if (!is_constant && places_[id].blocked == blocked) return places_[id];
  const auto [place, fresh] = places_.other_form(
      id, blocked, [&] { return is_constant ? constant(id, blocked) : new_place(graph_.shape(id), graph_.dtype(id), blocked); });
  if (fresh && !is_constant)
    copy(image(id), image(place, graph_.shape(id)), id, blocked ? "to channel blocks" : "to a contiguous array");
  return place;
}

Operand Lowering::image(const Place& place, const Shape& shape) const {
  if (!place.blocked) return planes(place, shape);
  const Shape s = four_sizes(shape);
  const index_t h = s[2], w = s[3], block = channel_block(place.dtype);
  return {place.buffer, place.offset, place.dtype,
          {nullptr, s[0], s[1], h, w, block, place.image_stride, h * w * block, w * block, block, 0}};
}

Operand Lowering::planes(const Place& place, const Shape& sizes) const {
  const Shape s = four_sizes(sizes);
  return {place.buffer, place.offset, place.dtype, nchw_view<void>(nullptr, s[0], s[1], s[2], s[3])};
}

Shape Lowering::broadcast_sizes(ValueId id) const {
  const Shape& shape = graph_.shape(id);
  if (!blocked_[id]) return shape;
  const index_t block = channel_block(graph_.dtype(id));
  return {shape[0], ceil_div(shape[1], block), shape[2], shape[3], block};
}

Shape Lowering::broadcast_strides(ValueId value, const Place& place, ValueId id) const {
  const Shape& shape = graph_.shape(id);
  Shape own = graph_.shape(value), strides;
  if (place.blocked) {
    own = four_sizes(own);
    const Operand a = image(place, own);
    strides = {a.view.sn, a.view.sb, a.view.sh, a.view.sw, own[1] == 1 && shape[1] != 1 ? 0 : 1};
    own = {own[0], own[1] == 1 ? 1 : 2, own[2], own[3], 2};  // 1 marks what repeats
  } else {
    strides = contiguous_strides(own);
    strides.insert(strides.begin(), shape.size() - own.size(), 0);
    own.insert(own.begin(), shape.size() - own.size(), 1);
  }
  for (std::size_t i = 0; i < own.size(); ++i)
    if (own[i] == 1) strides[i] = 0;
  return strides;
}

Shape Lowering::around(ValueId id, int begin, int end) const {
  const Shape& shape = graph_.shape(id);
  Shape sizes{1, 1, 1, 1};  // outer, channels, 1, inner
  for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
    sizes[axis < begin ? 0 : axis < end ? 1 : 3] *= shape[axis];
  return sizes;
}

StepInfo& Lowering::emit(ValueId id, Operands operands, Program::Run run) {
  StepInfo info = info_of(graph_, id);
  for (const Operand& operand : operands) {
    buffers_.use(operand.buffer);
    const TensorView<void>& v = operand.view;
    info.bytes += static_cast<std::size_t>(v.n * v.c * v.h * v.w) * item_size(operand.dtype);
  }
  if (checked_size(info.shape) == 0) run = [](void* const*) {};  // operators need not know empty results
  buffers_.end_step();
  program_.steps.push_back(std::move(run));
  program_.info.push_back(std::move(info));
  return program_.info.back();
}

void Lowering::copy(const Operand& from, const Operand& to, ValueId id, const char* why) {
  StepInfo& info =
      emit_bits(id, {from, to}, [=]<class T>(void* const* b) { fastconv::copy<T>(from.at<const T>(b), to.at<T>(b)); });
  info.op = "copy";
  info.reason = why;
}

Operand Lowering::flat(const Place& place, ValueId id) const {
  const Shape& shape = graph_.shape(id);
  if (place.blocked) return image(place, shape);
  return planes(place, {1, 1, 1, checked_size(shape)});
}

void Lowering::view(ValueId id) {
  const ValueId x = graph_[id].inputs[0];
  Place place = this->place(x);
  if (const auto* slice = graph_[id].as<op::Slice>()) {
    const Shape& shape = graph_.shape(x);
    if (place.blocked)
      place.offset += slice->start[0] * place.image_stride + slice->start[1] * shape[2] * shape[3];
    else
      place.offset += slice->start[0] * checked_size(Shape(shape.begin() + 1, shape.end()));
  } else if (place.blocked && (output_of_[id] >= 0 || place.image_stride != graph_.shape(x)[1])) {
    // Blocks of several pixels, or a part of wider images.
    if (output_of_[id] >= 0) {
      define(id);
      return copy(image(x), planes(places_[id], graph_.shape(x)), id, "to the output");
    }
    place = as(x, false);
  }
  place.blocked = blocked_[id];
  places_.put(id, place);
}

void Lowering::write_outputs(ValueId id) {
  for (std::size_t i = 0; i < graph_.outputs().size(); ++i) {
    if (graph_.outputs()[i] != id || output_of_[id] == static_cast<int>(i)) continue;
    const Place to{static_cast<int>(graph_.inputs().size() + i), 0, graph_.dtype(id), false, 0};
    const Place from = place(id);
    copy(from.blocked ? image(id) : flat(from, id), from.blocked ? image(to, graph_.shape(id)) : flat(to, id), id,
         "to the output");
  }
}

}  // namespace fastconv
