// Operators that only move elements.
#include "cpu/lower.h"
#include "cpu/strided.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace fastconv {
namespace {

// The bytes of an element of this value, in the first ones of the result.
std::uint64_t bits_of(double value, DType dtype) {
  std::uint64_t bits = 0;
  const auto store = [&]<class T>(T element) { std::memcpy(&bits, &element, sizeof(T)); };
  const auto store_integer = [&]<class T>(T) {
    using Limits = std::numeric_limits<T>;
    // The first double above the largest integer is a power of two.
    const double end = 2.0 * static_cast<double>(Limits::max() / 2 + 1);
    if (!(value >= static_cast<double>(Limits::min()) && value < end && value == std::trunc(value)))
      fail("pad: value must be one of ", word(dtype), ", got ", value);
    store(static_cast<T>(value));
  };
  switch (dtype) {
    case DType::f32: store(static_cast<float>(value)); break;
    case DType::f64: store(value); break;
    case DType::i8: store_integer(std::int8_t{}); break;
    case DType::u8: store_integer(std::uint8_t{}); break;
    case DType::i32: store_integer(std::int32_t{}); break;
    case DType::i64: store_integer(std::int64_t{}); break;
    case DType::boolean:
      if (value != 0 && value != 1) fail("pad: value must be one of bool, got ", value);
      store(value != 0);
      break;
    case DType::f16:
    case DType::bf16:
      if (value != 0 || std::signbit(value)) fail("pad has no kernel for ", word(dtype), " with a value other than 0 on the CPU");
  }
  return bits;
}

// Blocks of r x r pixels, and the channels that they are otherwise, as arrays (n, c, r, r, h, w).
struct BlocksOfPixels {
  Shape sizes, of_pixels, of_channels;  // strides

  BlocksOfPixels(const Shape& image, index_t r, op::ChannelOrder order) {
    const index_t n = image[0], c = image[1], h = image[2] / r, w = image[3] / r, row = image[3], plane = h * w;
    const bool dcr = order == op::ChannelOrder::dcr;
    const index_t part = dcr ? c * plane : plane;  // from one pixel of a block to the next
    sizes = {n, c, r, r, h, w};
    of_pixels = {c * image[2] * row, image[2] * row, row, 1, r * row, r};
    of_channels = {c * r * r * plane, dcr ? plane : r * r * plane, r * part, part, w, 1};
  }
};

}  // namespace

// Emits y = x for arrays of these strides.
void Lowering::move(ValueId id, const Operand& x, const Operand& y, const Shape& shape, const Shape& x_strides,
                       const Shape& y_strides) {
  emit_bits(id, {x, y}, [=, moved = StridedCopy(shape, x_strides, y_strides)]<class T>(void* const* b) {
    moved.run<T>(x.data<T>(b), y.data<T>(b));
  });
}

// Whether all that read a permutation take any strides, so that there is no need for a step.
bool Lowering::strides_suffice(ValueId id) const {
  const ValueId end = buffers_.last_use(id);
  if (end == graph_.size() || uses_[id] == 0 || !is_computed_in(graph_.dtype(id))) return false;
  for (ValueId reader = id + 1; reader <= end; ++reader) {
    const std::vector<ValueId>& inputs = graph_[reader].inputs;
    if (std::count(inputs.begin(), inputs.end(), id) > 0 && !graph_[reader].as<op::Matmul>()) return false;
  }
  return true;
}

void Lowering::lower(ValueId id, const op::Permute& o) {
  const ValueId x = graph_[id].inputs[0];
  if (strides_suffice(id)) return buffers_.need_until(x, buffers_.last_use(id));
  const Shape& shape = graph_.shape(x);
  define(id);
  const Shape strides = contiguous_strides(graph_.shape(id));
  Shape y_strides(shape.size());  // along x's axes
  for (std::size_t i = 0; i < o.order.size(); ++i) y_strides[o.order[i]] = strides[i];
  const Place from = place(x);
  if (!from.blocked)
    return move(id, flat(from, x), flat(places_[id], id), shape, contiguous_strides(shape), y_strides);
  const Operand a = image(from, shape);
  Operand y = planes(places_[id], shape);
  y.view.sn = y_strides[0];
  y.view.sb = y_strides[1];
  y.view.sh = y_strides[2];
  y.view.sw = y_strides[3];
  emit_bits(id, {a, y}, [=]<class T>(void* const* b) { fastconv::copy<T>(a.at<const T>(b), y.at<T>(b)); });
}

void Lowering::lower(ValueId id, const op::Slice& o) {
  const ValueId x = graph_[id].inputs[0];
  Shape shape = graph_.shape(id), strides, start = o.start;
  Place from = as(x, blocked_[id]);
  define(id);
  Shape y_strides = contiguous_strides(shape);
  if (blocked_[id]) {  // as arrays (n, blocks, h, w, block)
    const TensorView<void> xv = image(from, graph_.shape(x)).view, yv = image(id).view;
    shape = {shape[0], ceil_div(shape[1], yv.block), shape[2], shape[3], yv.block};
    start[1] /= yv.block;
    strides = {xv.sn, xv.sb, xv.sh, xv.sw, 1};
    y_strides = {yv.sn, yv.sb, yv.sh, yv.sw, 1};
  } else {
    strides = contiguous_strides(graph_.shape(x));
  }
  for (std::size_t i = 0; i < start.size(); ++i) {
    if (checked_size(shape) > 0) from.offset += start[i] * strides[i];
    if (graph_.shape(id)[i] > 1) strides[i] *= o.step[i];  // else the step may be anything
  }
  move(id, flat(from, id), flat(places_[id], id), shape, strides, y_strides);
}

void Lowering::lower(ValueId id, const op::Concat& o) {
  define(id);
  const Shape& shape = graph_.shape(id);
  const Shape strides = contiguous_strides(shape);
  index_t start = 0;
  for (const ValueId part : graph_[id].inputs) {
    const Shape& own = graph_.shape(part);
    Place to = places_[id];
    to.offset += blocked_[id] ? start * shape[2] * shape[3] : start * strides[o.axis];
    start += own[o.axis];
    if (places_.is_there(part, to) || checked_size(own) == 0) continue;
    if (blocked_[id]) {
      const Operand x = image(as(part, true), own), y = image(to, own);
      emit_bits(id, {x, y}, [=]<class T>(void* const* b) { fastconv::copy<T>(x.at<const T>(b), y.at<T>(b)); });
    } else if (blocked_[part]) {
      const Operand x = image(part);
      Operand y = planes(to, own);
      y.view.sn = strides[0];
      y.view.sb = strides[1];
      y.view.sh = strides[2];
      y.view.sw = strides[3];
      emit_bits(id, {x, y}, [=]<class T>(void* const* b) { fastconv::copy<T>(x.at<const T>(b), y.at<T>(b)); });
    } else {
      move(id, flat(as(part, false), part), flat(to, part), own, contiguous_strides(own), strides);
    }
  }
}

void Lowering::lower(ValueId id, const op::Pad& o) {
  const ValueId x = graph_[id].inputs[0];
  const Shape &shape = graph_.shape(x), &padded = graph_.shape(id);
  std::vector<std::vector<index_t>> maps;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    std::vector<index_t>& map = maps.emplace_back(padded[axis]);
    for (index_t i = 0; i < padded[axis]; ++i) {
      const index_t last = shape[axis] - 1, at = i - o.before[axis];
      if (o.mode == op::Pad::Mode::reflect)
        map[i] = at < 0 ? -at : at > last ? 2 * last - at : at;
      else if (o.mode == op::Pad::Mode::replicate)
        map[i] = at < 0 ? 0 : at > last ? last : at;
      else
        map[i] = at > last ? -1 : at;
    }
  }
  const Operand a = flat(as(x, false), x);
  define(id);
  const Operand y = flat(places_[id], id);
  emit_bits(id, {a, y}, [=, maps = std::move(maps), value = bits_of(o.value, graph_.dtype(id)), xs = contiguous_strides(shape),
                         ys = contiguous_strides(padded)]<class T>(void* const* b) {
    T typed;
    std::memcpy(&typed, &value, sizeof(T));
    gather<T>(maps, xs, ys, a.data<T>(b), y.data<T>(b), typed);
  });
}

void Lowering::lower(ValueId id, const op::ChannelShuffle& o) {
  const Shape& s = graph_.shape(id);
  const ValueId x = graph_[id].inputs[0];
  const Operand a = flat(as(x, false), x);
  define(id);
  const index_t plane = s[2] * s[3], depth = s[1] / o.groups;
  move(id, a, flat(places_[id], id), {s[0], o.groups, depth, plane}, {s[1] * plane, depth * plane, plane, 1},
       {s[1] * plane, plane, o.groups * plane, 1});
}

void Lowering::lower(ValueId id, const op::PixelShuffle& o) {
  const ValueId x = graph_[id].inputs[0];
  const Operand a = flat(as(x, false), x);
  define(id);
  const BlocksOfPixels s(graph_.shape(id), o.upscale, o.mode);
  move(id, a, flat(places_[id], id), s.sizes, s.of_channels, s.of_pixels);
}

void Lowering::lower(ValueId id, const op::PixelUnshuffle& o) {
  const ValueId x = graph_[id].inputs[0];
  const Operand a = flat(as(x, false), x);
  define(id);
  const BlocksOfPixels s(graph_.shape(x), o.downscale, o.mode);
  move(id, a, flat(places_[id], id), s.sizes, s.of_pixels, s.of_channels);
}

void Lowering::lower(ValueId id, const op::Take& o) {
  const ValueId x = graph_[id].inputs[0];
  const Shape s = around(x, o.axis, o.axis + 1);
  const Operand a = flat(as(x, false), x);
  define(id);
  const Operand y = flat(places_[id], id);
  emit_bits(id, {a, y}, [=, indices = o.indices]<class T>(void* const* b) {
    fastconv::take<T>(a.data<T>(b), y.data<T>(b), s[0], s[1], s[3], indices);
  });
}

void Lowering::lower(ValueId id, const op::Tile& o) {
  const ValueId x = graph_[id].inputs[0];
  const Shape& shape = graph_.shape(x);
  const Operand a = flat(as(x, false), x);
  define(id);
  const Shape from = contiguous_strides(shape), to = contiguous_strides(graph_.shape(id));
  Shape sizes, x_strides, y_strides;  // of (repeats, size) for each axis
  for (std::size_t i = 0; i < shape.size(); ++i) {
    sizes.insert(sizes.end(), {o.repeats[i], shape[i]});
    x_strides.insert(x_strides.end(), {0, from[i]});
    y_strides.insert(y_strides.end(), {shape[i] * to[i], to[i]});
  }
  move(id, a, flat(places_[id], id), sizes, x_strides, y_strides);
}

}  // namespace fastconv
