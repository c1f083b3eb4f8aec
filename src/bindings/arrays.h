// NumPy arrays as views. Python has already seen to it that an array is aligned, in native byte
// order and of a dtype that the operator takes (ops/_operands.py), so what fails here is a mistake
// inside fastconv.
//
// NumPy has no bfloat16: here it is a structured dtype with one field of that name, [("bfloat16",
// np.uint16)], which holds the bits. Where the package ml_dtypes has registered its own, arrays of
// that are taken too.
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
#include "fastconv/words.h"

namespace fastconv::bindings {

namespace py = pybind11;

inline Shape shape_of(const py::array& array) { return Shape(array.shape(), array.shape() + array.ndim()); }

inline py::dtype numpy_dtype(DType dtype) {
  if (dtype == DType::f32) return py::dtype::of<float>();  // by its word it takes longer than a small convolution
  if (dtype == DType::f64) return py::dtype::of<double>();
  if (dtype != DType::bf16) return py::dtype(word(dtype));
  py::list field;
  field.append(py::make_tuple("bfloat16", "u2"));
  return py::dtype::from_args(field);
}

inline DType dtype_from(const py::dtype& dtype) {
  const py::object fields = dtype.attr("names");
  if (!fields.is_none()) {
    if (fields.equal(py::make_tuple("bfloat16")) && dtype.itemsize() == 2) return DType::bf16;
  } else if (dtype.attr("isnative").cast<bool>()) {
    const auto name = dtype.attr("name").cast<std::string>();
    for (std::size_t i = 0; i < Words<DType>::names.size(); ++i)
      if (name == Words<DType>::names[i]) return static_cast<DType>(i);
  }
  throw py::type_error("expected one of " + all_words<DType>() + ", got " + py::str(dtype).cast<std::string>());
}

inline DType dtype_of_array(const py::array& array) {
  const py::dtype dtype = array.dtype();
  if (dtype.kind() == 'f' && dtype.byteorder() == '=') {  // without names, for they take time
    if (dtype.itemsize() == 4) return DType::f32;
    if (dtype.itemsize() == 8) return DType::f64;
  }
  return dtype_from(dtype);
}

inline void check_array(const py::array& array, const char* name, DType dtype) {
  if (dtype_of_array(array) != dtype)
    throw py::type_error(std::string(name) + " must be " + word(dtype) + ", got " + py::str(array.dtype()).cast<std::string>());
  if (reinterpret_cast<std::uintptr_t>(array.data()) % item_size(dtype) != 0)
    throw py::type_error(std::string(name) + " is not aligned");
}

// Strides in elements; 0 where there is but one.
template <class T>
Shape strides_in(const py::array& array) {
  Shape strides(array.ndim());
  for (int axis = 0; axis < array.ndim(); ++axis)
    strides[axis] = array.shape(axis) > 1 ? array.strides(axis) / static_cast<index_t>(sizeof(T)) : 0;
  return strides;
}
template <class T>
Shape strides_of(const py::array& array, const char* name) {
  check_array(array, name, dtype_of<T>);
  return strides_in<T>(array);
}

// A 4-d array as a strided view.
template <class T>
TensorView<const T> view4(const py::array& array, const char* name) {
  check_array(array, name, dtype_of<T>);
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
inline const void* contiguous_data(const py::array& array, const char* name, DType dtype) {
  check_array(array, name, dtype);
  if (!(array.flags() & py::array::c_style)) throw py::type_error(std::string(name) + " must be C-contiguous");
  return array.data();
}
template <class T>
const T* contiguous_data(const py::array& array, const char* name) {
  return static_cast<const T*>(contiguous_data(array, name, dtype_of<T>));
}
template <class T>
const T* contiguous_data(const std::optional<py::array>& array, const char* name) {
  return array ? contiguous_data<T>(*array, name) : nullptr;
}

// A new C-contiguous array. Large ones live in recycled memory: the page faults of fresh memory
// cost as much as many a convolution. Throws ValueError on overflow and MemoryError where there is
// no memory.
inline py::array new_array(const Shape& shape, DType dtype) {
  constexpr std::size_t kRecycled = std::size_t{64} << 10;
  const std::size_t bytes = static_cast<std::size_t>(checked_size(shape, item_size(dtype))) * item_size(dtype);
  const std::vector<py::ssize_t> sizes(shape.begin(), shape.end());
  if (bytes < kRecycled) return py::array(numpy_dtype(dtype), sizes);
  auto memory = std::make_unique<Scratch>(bytes);
  const void* data = memory->as<void>();
  const py::capsule owner(memory.release(), [](void* scratch) { delete static_cast<Scratch*>(scratch); });
  return py::array(numpy_dtype(dtype), sizes, data, owner);
}
template <class T>
py::array new_array(const Shape& shape) {
  return new_array(shape, dtype_of<T>);
}

// For each output of a network, from the first on: the C-contiguous array to write it to, or None
// for a new one.
using Outs = std::vector<std::optional<py::array>>;

// The array that a network writes its output i to.
inline py::array output_array(const Outs& outs, std::size_t i, const Shape& shape, DType dtype) {
  if (i >= outs.size() || !outs[i]) return new_array(shape, dtype);
  contiguous_data(*outs[i], "out", dtype);
  if (shape_of(*outs[i]) != shape) throw py::type_error("out does not have the output's shape");
  return *outs[i];
}

// Calls f(T{}) with T = float or double, after the dtype of `array`.
template <class F>
auto dispatch(const py::array& array, F&& f) {
  switch (dtype_of_array(array)) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    default: throw py::type_error("expected an array of float32 or float64, got " + py::str(array.dtype()).cast<std::string>());
  }
}

}  // namespace fastconv::bindings
