// Operators that only move elements: most of them change strides and nothing else.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <array>

#include "cuda/lower.h"

namespace fastconv::cuda {

template <class T>
void Lowering<T>::lower(ValueId id, const op::Reshape&) {
  const ValueId x = graph_[id].inputs[0];
  const Shape &shape = graph_.shape(x), &wanted = graph_.shape(id);
  Place view = place(x);
  std::optional<Shape> strides = reshaped_strides(shape, view.strides, wanted);
  if (!strides) {
    view = contiguous(x);
    strides = reshaped_strides(shape, view.strides, wanted);
  }
  view.strides = *strides;
  places_.put(id, std::move(view));
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Permute& o) {
  const Place& from = place(graph_[id].inputs[0]);
  Place view = from;
  for (std::size_t i = 0; i < o.order.size(); ++i) view.strides[i] = from.strides[o.order[i]];
  places_.put(id, std::move(view));
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Slice& o) {
  Place view = place(graph_[id].inputs[0]);
  bool forward = true;
  for (std::size_t i = 0; i < o.start.size(); ++i) {
    view.offset += o.start[i] * view.strides[i];
    if (graph_.shape(id)[i] > 1) view.strides[i] *= o.step[i];  // else the step may be anything
    forward = forward && (o.step[i] > 0 || graph_.shape(id)[i] == 1);
  }
  if (forward) return places_.put(id, std::move(view));
  define_like(id, graph_[id].inputs[0]);
  copy(id, array(view, graph_.shape(id)), array(id));
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Concat& o) {
  const Shape& shape = graph_.shape(id);
  if (shape.size() == 4 && o.axis == 1)
    define(id, kChannelsLast);
  else
    define_like(id, graph_[id].inputs[0]);
  Place to = places_[id];
  for (const ValueId part : graph_[id].inputs) {
    const Shape& own = graph_.shape(part);
    if (!places_.is_there(part, to) && checked_size(own) > 0) copy(id, array(part), array(to, own));
    to.offset += own[o.axis] * to.strides[o.axis];
  }
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Pad& o) {
  constexpr PadMode modes[] = {PadMode::constant, PadMode::reflect, PadMode::replicate};
  const Array x = array(graph_[id].inputs[0]);
  define_like(id, graph_[id].inputs[0]);
  const Array y = array(id);
  if (elements(x.view) == 0) {
    emit(id, [=, value = static_cast<float>(o.value)](void* const* b, cudaStream_t stream) { fill<T>(y.at(b), value, stream); }, y);
    return;
  }
  std::array<index_t, kMaxRank> before{};
  std::copy(o.before.begin(), o.before.end(), before.begin());
  const auto run = [=, mode = modes[static_cast<int>(o.mode)], value = static_cast<float>(o.value)](void* const* b, cudaStream_t stream) {
    cuda::pad<T>(mode, value, before.data(), x.at(b), y.at(b), stream);
  };
  emit(id, run, x, y);
}

namespace {

// A view with one axis in place of which there are several, of these sizes and strides.
template <class View>
View split(const View& view, int axis, std::initializer_list<std::pair<index_t, index_t>> parts) {
  View result = view;
  auto& v = result.view;
  const int more = static_cast<int>(parts.size()) - 1;
  v.rank += more;
  for (int i = v.rank - 1; i > axis + more; --i) {
    v.size[i] = v.size[i - more];
    v.stride[i] = v.stride[i - more];
  }
  for (const auto& [size, stride] : parts) {
    v.size[axis] = size;
    v.stride[axis++] = stride;
  }
  return result;
}

// Images of r x r blocks of pixels, and the channels that they are otherwise, as arrays (n, c, r,
// r, h, w).
template <class Array>
Array blocks_of_pixels(const Array& image, index_t r) {
  const auto& v = image.view;
  const index_t row = v.stride[2], column = v.stride[3];
  Array result = split(image, 3, {{v.size[3] / r, r * column}});
  result = split(result, 2, {{r, row}, {r, column}, {v.size[2] / r, r * row}});
  return result;
}
template <class Array>
Array parts_of_channels(const Array& image, index_t r, op::ChannelOrder order) {
  const index_t c = image.view.size[1] / (r * r), channel = image.view.stride[1];
  const bool dcr = order == op::ChannelOrder::dcr;
  const index_t part = dcr ? c * channel : channel;  // from one pixel of a block to the next
  return split(image, 1, {{c, dcr ? channel : r * r * channel}, {r, r * part}, {r, part}});
}

}  // namespace

template <class T>
void Lowering<T>::lower(ValueId id, const op::ChannelShuffle& o) {
  const Array x = array(graph_[id].inputs[0]);
  define(id, kChannelsLast);
  const Array y = array(id);
  const index_t groups = o.groups, depth = graph_.shape(id)[1] / groups, from = x.view.stride[1], to = y.view.stride[1];
  copy(id, split(x, 1, {{groups, depth * from}, {depth, from}}), split(y, 1, {{groups, to}, {depth, groups * to}}));
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::PixelShuffle& o) {
  const Array x = array(graph_[id].inputs[0]);
  define(id, kChannelsLast);
  const Array y = array(id);
  copy(id, parts_of_channels(x, o.upscale, o.mode), blocks_of_pixels(y, o.upscale));
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::PixelUnshuffle& o) {
  const Array x = array(graph_[id].inputs[0]);
  define(id, kChannelsLast);
  const Array y = array(id);
  copy(id, blocks_of_pixels(x, o.downscale), parts_of_channels(y, o.downscale, o.mode));
}

#define INSTANTIATE(T)                                                            \
  template void Lowering<T>::lower(ValueId, const op::Reshape&);                                    \
  template void Lowering<T>::lower(ValueId, const op::Permute&);                \
  template void Lowering<T>::lower(ValueId, const op::Slice&);                    \
  template void Lowering<T>::lower(ValueId, const op::Concat&);                  \
  template void Lowering<T>::lower(ValueId, const op::Pad&);                        \
  template void Lowering<T>::lower(ValueId, const op::ChannelShuffle&); \
  template void Lowering<T>::lower(ValueId, const op::PixelShuffle&); \
  template void Lowering<T>::lower(ValueId, const op::PixelUnshuffle&);
INSTANTIATE(float)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace fastconv::cuda
