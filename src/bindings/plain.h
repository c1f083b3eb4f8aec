// Calls as most come: of arrays in which there is nothing to convert and nothing to refuse. Native
// code tries every call of some operators first (ops/_native.py), and returns NotImplemented where
// Python has to look closer. Python has the rules (ops/_operands.py): nothing may be taken here
// that they would convert or refuse, and what is in doubt is left to them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>

#include "bindings/arrays.h"

namespace fastconv::bindings {

inline py::object not_implemented() { return py::reinterpret_borrow<py::object>(Py_NotImplemented); }

struct PlainSignature {
  std::array<const char*, 6> parameters;  // the operands, `out`, then others
  std::size_t operands;
  std::size_t required;  // so many operands must be there
  std::size_t places;    // so many arguments may come without a name
};

class PlainCall {
 public:
  PlainCall(const PlainSignature& signature, const py::tuple& args, const py::dict& kwargs) : signature_(signature) {
    if (!take(args, kwargs)) return;
    // Native floats have one dtype object each.
    static const PyObject *const f32 = py::dtype::of<float>().release().ptr(), *const f64 = py::dtype::of<double>().release().ptr();
    const PyObject* const dtype = dtype_of_argument(given_[0]);
    if (dtype != f32 && dtype != f64) return;
    for (std::size_t i = 0; i <= signature.operands; ++i)
      if (given_[i] ? dtype_of_argument(given_[i]) != dtype || !is_aligned(array(i)) : i < signature.required) return;
    plain_ = true;
  }

  // Whether all arguments have been understood, and all arrays are plain ones of one dtype.
  explicit operator bool() const { return plain_; }

  // An argument; null where it was left out or is None.
  py::handle operator[](std::size_t parameter) const { return given_[parameter]; }
  py::array array(std::size_t operand) const { return py::reinterpret_borrow<py::array>(given_[operand]); }
  std::optional<py::array> optional_array(std::size_t operand) const {
    return given_[operand] ? std::optional(array(operand)) : std::nullopt;
  }

  // `out`, or a new array where none was passed; nothing where `out` is not C-contiguous, of
  // another shape or not known to be apart from all operands. The operands `inplace` may be what
  // `out` is.
  std::optional<py::array> result(const Shape& shape, std::initializer_list<std::size_t> inplace = {}) const {
    if (!given_[signature_.operands]) return new_array(shape, dtype_of_array(array(0)));
    py::array out = array(signature_.operands);
    if (!out.writeable() || !is_contiguous(out) || !has_shape(out, shape)) return {};
    for (std::size_t i = 0; i < signature_.operands; ++i) {
      if (!given_[i]) continue;
      const py::array operand = array(i);
      const bool same = operand.data() == out.data() && is_contiguous(operand) && has_shape(operand, shape);
      const bool may_be_same = std::find(inplace.begin(), inplace.end(), i) != inplace.end();
      if (!(same && may_be_same) && overlap(operand, out)) return {};
    }
    return out;
  }

  static bool is_contiguous(const py::array& array) { return array.flags() & py::array::c_style; }
  static bool has_shape(const py::array& array, const Shape& shape) {
    return std::equal(shape.begin(), shape.end(), array.shape(), array.shape() + array.ndim());
  }

 private:
  bool take(const py::tuple& args, const py::dict& kwargs) {
    if (args.size() > signature_.places) return false;
    for (std::size_t i = 0; i < args.size(); ++i) given_[i] = PyTuple_GET_ITEM(args.ptr(), i);
    for (const auto& [key, value] : kwargs) {
      std::size_t i = 0;
      const auto& names = signature_.parameters;
      while (i < names.size() && names[i] && PyUnicode_CompareWithASCIIString(key.ptr(), names[i]) != 0) ++i;
      if (i == names.size() || !names[i] || given_[i]) return false;
      given_[i] = value;
    }
    for (py::handle& argument : given_)
      if (argument.is_none()) argument = {};
    return true;
  }

  // The dtype of an array of NumPy's own class; null for anything else.
  static PyObject* dtype_of_argument(py::handle argument) {
    if (!argument || Py_TYPE(argument.ptr()) != py::detail::npy_api::get().PyArray_Type_) return nullptr;
    return py::detail::array_proxy(argument.ptr())->descr;
  }

  // Whether all elements are aligned.
  static bool is_aligned(const py::array& array) {
    std::uintptr_t all = reinterpret_cast<std::uintptr_t>(array.data());
    for (int axis = 0; axis < array.ndim(); ++axis) all |= static_cast<std::uintptr_t>(array.strides(axis));
    return all % static_cast<std::uintptr_t>(array.itemsize()) == 0;
  }

  // Whether the addresses from the first to the last element of two arrays have some in common.
  static bool overlap(const py::array& a, const py::array& b) {
    if (a.size() == 0 || b.size() == 0) return false;
    const auto [a_begin, a_end] = bounds(a);
    const auto [b_begin, b_end] = bounds(b);
    return a_begin < b_end && b_begin < a_end;
  }
  static std::pair<std::intptr_t, std::intptr_t> bounds(const py::array& array) {
    std::intptr_t begin = reinterpret_cast<std::intptr_t>(array.data()), end = begin + array.itemsize();
    for (int axis = 0; axis < array.ndim(); ++axis) {
      const std::intptr_t reach = (array.shape(axis) - 1) * array.strides(axis);
      (reach < 0 ? begin : end) += reach;
    }
    return {begin, end};
  }

  const PlainSignature& signature_;
  bool plain_ = false;
  std::array<py::handle, 6> given_;
};

}  // namespace fastconv::bindings
