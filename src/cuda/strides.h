// Arithmetic on the strides of values: on the host, before anything runs.
#pragma once

#include <optional>
#include <vector>

#include "fastconv/tensor.h"

namespace fastconv::cuda {

using Order = std::vector<int>;  // axes, from the outermost in memory to the innermost

Order logical_order(std::size_t rank);                              // 0, 1, 2, ...
inline const Order kChannelsLast{0, 2, 3, 1};
Order memory_order(const Shape& shape, const Shape& strides);       // by falling strides
Shape dense_strides(const Shape& shape, const Order& order);        // of an array without gaps
bool is_dense(const Shape& shape, const Shape& strides);            // no gaps, in whatever order

// Axes that one stride walks through, as one axis; its stride is 0 where it has a single element.
struct Run {
  index_t size = 1, stride = 0;
};
// `axes` of an array, the outermost first, as one; none where no single stride does.
std::optional<Run> merged(const Shape& shape, const Shape& strides, const Order& axes);

// The strides with which an array looks as if it had another shape, elements in logical order; none
// where it cannot.
std::optional<Shape> reshaped_strides(const Shape& shape, const Shape& strides, const Shape& wanted);

// An array around some of its axes, as (outer, count, inner): which axes the outer and the inner
// ones are, in memory order.
struct Around {
  Run outer, count, inner;
  Order outer_axes, inner_axes;
};
// None where they do not lie so that three strides are enough.
std::optional<Around> around(const Shape& shape, const Shape& strides, const std::vector<int>& axes);

}  // namespace fastconv::cuda
