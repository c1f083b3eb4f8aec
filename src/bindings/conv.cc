#include "fastconv/conv.h"

#include <pybind11/stl.h>

#include <map>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/options.h"

namespace fastconv::bindings {
namespace {

struct ConvArguments {
  std::array<index_t, 2> stride, dilation;
  Padding padding;
  index_t groups;
  ConvOptions options;
};

ConvArguments conv_arguments(std::array<index_t, 2> stride, const py::object& padding, std::array<index_t, 2> dilation,
                             index_t groups, const std::string& activation, const std::string& algorithm,
                             const std::string& accuracy) {
  return {stride, dilation, parse_padding(padding), groups,
          {parse_activation(activation), parse_algorithm(algorithm), parse_accuracy(accuracy)}};
}

template <class T>
py::array run(const Conv2d<T>& conv, const py::array& x, const std::optional<py::array>& residual,
              std::optional<py::array>& out, index_t n) {
  const ConvGeometry& g = conv.geometry();
  py::array result = out ? *out : new_array<T>({n, g.out_channels, g.out_h, g.out_w});
  const TensorView<const T> xv = view4<T>(x, "x");
  const TensorView<T> yv = mutable_view4<T>(result, "out");
  std::optional<TensorView<const T>> rv;
  if (residual) rv = view4<T>(*residual, "residual");
  const py::gil_scoped_release release;
  conv.run(xv, rv ? &*rv : nullptr, yv);
  return result;
}

}  // namespace

void bind_conv(py::module_& m) {
  m.def("conv_output_shape",
        [](const Shape& x, const Shape& weight, std::array<index_t, 2> stride, const py::object& padding,
           std::array<index_t, 2> dilation, index_t groups) {
          const ConvGeometry g = conv_geometry(x, weight, stride, parse_padding(padding), dilation, groups);
          return Shape{x[0], g.out_channels, g.out_h, g.out_w};
        });
  m.def("conv2d", [](const py::array& x, const py::array& weight, const std::optional<py::array>& bias,
                     const std::optional<py::array>& residual, std::optional<py::array> out,
                     std::array<index_t, 2> stride, const py::object& padding, std::array<index_t, 2> dilation,
                     index_t groups, const std::string& activation, const std::string& algorithm,
                     const std::string& accuracy) {
    const ConvArguments a = conv_arguments(stride, padding, dilation, groups, activation, algorithm, accuracy);
    const ConvGeometry g = conv_geometry(shape_of(x), shape_of(weight), a.stride, a.padding, a.dilation, a.groups);
    return dispatch(x, [&]<class T>(T) {
      const T* w = contiguous_data<T>(weight, "weight");
      const T* b = contiguous_data<T>(bias, "bias");
      std::optional<Conv2d<T>> conv;
      {
        const py::gil_scoped_release release;
        conv.emplace(g, a.options, w, b);
      }
      return run(*conv, x, residual, out, x.shape(0));
    });
  });
}

}  // namespace fastconv::bindings
