// Operators on calls that come as most do (plain.h). What an array has of another shape than it
// should is Python's to refuse.
#include <pybind11/stl.h>

#include "bindings/plain.h"

#include "bindings/bindings.h"
#include "bindings/options.h"
#include "fastconv/op/activate.h"
#include "fastconv/op/matmul.h"
#include "fastconv/ops.h"

namespace fastconv::bindings {
namespace {

constexpr PlainSignature kUnary{{"x", "out"}, /*operands=*/1, /*required=*/1, /*places=*/1};
constexpr PlainSignature kBinary{{"a", "b", "out"}, /*operands=*/2, /*required=*/2, /*places=*/2};

py::object matmul_plain(const py::tuple& args, const py::dict& kwargs) {
  const PlainCall call(kBinary, args, kwargs);
  if (!call) return not_implemented();
  const py::array a = call.array(0), b = call.array(1);
  const Shape a_shape = shape_of(a), b_shape = shape_of(b);
  Shape shape = op::matmul_shape(a_shape, b_shape);
  std::optional<py::array> out = call.result(shape);
  if (!out) return not_implemented();
  dispatch(a, [&]<class T>(T) {
    MatmulGeometry g = matmul_geometry(a_shape, strides_in<T>(a), b_shape, strides_in<T>(b), std::move(shape));
    const T *p = static_cast<const T*>(a.data()), *q = static_cast<const T*>(b.data());
    T* y = static_cast<T*>(out->mutable_data());
    const py::gil_scoped_release release;
    matmul(std::move(g), p, q, y, /*exact=*/false);
  });
  return *out;
}

py::object activate_plain(const Activation& activation, const py::tuple& args, const py::dict& kwargs) {
  const PlainCall call(kUnary, args, kwargs);
  if (!call || !PlainCall::is_contiguous(call.array(0))) return not_implemented();
  const py::array x = call.array(0);
  std::optional<py::array> out = call.result(shape_of(x), /*inplace=*/{0});
  if (!out) return not_implemented();
  dispatch(x, [&]<class T>(T) {
    const T* from = static_cast<const T*>(x.data());
    T* to = static_cast<T*>(out->mutable_data());
    const py::gil_scoped_release release;
    activate(activation, from, to, x.size());
  });
  return *out;
}

// An instruction of one or two floats whose result is a float, on arrays of one shape.
py::object instruction_plain(const PointwiseProgram& program, const py::tuple& args, const py::dict& kwargs) {
  const bool two = program.inputs == 2;
  const PlainCall call(two ? kBinary : kUnary, args, kwargs);
  if (!call) return not_implemented();
  const Shape shape = shape_of(call.array(0));
  if (two && !PlainCall::has_shape(call.array(1), shape)) return not_implemented();
  std::optional<py::array> out = two ? call.result(shape, /*inplace=*/{0, 1}) : call.result(shape, /*inplace=*/{0});
  if (!out) return not_implemented();
  dispatch(*out, [&]<class T>(T) {
    std::vector<Shape> strides;
    std::vector<void*> data;
    for (int i = 0; i < program.inputs; ++i) {
      const py::array x = call.array(static_cast<std::size_t>(i));
      strides.push_back(strides_in<T>(x));
      data.push_back(const_cast<void*>(x.data()));
    }
    strides.push_back(strides_in<T>(*out));
    data.push_back(out->mutable_data());
    const py::gil_scoped_release release;
    pointwise<T>(program, shape, strides)(data.data());
  });
  return *out;
}

}  // namespace

void bind_plain(py::module_& m) {
  m.def("matmul_plain", &matmul_plain);
  m.def("activate_plain", [](const std::string& name) {
    const Activation activation = op::Activate{parse_activation(name).kind}.activation();
    return py::cpp_function([activation](const py::tuple& args, const py::dict& kwargs) {
      return activate_plain(activation, args, kwargs);
    });
  });
  m.def("instruction_plain", [](const std::string& name, int operands) {
    const PointwiseProgram program = PointwiseProgram::from_text(name + (operands == 1 ? "(x0)" : "(x0, x1)"));
    return py::cpp_function([program](const py::tuple& args, const py::dict& kwargs) {
      return instruction_plain(program, args, kwargs);
    });
  });
}

}  // namespace fastconv::bindings
