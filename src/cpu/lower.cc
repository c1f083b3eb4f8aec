// The order of lowering, and where values lie.
#include "cpu/lower.h"

#include <algorithm>
#include <cstring>

#include "core/fence.h"
#include "fastconv/ops.h"

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

}  // namespace

template <class T>
std::size_t Packed<T>::bytes() const {
  const std::lock_guard lock(mutex);
  std::size_t sum = 0;
  for (const auto& [id, plans] : convs)
    for (const PackedConv<T>& packed : plans) sum += packed.conv->packed_bytes();
  for (const auto& [id, plans] : transposed)
    for (const auto& conv : plans) sum += conv->packed_bytes();
  for (const auto& [id, array] : blocked_constants) sum += array->bytes();
  return sum;
}

template <class T>
Lowering<T>::Lowering(const Graph& graph, const NetworkOptions& options, Packed<T>& packed)
    : graph_(graph),
      options_(options),
      packed_(packed),
      block_(channel_block(dtype_of<T>)),
      uses_(graph.use_counts()),
      blocked_(choose_blocked(graph)),
      homes_(concat_homes(graph, blocked_, writes_blocks(graph, blocked_))),
      last_use_(graph.last_uses()),
      output_of_(direct_outputs(graph, blocked_)),
      places_(graph.size()) {}

template <class T>
Program<T> Lowering<T>::run() {
  for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
    program_.buffers.push_back({Buffer::Kind::input, static_cast<int>(i), 0, 0, -1, nullptr});
    values_in_.push_back({graph_.inputs()[i]});
    places_[graph_.inputs()[i]].buffer = static_cast<int>(i);
  }
  for (std::size_t i = 0; i < graph_.outputs().size(); ++i) {
    program_.buffers.push_back({Buffer::Kind::output, static_cast<int>(i), 0, 0, -1, nullptr});
    values_in_.emplace_back();
  }
  for (ValueId id = 0; id < graph_.size(); ++id) {
    if (!graph_[id].inputs.empty()) lower(id);
    write_outputs(id);
  }
  std::vector<Lifetime> lifetimes;
  for (const Buffer& b : program_.buffers)
    lifetimes.push_back({static_cast<std::size_t>(b.elements) * sizeof(T) + kFenceBytes, b.first, b.last});
  MemoryPlan plan = plan_memory(lifetimes);
  program_.offsets = std::move(plan.offsets);
  program_.arena_bytes = plan.bytes;
  return std::move(program_);
}

template <class T>
void Lowering<T>::lower(ValueId id) {
  if (is_view(graph_, id, blocked_)) return view(id);
  std::visit([&](const auto& o) {
    if constexpr (requires { lower(id, o); }) return lower(id, o);
    throw std::logic_error(std::string("no step computes ") + operator_name(graph_[id].op));
  }, graph_[id].op);
}

template <class T>
int Lowering<T>::new_buffer(index_t elements) {
  const int now = static_cast<int>(program_.steps.size());
  program_.buffers.push_back({Buffer::Kind::arena, 0, elements, now, now - 1, nullptr});
  values_in_.emplace_back();
  return static_cast<int>(program_.buffers.size()) - 1;
}

template <class T>
typename Lowering<T>::Place Lowering<T>::new_place(const Shape& shape, bool blocked) {
  if (!blocked) return {new_buffer(checked_size(shape, sizeof(T))), 0, false, 0};
  const Shape s = four_sizes(shape);
  const index_t image = ceil_div(s[1], block_) * block_ * s[2] * s[3];
  return {new_buffer(checked_size({s[0], image}, sizeof(T))), 0, true, image};
}

template <class T>
void Lowering<T>::define(ValueId id) {
  if (places_[id].buffer >= 0) return;  // a concatenation that its parts have placed
  if (const Home& home = homes_[id]; home.parent != kNone) {
    define(home.parent);
    places_[id] = places_[home.parent];
    places_[id].offset += home.channel * graph_.shape(id)[2] * graph_.shape(id)[3];
  } else if (output_of_[id] >= 0) {
    places_[id].buffer = static_cast<int>(graph_.inputs().size()) + output_of_[id];
  } else {
    places_[id] = new_place(graph_.shape(id), blocked_[id]);
  }
  values_in_[places_[id].buffer].push_back(id);
}

template <class T>
bool Lowering<T>::dies_at(ValueId x, ValueId id) const {
  const Place& place = places_[x];
  if (program_.buffers[place.buffer].kind != Buffer::Kind::arena || homes_[x].parent != kNone || place.offset != 0)
    return false;
  const std::vector<ValueId>& values = values_in_[place.buffer];
  return std::all_of(values.begin(), values.end(), [&](ValueId value) { return last_use_[value] <= id; });
}

template <class T>
bool Lowering<T>::reuse(ValueId id, ValueId x) {
  const bool placed = places_[id].buffer >= 0 || homes_[id].parent != kNone || output_of_[id] >= 0;
  if (placed || graph_.is_constant(x) || places_[x].blocked != blocked_[id] || graph_.shape(x) != graph_.shape(id) || !dies_at(x, id))
    return false;
  places_[id] = places_[x];
  values_in_[places_[id].buffer].push_back(id);
  return true;
}

template <class T>
std::shared_ptr<const T> Lowering<T>::constant_data(ValueId id) const {
  return id == kNone ? nullptr : std::static_pointer_cast<const T>(graph_[id].as<op::Constant>()->data);
}

template <class T>
typename Lowering<T>::Place Lowering<T>::constant(ValueId id, bool blocked) {
  const Shape shape = four_sizes(graph_.shape(id));
  std::shared_ptr<const void> data = graph_[id].as<op::Constant>()->data;
  Place place{static_cast<int>(program_.buffers.size()), 0, blocked, 0};
  if (blocked) {
    place.image_stride = ceil_div(shape[1], block_) * block_ * shape[2] * shape[3];
    std::shared_ptr<AlignedArray<T>>& array = packed_.blocked_constants[id];
    if (!array) {
      array = std::make_shared<AlignedArray<T>>(static_cast<std::size_t>(shape[0] * place.image_stride));
      fastconv::copy<T>(nchw_view(static_cast<const T*>(data.get()), shape[0], shape[1], shape[2], shape[3]),
                   blocked_view(array->data(), shape[0], shape[1], shape[2], shape[3], block_));
    }
    data = std::shared_ptr<const void>(array, array->data());
  }
  program_.buffers.push_back({Buffer::Kind::constant, 0, 0, 0, -1, std::move(data)});
  values_in_.push_back({id});
  return place;
}

template <class T>
typename Lowering<T>::Place Lowering<T>::as(ValueId id, bool blocked) {
  const bool is_constant = graph_.is_constant(id);
  if (!is_constant && places_[id].blocked == blocked) return places_[id];
  const auto [it, fresh] = converted_.try_emplace({id, blocked});
  if (!fresh) return it->second;
  if (is_constant) return it->second = constant(id, blocked);
  const Place place = it->second = new_place(graph_.shape(id), blocked);
  values_in_[place.buffer].push_back(id);
  copy(image(id), image(place, graph_.shape(id)), id, blocked ? "to channel blocks" : "to a contiguous array");
  return place;
}

template <class T>
Operand<T> Lowering<T>::image(const Place& place, const Shape& shape) const {
  if (!place.blocked) return planes(place, shape);
  const Shape s = four_sizes(shape);
  const index_t h = s[2], w = s[3];
  return {place.buffer, place.offset,
          {nullptr, s[0], s[1], h, w, block_, place.image_stride, h * w * block_, w * block_, block_, 0}};
}

template <class T>
Operand<T> Lowering<T>::planes(const Place& place, const Shape& sizes) const {
  const Shape s = four_sizes(sizes);
  return {place.buffer, place.offset, nchw_view<T>(nullptr, s[0], s[1], s[2], s[3])};
}

template <class T>
Shape Lowering<T>::around(ValueId id, int begin, int end) const {
  const Shape& shape = graph_.shape(id);
  Shape sizes{1, 1, 1, 1};  // outer, channels, 1, inner
  for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
    sizes[axis < begin ? 0 : axis < end ? 1 : 3] *= shape[axis];
  return sizes;
}

template <class T>
void Lowering<T>::touch(int buffer) {
  Buffer& b = program_.buffers[buffer];
  const int now = static_cast<int>(program_.steps.size());
  if (b.last < b.first) b.first = now;
  b.last = now;
}

template <class T>
StepInfo& Lowering<T>::emit(ValueId id, std::initializer_list<Operand<T>> operands, typename Program<T>::Run run) {
  const Node& node = graph_[id];
  StepInfo info;
  info.name = node.name;
  info.op = operator_name(node.op);
  info.shape = node.shape;
  for (const Operand<T>& operand : operands) {
    touch(operand.buffer);
    const TensorView<T>& v = operand.view;
    info.bytes += static_cast<std::size_t>(v.n * v.c * v.h * v.w) * sizeof(T);
  }
  if (checked_size(node.shape) == 0) run = [](T* const*) {};  // operators need not know empty results
  program_.steps.push_back(std::move(run));
  program_.info.push_back(std::move(info));
  return program_.info.back();
}

template <class T>
void Lowering<T>::copy(const Operand<T>& from, const Operand<T>& to, ValueId id, const char* why) {
  StepInfo& info = emit(id, {from, to}, [=](T* const* b) { fastconv::copy<T>(from.at(b), to.at(b)); });
  info.op = "copy";
  info.reason = why;
}

template <class T>
Operand<T> Lowering<T>::flat(const Place& place, ValueId id) const {
  const Shape& shape = graph_.shape(id);
  if (place.blocked) return image(place, shape);
  return planes(place, {1, 1, 1, checked_size(shape)});
}

template <class T>
void Lowering<T>::view(ValueId id) {
  const ValueId x = graph_[id].inputs[0];
  Place place = places_[x];
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
  places_[id] = place;
  values_in_[place.buffer].push_back(id);
}

template <class T>
void Lowering<T>::write_outputs(ValueId id) {
  for (std::size_t i = 0; i < graph_.outputs().size(); ++i) {
    if (graph_.outputs()[i] != id || output_of_[id] == static_cast<int>(i)) continue;
    const Place to{static_cast<int>(graph_.inputs().size() + i), 0, false, 0};
    const Place from = place(id);
    copy(from.blocked ? image(id) : flat(from, id), from.blocked ? image(to, graph_.shape(id)) : flat(to, id), id,
         "to the output");
  }
}

template struct Packed<float>;
template struct Packed<double>;
template class Lowering<float>;
template class Lowering<double>;

}  // namespace fastconv
