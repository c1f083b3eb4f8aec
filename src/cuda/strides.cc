#include "cuda/strides.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace fastconv::cuda {

Order logical_order(std::size_t rank) {
  Order order(rank);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

Order memory_order(const Shape& shape, const Shape& strides) {
  Order order = logical_order(shape.size());
  // Where an axis of one element stands does not matter: it stays behind the axis before it.
  Shape reach(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i)
    reach[i] = shape[i] > 1 ? std::abs(strides[i]) : i > 0 ? reach[i - 1] : INT64_MAX;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return reach[a] > reach[b]; });
  return order;
}

Shape dense_strides(const Shape& shape, const Order& order) {
  Shape strides(shape.size());
  index_t stride = 1;
  for (auto axis = order.rbegin(); axis != order.rend(); ++axis) {
    strides[*axis] = stride;
    stride *= std::max<index_t>(shape[*axis], 1);
  }
  return strides;
}

bool is_dense(const Shape& shape, const Shape& strides) {
  const Shape dense = dense_strides(shape, memory_order(shape, strides));
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (shape[i] > 1 && strides[i] != dense[i]) return false;
  return true;
}

std::optional<Run> merged(const Shape& shape, const Shape& strides, const Order& axes) {
  Run run;
  for (const int axis : axes) {
    if (shape[axis] == 1) continue;
    if (run.size != 1 && run.stride != strides[axis] * shape[axis]) return {};
    run = {run.size * shape[axis], strides[axis]};
  }
  return run;
}

std::optional<Shape> reshaped_strides(const Shape& shape, const Shape& strides, const Shape& wanted) {
  Shape result(wanted.size(), 1);
  if (checked_size(shape) == 0) return result;
  std::size_t from = 0, to = 0;
  while (true) {  // the shortest groups of axes that have equally many elements
    while (from < shape.size() && shape[from] == 1) ++from;
    while (to < wanted.size() && wanted[to] == 1) ++to;
    if (from == shape.size() || to == wanted.size()) return result;
    Order axes{static_cast<int>(from)};
    std::size_t end = to + 1;
    index_t have = shape[from++], want = wanted[to];
    while (have != want) {
      if (have < want) {
        axes.push_back(static_cast<int>(from));
        have *= shape[from++];
      } else {
        want *= wanted[end++];
      }
    }
    const std::optional<Run> run = merged(shape, strides, axes);
    if (!run) return {};
    index_t stride = run->stride;
    for (std::size_t i = end; i-- > to;) {
      result[i] = stride;
      stride *= wanted[i];
    }
    to = end;
  }
}

std::optional<Around> around(const Shape& shape, const Shape& strides, const std::vector<int>& axes) {
  Around result;
  Order middle;
  for (const int axis : memory_order(shape, strides)) {
    if (shape[axis] == 1) continue;
    if (std::find(axes.begin(), axes.end(), axis) == axes.end())
      (middle.empty() ? result.outer_axes : result.inner_axes).push_back(axis);
    else if (result.inner_axes.empty())
      middle.push_back(axis);
    else
      return {};
  }
  const auto outer = merged(shape, strides, result.outer_axes), count = merged(shape, strides, middle),
             inner = merged(shape, strides, result.inner_axes);
  if (!outer || !count || !inner) return {};
  result.outer = *outer;
  result.count = *count;
  result.inner = *inner;
  return result;
}

}  // namespace fastconv::cuda
