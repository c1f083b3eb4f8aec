// Moves between strided arrays of any rank: what permutations, slices, concatenations and pads are
// made of.
#pragma once

#include <algorithm>
#include <vector>

#include "fastconv/ops.h"

namespace fastconv {

// The copy y[i, j, ...] = x[i, j, ...], its axes merged where they lie together, so that few
// remain.
class StridedCopy {
 public:
  StridedCopy(const Shape& shape, const Shape& x_strides, const Shape& y_strides) {
    for (std::size_t i = 0; i < shape.size(); ++i) {
      if (shape[i] == 1) continue;
      if (!axes_.empty() && axes_.back().x == x_strides[i] * shape[i] && axes_.back().y == y_strides[i] * shape[i])
        axes_.back() = {axes_.back().size * shape[i], x_strides[i], y_strides[i]};
      else
        axes_.push_back({shape[i], x_strides[i], y_strides[i]});
    }
    while (axes_.size() < 4) axes_.insert(axes_.begin(), {1, 0, 0});
  }

  template <class T>
  void run(const T* x, T* y) const {
    run_from(0, x, y);
  }

 private:
  struct Axis {
    index_t size, x, y;
  };

  template <class T>
  void run_from(std::size_t axis, const T* x, T* y) const {
    if (axes_.size() - axis > 4) {
      for (index_t i = 0; i < axes_[axis].size; ++i) run_from(axis + 1, x + i * axes_[axis].x, y + i * axes_[axis].y);
      return;
    }
    const Axis &n = axes_[axis], &c = axes_[axis + 1], &h = axes_[axis + 2], &w = axes_[axis + 3];
    copy<T>(TensorView<const T>{x, n.size, c.size, h.size, w.size, 1, n.x, c.x, h.x, w.x, 0},
            TensorView<T>{y, n.size, c.size, h.size, w.size, 1, n.y, c.y, h.y, w.y, 0});
  }

  std::vector<Axis> axes_;
};

// y[i, j, ...] = x[maps[0][i], maps[1][j], ...] for contiguous arrays; `value` where an index is
// negative.
template <class T>
void gather(const std::vector<std::vector<index_t>>& maps, const Shape& x_strides, const Shape& y_strides, const T* x, T* y,
            T value, std::size_t axis = 0) {
  if (axis == maps.size()) {
    *y = *x;
    return;
  }
  const bool last = axis + 1 == maps.size();
  for (std::size_t i = 0; i < maps[axis].size(); ++i) {
    const index_t from = maps[axis][i];
    T* to = y + static_cast<index_t>(i) * y_strides[axis];
    if (last)
      *to = from < 0 ? value : x[from];
    else if (from < 0)
      std::fill(to, to + y_strides[axis], value);
    else
      gather(maps, x_strides, y_strides, x + from * x_strides[axis], to, value, axis + 1);
  }
}

}  // namespace fastconv
