// Calls as most come: of arrays in which there is nothing to convert and nothing to refuse. Native code tries every call of some
// operators first (ops/_native.py), and returns NotImplemented where Python has to look closer. Python has the rules
// (ops/_operands.py): nothing may be taken here that they would convert or refuse, and what is in doubt is left to them.
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
  PlainCall(const PlainSignature& signature, const py::args& args, const py::kwargs& kwargs) : signature_(signature) {
    plain_ = take(args, kwargs);
    for (std::size_t i = 0; plain_ && i < signature.operands; ++i) {
      if (given_[i]) plain_ = is_plain(given_[i]) && array(i).dtype().is(array(0).dtype());
      else plain_ = i >= signature.required;
    }
    const py::handle out = given_[signature.operands];
    if (plain_ && out) plain_ = is_plain(out) && py::reinterpret_borrow<py::array>(out).dtype().is(array(0).dtype());
  }

  // Whether all arguments have been understood, and all arrays are plain ones of one dtype.
  explicit operator bool() const { return plain_; }

  // An argument; null where it was left out or is None.
  py::handle operator[](std::size_t parameter) const { return given_[parameter]; }
  py::array array(std::size_t operand) const { return py::reinterpret_borrow<py::array>(given_[operand]); }
  std::optional<py::array> optional_array(std::size_t operand) const {
    return given_[operand] ? std::optional(array(operand)) : std::nullopt;
  }

  // `out`, or a new array where none was passed; nothing where `out` is not C-contiguous, of another shape or not known to be
  // apart from all operands. The operands `inplace` may be what `out` is.
  std::optional<py::array> result(const Shape& shape, std::initializer_list<std::size_t> inplace = {}) const {
    if (!given_[signature_.operands]) return new_array(shape, dtype_of_array(array(0)));
    py::array out = array(signature_.operands);
    if (!out.writeable() || !is_contiguous(out) || shape_of(out) != shape) return {};
    for (std::size_t i = 0; i < signature_.operands; ++i) {
      if (!given_[i]) continue;
      const py::array operand = array(i);
      const bool same = operand.data() == out.data() && is_contiguous(operand) && shape_of(operand) == shape;
      const bool may_be_same = std::find(inplace.begin(), inplace.end(), i) != inplace.end();
      if (!(same && may_be_same) && overlap(operand, out)) return {};
    }
    return out;
  }

  static bool is_contiguous(const py::array& array) { return array.flags() & py::array::c_style; }

 private:
  bool take(const py::args& args, const py::kwargs& kwargs) {
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

  // An array of NumPy's own class, of floats in native byte order that are aligned and at whole distances.
  static bool is_plain(py::handle argument) {
    if (!argument || Py_TYPE(argument.ptr()) != py::detail::npy_api::get().PyArray_Type_) return false;
    const auto array = py::reinterpret_borrow<py::array>(argument);
    const py::dtype dtype = array.dtype();
    if (!dtype.is(py::dtype::of<float>()) && !dtype.is(py::dtype::of<double>())) return false;
    if (reinterpret_cast<std::uintptr_t>(array.data()) % array.itemsize() != 0) return false;
    for (int axis = 0; axis < array.ndim(); ++axis)
      if (array.strides(axis) % array.itemsize() != 0) return false;
    return true;
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
  bool plain_;
  std::array<py::handle, 6> given_;
};

}  // namespace fastconv::bindings
