#include "cpu/layouts.h"

#include <algorithm>

namespace fastconv {
namespace {

bool full(const op::Slice& slice, const Shape& x, int axis) {
  return slice.start[axis] == 0 && slice.stop[axis] == x[axis] && slice.step[axis] == 1;
}

// Whether each part of a concatenation starts with a block.
bool concat_fits_blocks(const Graph& graph, const Node& node) {
  const index_t block = channel_block(node.dtype);
  index_t channel = 0;
  for (const ValueId part : node.inputs) {
    if (channel % block != 0) return false;
    channel += graph.shape(part)[1];
  }
  return true;
}

}  // namespace

std::vector<bool> choose_blocked(const Graph& graph) {
  const std::vector<int> uses = graph.use_counts();
  std::vector<bool> is_output(graph.size()), blocked(graph.size());
  for (const ValueId id : graph.outputs()) is_output[id] = true;
  for (ValueId id = 0; id < graph.size(); ++id) {
    const Node& node = graph[id];
    if (node.shape.size() != 4 || node.inputs.empty() || !is_computed_in(node.dtype)) continue;
    const ValueId x = node.inputs[0];
    if (node.as<op::Conv2d>() || node.as<op::ConvTranspose2d>()) {
      blocked[id] = !(is_output[id] && uses[id] == 1);  // the last one writes the output itself
    } else if (node.as<op::Pointwise>()) {
      const auto is_float = [&](ValueId input) { return is_computed_in(graph.dtype(input)); };  // masks have no blocks
      if (!std::all_of(node.inputs.begin(), node.inputs.end(), is_float)) continue;
      for (const ValueId input : node.inputs)
        if (blocked[input] && graph.shape(input) == node.shape) blocked[id] = true;
    } else if (const auto* concat = node.as<op::Concat>()) {
      blocked[id] = concat->axis == 1 && concat_fits_blocks(graph, node) &&
                    std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) { return blocked[input]; });
    } else if (const auto* slice = node.as<op::Slice>()) {
      blocked[id] = blocked[x] && slice->step[1] == 1 && slice->start[1] % channel_block(node.dtype) == 0;
    } else if (keeps_layout(node.op)) {
      blocked[id] = blocked[x];
    }
  }
  return blocked;
}

bool is_view(const Graph& graph, ValueId id, const std::vector<bool>& blocked) {
  const Node& node = graph[id];
  if (node.as<op::Reshape>()) {
    const ValueId x = node.inputs[0];
    if (!blocked[x]) return true;
    // Blocks of single pixels lie as plain channels do, where there is no padding.
    const Shape& shape = graph.shape(x);
    return shape[2] == 1 && shape[3] == 1 && shape[1] % channel_block(node.dtype) == 0;
  }
  const auto* slice = node.as<op::Slice>();
  if (!slice || node.shape.empty()) return false;
  const Shape& x = graph.shape(node.inputs[0]);
  if (slice->step[0] != 1 || blocked[node.inputs[0]] != blocked[id]) return false;
  for (std::size_t axis = blocked[id] ? 2 : 1; axis < x.size(); ++axis)
    if (!full(*slice, x, static_cast<int>(axis))) return false;
  return true;  // whole images, or whole blocks of channels
}

std::vector<bool> writes_blocks(const Graph& graph, const std::vector<bool>& blocked) {
  std::vector<bool> writes(graph.size());
  for (ValueId id = 0; id < graph.size(); ++id) writes[id] = blocked[id] && !is_view(graph, id, blocked);
  return writes;
}

}  // namespace fastconv
