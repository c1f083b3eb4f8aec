// NumPy arrays as views. Python has already seen to it that an array is aligned, in native byte order and float32 or
// float64 (ops/_operands.py), so what fails here is a mistake inside fastconv.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fastconv/memory.h"
#include "fastconv/tensor.h"

namespace fastconv::bindings {

namespace py = pybind11;

inline Shape shape_of(const py::array& array) { return Shape(array.shape(), array.shape() + array.ndim()); }

inline DType dtype_of_array(const py::array& array) {
  if (array.dtype().kind() == 'f' && array.itemsize() == 4) return DType::f32;
  if (array.dtype().kind() == 'f' && array.itemsize() == 8) return DType::f64;
  throw py::type_error("expected an array of float32 or float64");
}

template <class T>
void check_array(const py::array& array, const char* name) {
  if (dtype_of_array(array) != dtype_of<T>)
    throw py::type_error(std::string(name) + " has another dtype than the other arrays");
  if (reinterpret_cast<std::uintptr_t>(array.data()) % sizeof(T) != 0)
    throw py::type_error(std::string(name) + " is not aligned");
}

// A 4-d array as a strided view.
template <class T>
TensorView<const T> view4(const py::array& array, const char* name) {
  check_array<T>(array, name);
  if (array.ndim() != 4)
    throw std::invalid_argument(std::string(name) + " must have 4 dimensions, got shape " + to_string(shape_of(array)));
  index_t strides[4];
  for (int axis = 0; axis < 4; ++axis) {
    const index_t bytes = array.strides(axis);
    // The stride of a dimension of size 1 (or of an empty array) is arbitrary.
    strides[axis] = array.shape(axis) <= 1 || array.size() == 0 ? 0 : bytes / static_cast<index_t>(sizeof(T));
    if (strides[axis] * static_cast<index_t>(sizeof(T)) != bytes && array.shape(axis) > 1 && array.size() != 0)
      throw py::type_error(std::string(name) + " has strides that are no multiple of its item size");
  }
  return {static_cast<const T*>(array.data()), array.shape(0), array.shape(1), array.shape(2), array.shape(3), 1,
          strides[0], strides[1], strides[2], strides[3], 0};
}

template <class T>
TensorView<T> mutable_view4(py::array& array, const char* name) {
  const TensorView<const T> v = view4<T>(array, name);
  return {static_cast<T*>(array.mutable_data()), v.n, v.c, v.h, v.w, v.block, v.sn, v.sb, v.sh, v.sw, v.lane};
}

// The data of an array that must be C-contiguous; null for None.
template <class T>
const T* contiguous_data(const py::array& array, const char* name) {
  check_array<T>(array, name);
  if (!(array.flags() & py::array::c_style)) throw py::type_error(std::string(name) + " must be C-contiguous");
  return static_cast<const T*>(array.data());
}
template <class T>
const T* contiguous_data(const std::optional<py::array>& array, const char* name) {
  return array ? contiguous_data<T>(*array, name) : nullptr;
}

// A new C-contiguous array. Large ones live in recycled memory: the page faults of fresh memory cost as much as many a
// convolution. Throws ValueError on overflow and MemoryError where there is no memory.
template <class T>
py::array new_array(const Shape& shape) {
  constexpr std::size_t kRecycled = std::size_t{64} << 10;
  const std::size_t bytes = static_cast<std::size_t>(checked_size(shape, sizeof(T))) * sizeof(T);
  const std::vector<py::ssize_t> sizes(shape.begin(), shape.end());
  if (bytes < kRecycled) return py::array_t<T>(sizes);
  auto memory = std::make_unique<Scratch>(bytes);
  T* data = memory->as<T>();
  const py::capsule owner(memory.release(), [](void* scratch) { delete static_cast<Scratch*>(scratch); });
  return py::array_t<T>(sizes, data, owner);
}

// For each output of a network, from the first on: the C-contiguous array to write it to, or None for a new one.
using Outs = std::vector<std::optional<py::array>>;

// The array that a network writes its output i to.
template <class T>
py::array output_array(const Outs& outs, std::size_t i, const Shape& shape) {
  if (i >= outs.size() || !outs[i]) return new_array<T>(shape);
  contiguous_data<T>(*outs[i], "out");
  if (shape_of(*outs[i]) != shape) throw py::type_error("out does not have the output's shape");
  return *outs[i];
}

// Calls f(T{}) with T = float or double, after the dtype of `array`.
template <class F>
auto dispatch(const py::array& array, F&& f) {
  return dtype_of_array(array) == DType::f32 ? f(float{}) : f(double{});
}

}  // namespace fastconv::bindings
