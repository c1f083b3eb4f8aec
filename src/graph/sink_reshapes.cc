// 1-d layers are 2-d ones on images of height 1, between reshapes from and to signals (n, c, l).
// What stands between two such layers works on the images as well: a reshape to signals is not
// carried out but remembered, operators are applied to the image before it, and only who cannot
// work so gets the signals. Layers then follow one another as those of images do.
#include <optional>

#include "graph/passes.h"

namespace fastconv {
namespace {

// A shape of at least two axes with the height that images have.
Shape with_height(Shape shape, index_t height = 1) {
  shape.insert(shape.end() - 1, height);
  return shape;
}

bool is_image_of(const Shape& image, const Shape& signals) {
  return image.size() == 4 && signals.size() == 3 && image == with_height(signals);
}

// The operator on images of height 1 that is `op` on signals; none where there is none.
std::optional<Operator> on_images(const Operator& op) {
  if (is_pointwise(op) || std::holds_alternative<op::BatchNorm>(op) || std::holds_alternative<op::GroupNorm>(op)) return op;
  if (const auto* given = std::get_if<op::Concat>(&op)) {
    op::Concat concat = *given;
    if (concat.axis == 2) concat.axis = 3;
    return concat;
  }
  if (const auto* given = std::get_if<op::Slice>(&op))
    return op::Slice{with_height(given->start, 0), with_height(given->stop), with_height(given->step)};
  if (const auto* given = std::get_if<op::Pad>(&op)) {
    op::Pad pad = *given;
    pad.before = with_height(pad.before, 0);
    pad.after = with_height(pad.after, 0);
    return pad;
  }
  if (const auto* given = std::get_if<op::Reduce>(&op); given && !given->axes.empty() && given->axes.back() == 2) {
    op::Reduce reduce = *given;
    reduce.axes.push_back(3);
    return reduce;
  }
  return std::nullopt;
}

class ReshapeSink {
 public:
  explicit ReshapeSink(const Graph& in) : r_(in), in_(in), images_(in.size(), kNone) {}

  Graph run() {
    for (ValueId id = 0; id < in_.size(); ++id) {
      if (sink(id)) continue;
      for (const ValueId input : in_[id].inputs) carry_out(input);
      r_.new_id[id] = r_.copy(id);
    }
    std::vector<ValueId> outputs;
    for (const ValueId id : in_.outputs()) {
      carry_out(id);
      outputs.push_back(r_.new_id[id]);
    }
    r_.out.set_outputs(std::move(outputs));
    return remove_dead(std::move(r_.out));
  }

 private:
  void carry_out(ValueId id) {
    if (id != kNone && r_.new_id[id] == kNone) r_.new_id[id] = r_.out.add(op::Reshape{in_.shape(id)}, {images_[id]}, in_[id].name);
  }

  // Whether node `id` was taken care of without carrying out its inputs' reshapes.
  bool sink(ValueId id) {
    const Node& node = in_[id];
    if (node.as<op::Reshape>()) {
      const ValueId image = images_[node.inputs[0]], x = image == kNone ? r_.new_id[node.inputs[0]] : image;
      if (is_image_of(r_.out.shape(x), node.shape)) images_[id] = x;
      else if (image == kNone) return false;
      else r_.new_id[id] = r_.out.shape(x) == node.shape ? x : r_.out.add(node.op, {x}, node.name);
      return true;
    }
    const auto remembered = [&](ValueId input) { return input != kNone && images_[input] != kNone; };
    if (std::none_of(node.inputs.begin(), node.inputs.end(), remembered)) return false;
    const auto has_height = [&](ValueId input) { return input != kNone && in_.shape(input).size() > 3; };
    if (std::any_of(node.inputs.begin(), node.inputs.end(), has_height)) return false;
    std::optional<Operator> op = on_images(node.op);
    if (!op) return false;
    const bool has_weights = node.as<op::BatchNorm>() || node.as<op::GroupNorm>();
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) inputs.push_back(has_weights && !inputs.empty() ? r_.mapped(input) : image(input));
    const ValueId y = r_.out.add(*std::move(op), std::move(inputs), node.name);
    (is_image_of(r_.out.shape(y), node.shape) ? images_ : r_.new_id)[id] = y;
    return true;
  }

  // The image of a value, which broadcasts as the value does.
  ValueId image(ValueId value) {
    const Shape& shape = in_.shape(value);
    if (images_[value] != kNone) return images_[value];
    if (shape.size() < 2) return r_.mapped(value);
    if (const auto* constant = in_[value].as<op::Constant>()) {
      const ValueId reshaped = r_.out.add_constant(with_height(shape), in_.dtype(value), constant->data, constant->scale);
      r_.out.set_name(reshaped, in_[value].name);
      return reshaped;
    }
    return r_.out.add(op::Reshape{with_height(shape)}, {r_.mapped(value)}, in_[value].name);
  }

  Rewriter r_;
  const Graph& in_;
  std::vector<ValueId> images_;  // by value of `in`: the image in `out` whose signals it is; its new_id is set once someone needs it
};

}  // namespace

Graph sink_reshapes(Graph graph) {
  const auto to_signals = [&](const Node& node) { return node.as<op::Reshape>() && is_image_of(graph.shape(node.inputs[0]), node.shape); };
  if (!any_node(graph, to_signals)) return graph;
  return ReshapeSink(graph).run();
}

}  // namespace fastconv
