// Shape inference: each operator checks its inputs and says what its result's shape is.
#include <algorithm>
#include <limits>

#include "fastconv/error.h"
#include "fastconv/graph.h"
#include "fastconv/ops.h"

namespace fastconv {
namespace {

using Inputs = std::vector<ValueId>;

struct Infer {
  const Graph& graph;
  const Inputs& inputs;
  const char* name;

  const Shape& x(std::size_t i = 0) const {
    if (i >= inputs.size() || inputs[i] == kNone) fail(name, ": input ", i, " is missing");
    return graph.shape(inputs[i]);
  }
  bool has(std::size_t i) const { return i < inputs.size() && inputs[i] != kNone; }
  const Shape& image() const {
    if (x().size() != 4) fail(name, ": x must have shape (N, C, H, W), got ", to_string(x()));
    return x();
  }
  void channels() const {
    if (image()[1] < 1) fail(name, ": x must have at least one channel, got shape ", to_string(x()));
  }
  Shape resized(std::array<index_t, 2> size) const {
    channels();
    if (x()[2] < 1 || x()[3] < 1) fail(name, ": x has no pixels: shape ", to_string(x()));
    checked_size({x()[0], x()[1], size[0], size[1]}, sizeof(double));
    return {x()[0], x()[1], size[0], size[1]};
  }
  const Shape& weights(std::size_t i, const char* what) const {
    if (!has(i)) fail(name, ": ", what, " is missing");
    if (!graph.is_constant(inputs[i])) fail(name, ": ", what, " must be an array, not a symbolic value");
    return graph.shape(inputs[i]);
  }
  void vector(std::size_t i, index_t size, const char* what) const {
    if (!has(i)) return;
    const Shape& shape = weights(i, what);
    if (shape != Shape{size}) fail(name, ": ", what, " must have shape ", to_string({size}), ", got ", to_string(shape));
  }
  void residual(std::size_t i, const Shape& y) const {
    if (has(i) && x(i) != y)
      fail(name, ": residual must have the output's shape ", to_string(y), ", got ", to_string(x(i)));
  }
  void axis(int at) const {
    if (at < 0 || at >= static_cast<int>(x().size()))
      fail(name, ": axis ", at, " is out of range for shape ", to_string(x()));
  }

  Shape operator()(const op::Input&) const { return {}; }
  Shape operator()(const op::Constant&) const { return {}; }

  Shape operator()(const op::Conv2d& o) const {
    const ConvGeometry g =
        conv_geometry(x(0), weights(1, "weight"), o.stride,
                      {Padding::Mode::explicit_sizes, o.padding[0], o.padding[1], o.padding[2], o.padding[3]}, o.dilation,
                      o.groups);
    vector(2, g.out_channels, "bias");
    Shape y{x()[0], g.out_channels, g.out_h, g.out_w};
    residual(3, y);
    return y;
  }

  Shape operator()(const op::ConvTranspose2d& o) const {
    const ConvGeometry g = conv_transpose_geometry(x(0), weights(1, "weight"), o.stride, o.padding, o.output_padding,
                                                   o.dilation, o.groups);
    vector(2, g.in_channels, "bias");
    return {x()[0], g.in_channels, g.in_h, g.in_w};
  }

  Shape operator()(const op::Linear&) const {
    const Shape& w = weights(1, "weight");
    if (w.size() != 2) fail(name, ": weight must have shape (out_features, in_features), got ", to_string(w));
    if (x().empty() || x().back() != w[1])
      fail(name, ": weight has ", w[1], " input features but x has shape ", to_string(x()),
           ": expected x.shape[-1] == ", w[1]);
    if (x().size() > 4) fail(name, ": x may have up to 4 dimensions here, got shape ", to_string(x()), ": reshape it");
    vector(2, w[0], "bias");
    Shape y = x();
    y.back() = w[0];
    residual(3, y);
    return y;
  }

  Shape operator()(const op::BatchNorm&) const {
    if (x().size() < 2) fail(name, ": x must have shape (N, C, ...), got ", to_string(x()));
    const char* what[] = {"running_mean", "running_var", "weight", "bias"};
    weights(1, what[0]);
    weights(2, what[1]);
    for (std::size_t i = 1; i <= 4; ++i) vector(i, x()[1], what[i - 1]);
    return x();
  }

  Shape operator()(const op::ScaleShift& o) const {
    axis(o.axis);
    weights(1, "scale");
    weights(2, "shift");
    vector(1, x()[o.axis], "scale");
    vector(2, x()[o.axis], "shift");
    return x();
  }

  Shape operator()(const op::LayerNorm& o) const {
    if (o.begin < 0 || o.begin >= o.end || o.end > static_cast<int>(x().size()))
      fail(name, ": normalized_shape has more dimensions than x of shape ", to_string(x()));
    const Shape normalized(x().begin() + o.begin, x().begin() + o.end);
    for (std::size_t i = 1; i <= 2; ++i)
      if (has(i) && weights(i, "weight") != normalized)
        fail(name, ": ", i == 1 ? "weight" : "bias", " must have shape ", to_string(normalized), ", got ",
             to_string(graph.shape(inputs[i])));
    return x();
  }

  Shape operator()(const op::LocalResponseNorm& o) const {
    if (o.size < 1) fail(name, ": size must be at least 1, got ", o.size);
    return image();
  }
  Shape operator()(const op::Activate&) const { return x(); }

  Shape operator()(const op::Binary&) const {
    const Shape &a = x(0), &b = x(1);
    Shape y(std::max(a.size(), b.size()));
    for (std::size_t i = 0; i < y.size(); ++i) {  // from the last axis
      const index_t m = i < a.size() ? a[a.size() - 1 - i] : 1, n = i < b.size() ? b[b.size() - 1 - i] : 1;
      if (m != n && m != 1 && n != 1) fail(name, ": shapes ", to_string(a), " and ", to_string(b), " do not broadcast");
      y[y.size() - 1 - i] = m == 1 ? n : m;
    }
    return y;
  }

  Shape operator()(const op::Pool& o) const {
    channels();
    const auto [h, w] = pool_output_size({x()[2], x()[3]}, o.kernel, o.stride, o.padding, o.dilation, o.ceil_mode);
    return {x()[0], x()[1], h, w};
  }

  Shape operator()(const op::AdaptivePool& o) const {
    if (o.size[0] < 0 || o.size[1] < 0)
      fail(name, ": output_size must not be negative, got (", o.size[0], ", ", o.size[1], ")");
    return resized(o.size);
  }

  Shape operator()(const op::Mean& o) const {
    Shape y;
    for (const int at : o.axes) axis(at);
    for (int i = 0; i < static_cast<int>(x().size()); ++i) {
      const bool reduced = std::find(o.axes.begin(), o.axes.end(), i) != o.axes.end();
      if (!reduced || o.keepdims) y.push_back(reduced ? 1 : x()[i]);
    }
    return y;
  }

  Shape operator()(const op::Reshape& o) const {
    if (std::any_of(o.shape.begin(), o.shape.end(), [](index_t size) { return size < 0; }) ||
        checked_size(o.shape) != checked_size(x()))
      fail(name, ": shape ", to_string(x()), " has ", checked_size(x()), " elements, which do not fit ",
           to_string(o.shape));
    return o.shape;
  }

  Shape operator()(const op::Permute& o) const {
    std::vector<int> sorted = o.order;
    std::sort(sorted.begin(), sorted.end());
    bool good = sorted.size() == x().size();
    for (std::size_t i = 0; good && i < sorted.size(); ++i) good = sorted[i] == static_cast<int>(i);
    if (!good) fail(name, ": order must name each of the ", x().size(), " axes of x once");
    Shape y;
    for (const int at : o.order) y.push_back(x()[at]);
    return y;
  }

  Shape operator()(const op::Slice& o) const {
    const std::size_t rank = x().size();
    if (o.start.size() != rank || o.stop.size() != rank || o.step.size() != rank)
      fail(name, ": start, stop and step must have one element for each axis of ", to_string(x()));
    Shape y;
    for (std::size_t i = 0; i < rank; ++i) {
      const index_t start = o.start[i], stop = o.stop[i], step = o.step[i], size = x()[i];
      if (step == 0) fail(name, ": step must not be zero");
      if (step > 0 ? stop <= start : stop >= start) {
        y.push_back(0);
        continue;
      }
      // -1 is what lies before the first element.
      if (start < 0 || start >= size || stop < -1 || stop > size)
        fail(name, ": ", start, ":", stop, ":", step, " leaves axis ", i, " of shape ", to_string(x()));
      y.push_back(step > 0 ? (stop - start - 1) / step + 1 : (stop - start + 1) / step + 1);
    }
    return y;
  }

  Shape operator()(const op::Concat& o) const {
    Shape y = x(0);
    axis(o.axis);
    for (std::size_t i = 1; i < inputs.size(); ++i) {
      Shape other = x(i);
      if (other.size() == y.size()) {
        const index_t size = other[o.axis];
        other[o.axis] = y[o.axis];
        if (other == y) {
          y[o.axis] = checked_sum(y[o.axis], size);
          continue;
        }
      }
      fail(name, ": arrays[", i, "] of shape ", to_string(x(i)), " does not fit arrays[0] of shape ", to_string(x(0)),
           ": all axes but ", o.axis, " must agree");
    }
    return y;
  }

  Shape operator()(const op::Pad& o) const {
    Shape y = x();
    if (o.before.size() != y.size() || o.after.size() != y.size()) fail(name, ": pad must name each axis of x");
    for (std::size_t i = 0; i < y.size(); ++i) {
      const index_t before = o.before[i], after = o.after[i], size = y[i], most = std::max(before, after);
      if (before == 0 && after == 0) continue;
      if (std::min(before, after) < -kLargestArgument || most > kLargestArgument)
        fail(name, ": pad must be from -2**40 to 2**40, got (", before, ", ", after, ") for axis ", i);
      y[i] = checked_sum(size, before + after);
      const index_t cropped = std::max<index_t>(-before, 0) + std::max<index_t>(-after, 0);
      if (y[i] < 0 || (o.mode == op::Pad::Mode::constant && cropped > size))
        fail(name, ": pad crops more of axis ", i, " than its size ", size, ": (", before, ", ", after, ")");
      if (o.mode == op::Pad::Mode::reflect && most >= size)
        fail(name, ": pad must be below the size ", size, " of axis ", i, " to reflect, got (", before, ", ", after, ")");
      if (o.mode == op::Pad::Mode::replicate && size == 0)
        fail(name, ": axis ", i, " of x is empty: there is nothing to replicate");
    }
    return y;
  }

  Shape operator()(const op::Softmax& o) const {
    axis(o.axis);
    return x();
  }

  Shape operator()(const op::Interpolate& o) const {
    if (o.size[0] < 1 || o.size[1] < 1) fail(name, ": size must be at least 1, got (", o.size[0], ", ", o.size[1], ")");
    for (const double step : o.scale)
      if (!(step >= 0 && step < std::numeric_limits<double>::infinity()))
        fail(name, ": scale must be finite and not negative, got (", o.scale[0], ", ", o.scale[1], ")");
    return resized(o.size);
  }

  Shape operator()(const op::ChannelShuffle& o) const {
    if (o.groups < 1 || image()[1] % o.groups != 0)
      fail(name, ": groups = ", o.groups, " does not divide the ", x()[1], " channels of x");
    return x();
  }

  Shape operator()(const op::PixelShuffle& o) const {
    const index_t r = o.upscale, c = image()[1];
    if (r < 1 || r > kLargestArgument || c % r != 0 || c / r % r != 0)
      fail(name, ": upscale_factor must be positive and its square divide the ", c, " channels of x, got ", r);
    return {x()[0], c / r / r, checked_size({x()[2], r}), checked_size({x()[3], r})};
  }
};

}  // namespace

Shape infer_shape(const Graph& graph, const Operator& op, const Inputs& inputs) {
  return std::visit(Infer{graph, inputs, operator_name(op)}, op);
}

Shape as_image(const Shape& x) {
  switch (x.size()) {
    case 1: return {1, x[0], 1, 1};
    case 2: return {x[0], x[1], 1, 1};
    case 3: return {x[0], x[2], 1, x[1]};
    default: return {x[0], x[3], x[1], x[2]};
  }
}

ConvGeometry geometry_of(const Graph& graph, const Node& node) {
  const Shape &x = graph.shape(node.inputs[0]), &w = graph.shape(node.inputs[1]);
  if (const auto* o = node.as<op::Conv2d>())
    return conv_geometry(x, w, o->stride,
                         {Padding::Mode::explicit_sizes, o->padding[0], o->padding[1], o->padding[2], o->padding[3]},
                         o->dilation, o->groups);
  if (const auto* o = node.as<op::ConvTranspose2d>())
    return conv_transpose_geometry(x, w, o->stride, o->padding, o->output_padding, o->dilation, o->groups);
  return conv_geometry(as_image(x), {w[0], w[1], 1, 1}, {1, 1}, {}, {1, 1}, 1);
}

}  // namespace fastconv
