#include "fastconv/conv.h"

#include <pybind11/stl.h>

#include <optional>
#include <variant>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/options.h"
#include "bindings/plain.h"
#include "fastconv/error.h"

namespace fastconv::bindings {
namespace {

using Pair = std::array<index_t, 2>;

template <class T>
ConvTask task_of(const ConvGeometry& geometry, const std::string& activation, const std::string& accuracy, bool one_call) {
  return {geometry, dtype_of<T>, parse_activation(activation), parse_accuracy(accuracy), /*nchw=*/true, one_call};
}

template <class T>
const T* bias_data(const std::optional<py::array>& bias, index_t channels) {
  if (bias && shape_of(*bias) != Shape{channels})
    fail("bias must have shape (", channels, ",), as weight has so many output channels, got ", to_string(shape_of(*bias)));
  return contiguous_data<T>(bias, "bias");
}

template <class T>
py::array run(const Conv2d<T>& conv, const py::array& x, const std::optional<py::array>& residual,
              std::optional<py::array>& out) {
  const ConvGeometry& g = conv.geometry();
  const TensorView<const T> xv = view4<T>(x, "x");
  std::optional<TensorView<const T>> rv;
  if (residual) rv = view4<T>(*residual, "residual");
  py::array result = out ? *out : new_array<T>({xv.n, g.out_channels, g.out_h, g.out_w});
  const TensorView<T> yv = mutable_view4<T>(result, "out");
  const py::gil_scoped_release release;
  conv.run(xv, rv ? &*rv : nullptr, yv);
  return result;
}

py::array conv2d(const py::array& x, const py::array& weight, const std::optional<py::array>& bias,
                 const std::optional<py::array>& residual, std::optional<py::array> out, Pair stride, const py::object& padding,
                 Pair dilation, index_t groups, const std::string& activation, const std::string& algorithm,
                 const std::string& accuracy) {
  const ConvGeometry g = conv_geometry(shape_of(x), shape_of(weight), stride, parse_padding(padding), dilation, groups);
  return dispatch(x, [&]<class T>(T) {
    const T* w = contiguous_data<T>(weight, "weight");
    const T* b = bias_data<T>(bias, g.out_channels);
    std::optional<Conv2d<T>> conv;
    {
      const py::gil_scoped_release release;
      conv.emplace(plan_conv(task_of<T>(g, activation, accuracy, true), parse_algorithm(algorithm)), w, b);
    }
    return run(*conv, x, residual, out);
  });
}

// A Conv2d of either dtype.
class PreparedConv2d {
  template <class F>
  auto visit(F&& f) const {
    if (const auto* conv = std::get_if<Conv2d<float>>(&conv_)) return f(*conv);
    return f(std::get<Conv2d<double>>(conv_));
  }
  ConvGeometry geometry_;
  std::variant<std::monostate, Conv2d<float>, Conv2d<double>> conv_;

 public:
  PreparedConv2d(const Shape& image, const py::array& weight, const std::optional<py::array>& bias, Pair stride,
                 const py::object& padding, Pair dilation, index_t groups, const std::string& activation,
                 const std::string& algorithm, const std::string& accuracy) {
    Shape x = image;
    x.insert(x.begin(), 1);
    geometry_ = conv_geometry(x, shape_of(weight), stride, parse_padding(padding), dilation, groups);
    const Algorithm wanted = parse_algorithm(algorithm);
    dispatch(weight, [&]<class T>(T) {
      const T* w = contiguous_data<T>(weight, "weight");
      const T* b = bias_data<T>(bias, geometry_.out_channels);
      const py::gil_scoped_release release;
      const Packing packing{/*fall_back=*/wanted == Algorithm::automatic};
      conv_.emplace<Conv2d<T>>(plan_conv(task_of<T>(geometry_, activation, accuracy, false), wanted), w, b, packing);
    });
  }

  py::array run(const py::array& x, const std::optional<py::array>& residual, std::optional<py::array> out) const {
    return visit([&](const auto& conv) { return bindings::run(conv, x, residual, out); });
  }
  Shape output_shape() const { return {geometry_.out_channels, geometry_.out_h, geometry_.out_w}; }
  std::string algorithm() const {
    return visit([](const auto& conv) { return std::string(algorithm_name(conv.plan().algorithm)); });
  }
  std::string reason() const {
    return visit([](const auto& conv) { return conv.plan().reason; });
  }
  std::size_t packed_bytes() const {
    return visit([](const auto& conv) { return conv.plan().packed_bytes; });
  }

};

py::list algorithms(const Shape& x, const Shape& weight, bool f64, Pair stride, const py::object& padding, Pair dilation,
                    index_t groups, const std::string& accuracy) {
  const ConvGeometry g = conv_geometry(x, weight, stride, parse_padding(padding), dilation, groups);
  py::list rows;
  const ConvTask task = f64 ? task_of<double>(g, "none", accuracy, false) : task_of<float>(g, "none", accuracy, false);
  for (const AlgorithmInfo& info : conv_algorithms(task))
    if (info.available)
      rows.append(py::make_tuple(algorithm_name(info.algorithm), info.workspace_bytes, info.error_class, info.reason));
  return rows;
}

py::array conv_transpose(const py::array& x, const py::array& weight, const std::optional<py::array>& bias,
                         std::optional<py::array> out, Pair stride, Pair padding, Pair output_padding, Pair dilation,
                         index_t groups, const std::string& activation) {
  const ConvGeometry g = conv_transpose_geometry(shape_of(x), shape_of(weight), stride, padding, output_padding, dilation, groups);
  return dispatch(x, [&]<class T>(T) {
    const T* w = contiguous_data<T>(weight, "weight");
    const T* b = bias_data<T>(bias, g.in_channels);
    const TensorView<const T> xv = view4<T>(x, "x");
    py::array result = out ? *out : new_array<T>({xv.n, g.in_channels, g.in_h, g.in_w});
    const TensorView<T> yv = mutable_view4<T>(result, "out");
    const py::gil_scoped_release release;
    ConvTranspose2d<T>(plan_conv_transpose(task_of<T>(g, activation, "fast", true)), w, b).run(xv, yv);
    return result;
  });
}

Shape linear_shape(const Shape& x, const Shape& weight) {
  if (weight.size() != 2 || weight[0] == 0 || weight[1] == 0)
    fail("weight must have shape (out_features, in_features), neither of them 0, got ", to_string(weight));
  if (x.empty() || x.back() != weight[1])
    fail("weight has ", weight[1], " input features, so x must have shape (..., ", weight[1], "), got ", to_string(x));
  Shape shape = x;
  shape.back() = weight[0];
  return shape;
}

// x (..., in), weight (out, in), out (..., out): a 1x1 convolution whose pixels are the samples.
void linear(const py::array& x, const py::array& weight, const std::optional<py::array>& bias,
            const std::optional<py::array>& residual, py::array out, const std::string& activation) {
  const index_t in = weight.shape(1), channels = weight.shape(0), n = x.size() / in;
  dispatch(x, [&]<class T>(T) {
    const T* w = contiguous_data<T>(weight, "weight");
    const T* b = bias_data<T>(bias, channels);
    const auto view = [n](auto* data, index_t c, index_t row_stride) {
      return TensorView<std::remove_pointer_t<decltype(data)>>{data, 1, c, 1, n, 1, 0, 1, 0, row_stride, 0};
    };
    const TensorView<const T> xv = view(contiguous_data<T>(x, "x"), in, in);
    contiguous_data<T>(out, "out");
    const TensorView<T> yv = view(static_cast<T*>(out.mutable_data()), channels, channels);
    std::optional<TensorView<const T>> rv;
    if (residual) rv = view(contiguous_data<T>(*residual, "residual"), channels, channels);
    const py::gil_scoped_release release;
    if (n == 0) return;
    ConvTask task = task_of<T>(conv_geometry({1, in, 1, n}, {channels, in, 1, 1}, {1, 1}, {}, {1, 1}, 1), activation, "fast", true);
    task.nchw = n <= 4;  // more samples, whose channels lie together, are packed as blocks are
    Conv2d<T>(plan_conv(task), w, b).run(xv, rv ? &*rv : nullptr, yv);
  });
}

py::object linear_plain(const py::tuple& args, const py::dict& kwargs) {
  enum { kX, kWeight, kBias, kResidual, kOut, kActivation };
  static constexpr PlainSignature kSignature{
      {"x", "weight", "bias", "residual", "out", "activation"}, /*operands=*/4, /*required=*/2, /*places=*/3};
  const PlainCall call(kSignature, args, kwargs);
  if (!call || call[kActivation]) return not_implemented();
  for (const int operand : {kX, kWeight, kBias, kResidual})
    if (call[operand] && !PlainCall::is_contiguous(call.array(operand))) return not_implemented();
  const py::array x = call.array(kX), weight = call.array(kWeight);
  const std::optional<py::array> bias = call.optional_array(kBias), residual = call.optional_array(kResidual);
  const Shape shape = linear_shape(shape_of(x), shape_of(weight));
  std::optional<py::array> out = call.result(shape, /*inplace=*/{kResidual});
  const auto fits = [](const std::optional<py::array>& array, const Shape& wanted) { return !array || PlainCall::has_shape(*array, wanted); };
  if (!out || !fits(bias, {shape.back()}) || !fits(residual, shape)) return not_implemented();
  linear(x, weight, bias, residual, *out, "none");
  return *out;
}

}  // namespace

void bind_conv(py::module_& m) {
  m.def("conv_output_shape", [](const Shape& x, const Shape& weight, Pair stride, const py::object& padding, Pair dilation,
                                index_t groups) {
    const ConvGeometry g = conv_geometry(x, weight, stride, parse_padding(padding), dilation, groups);
    return py::make_tuple(x[0], g.out_channels, g.out_h, g.out_w);
  });
  m.def("conv_transpose_output_shape", [](const Shape& x, const Shape& weight, Pair stride, Pair padding, Pair output_padding,
                                          Pair dilation, index_t groups) {
    const ConvGeometry g = conv_transpose_geometry(x, weight, stride, padding, output_padding, dilation, groups);
    return py::make_tuple(x[0], g.in_channels, g.in_h, g.in_w);
  });
  m.def("conv2d", &conv2d);
  m.def("conv_transpose2d", &conv_transpose);
  m.def("linear_output_shape", [](const Shape& x, const Shape& weight) { return py::tuple(py::cast(linear_shape(x, weight))); });
  m.def("linear", &linear);
  m.def("linear_plain", &linear_plain);
  m.def("algorithms", &algorithms);
  py::class_<PreparedConv2d>(m, "PreparedConv2d")
      .def(py::init<const Shape&, const py::array&, const std::optional<py::array>&, Pair, const py::object&, Pair, index_t,
                    const std::string&, const std::string&, const std::string&>())
      .def("run", &PreparedConv2d::run)
      .def_property_readonly("output_shape", [](const PreparedConv2d& p) { return py::tuple(py::cast(p.output_shape())); })
      .def_property_readonly("algorithm", &PreparedConv2d::algorithm)
      .def_property_readonly("reason", &PreparedConv2d::reason)
      .def_property_readonly("packed_bytes", &PreparedConv2d::packed_bytes);
}

}  // namespace fastconv::bindings
