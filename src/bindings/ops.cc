// Operators other than convolutions. All write into `out`, which Python has made or checked.
#include "fastconv/op/activate.h"
#include "fastconv/op/reduce.h"
#include "fastconv/ops.h"

#include <pybind11/stl.h>

#include <cmath>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/options.h"
#include "fastconv/error.h"
#include "fastconv/op/grid_sample.h"
#include "fastconv/op/interpolate.h"
#include "fastconv/op/matmul.h"

namespace fastconv::bindings {
namespace {

using Pair = std::array<index_t, 2>;

template <class T>
T* mutable_contiguous_data(py::array& array, const char* name) {
  contiguous_data<T>(array, name);
  return static_cast<T*>(array.mutable_data());
}

void check_shape(const py::array& array, const Shape& expected, const char* name) {
  if (shape_of(array) != expected)
    throw std::invalid_argument(std::string(name) + " must have shape " + to_string(expected) + ", got " +
                                to_string(shape_of(array)));
}

void activate_arrays(const std::string& name, const py::array& x, py::array out, double negative_slope) {
  check_shape(out, shape_of(x), "out");
  const Activation activation = op::Activate{parse_activation(name).kind, negative_slope}.activation();
  dispatch(x, [&]<class T>(T) {
    const T* from = contiguous_data<T>(x, "x");
    T* to = mutable_contiguous_data<T>(out, "out");
    const py::gil_scoped_release release;
    activate(activation, from, to, x.size());
  });
}

// Computes a program of `arrays` with NumPy's broadcasting: floats of one dtype, and bools where it
// takes masks.
void pointwise_arrays(const std::string& text, const std::vector<py::array>& arrays, py::array out) {
  const PointwiseProgram program = PointwiseProgram::from_text(text);
  if (static_cast<int>(arrays.size()) != program.inputs)
    fail("program takes ", program.inputs, " arrays, got ", arrays.size());
  const Shape shape = shape_of(out);
  DType dtype = DType::f32;  // of masks alone
  for (std::size_t i = arrays.size(); i-- > 0;)
    if (!program.input_is_mask(static_cast<int>(i))) dtype = dtype_of_array(arrays[i]);
  std::vector<void*> data;
  std::vector<Shape> all_strides;
  const auto take = [&](const py::array& array, bool is_mask, void* at, const char* name) {
    const DType expected = is_mask ? DType::boolean : dtype;
    check_array(array, name, expected);
    const std::size_t rank = static_cast<std::size_t>(array.ndim()), lead = shape.size() - std::min(rank, shape.size());
    bool fits = rank <= shape.size();
    Shape strides(shape.size());
    for (std::size_t axis = 0; fits && axis < rank; ++axis) {
      const index_t size = array.shape(axis);
      fits = size == shape[lead + axis] || size == 1;
      if (size > 1) strides[lead + axis] = array.strides(axis) / static_cast<index_t>(item_size(expected));
    }
    if (!fits) fail(name, " of shape ", to_string(shape_of(array)), " does not broadcast to ", to_string(shape));
    data.push_back(at);
    all_strides.push_back(std::move(strides));
  };
  for (std::size_t i = 0; i < arrays.size(); ++i)
    take(arrays[i], program.input_is_mask(static_cast<int>(i)), const_cast<void*>(arrays[i].data()), "an array");
  take(out, program.result_is_mask(), out.mutable_data(), "out");
  const auto compute = [&]<class T>(T) {
    const py::gil_scoped_release release;
    pointwise<T>(program, shape, all_strides)(data.data());
  };
  switch (dtype) {
    case DType::f32: return compute(float{});
    case DType::f64: return compute(double{});
    default: throw py::type_error("expected arrays of float32 or float64");
  }
}

// Calls run(view of x, view of out) once out's shape is that of the geometry.
template <class Run>
void run_pool(const py::array& x, py::array& out, Pair size, Run&& run) {
  if (x.ndim() == 4) check_shape(out, {x.shape(0), x.shape(1), size[0], size[1]}, "out");
  dispatch(x, [&]<class T>(T) {
    const TensorView<const T> from = view4<T>(x, "x");
    const TensorView<T> to = mutable_view4<T>(out, "out");
    const py::gil_scoped_release release;
    run(from, to);
  });
}

Pair spatial(const py::array& x) {
  if (x.ndim() != 4) throw std::invalid_argument("x must have 4 dimensions, got shape " + to_string(shape_of(x)));
  return {x.shape(2), x.shape(3)};
}

// x is contiguous (n, c, count). Without a spatial extent the channels are neighbours: one image of
// n pixels in one block.
template <class T, class U>
TensorView<T> channel_view(T* data, const U& x) {
  const index_t n = x.shape(0), c = x.shape(1), count = x.shape(2);
  if (count == 1) return {data, 1, c, 1, n, c, n * c, n * c, n * c, c, 0};
  return nchw_view(data, n, c, 1, count);
}

void batch_norm_arrays(const py::array& x, py::array out, const py::array& mean, const py::array& variance,
                       const std::optional<py::array>& weight, const std::optional<py::array>& bias, double eps,
                       const std::string& activation_word) {
  if (x.ndim() != 3) throw std::invalid_argument("x must have 3 dimensions, got shape " + to_string(shape_of(x)));
  check_shape(out, shape_of(x), "out");
  const Activation activation = parse_activation(activation_word);
  const index_t channels = x.shape(1);
  check_shape(mean, {channels}, "running_mean");
  check_shape(variance, {channels}, "running_var");
  if (weight) check_shape(*weight, {channels}, "weight");
  if (bias) check_shape(*bias, {channels}, "bias");
  dispatch(x, [&]<class T>(T) {
    const T *m = contiguous_data<T>(mean, "running_mean"), *v = contiguous_data<T>(variance, "running_var");
    const T *w = contiguous_data<T>(weight, "weight"), *b = contiguous_data<T>(bias, "bias");
    std::vector<T> scale(channels), shift(channels);
    for (index_t c = 0; c < channels; ++c) {
      scale[c] = static_cast<T>((w ? w[c] : 1.0) / std::sqrt(static_cast<double>(v[c]) + eps));
      shift[c] = b ? b[c] : T(0);
    }
    const TensorView<const T> from = channel_view(contiguous_data<T>(x, "x"), x);
    const TensorView<T> to = channel_view(mutable_contiguous_data<T>(out, "out"), x);
    const py::gil_scoped_release release;
    if (x.size() > 0) affine(from, to, m, scale.data(), shift.data(), activation);
  });
}

void layer_norm_arrays(const py::array& x, py::array out, const std::optional<py::array>& weight,
                       const std::optional<py::array>& bias, double eps) {
  if (x.ndim() != 2) throw std::invalid_argument("x must have 2 dimensions, got shape " + to_string(shape_of(x)));
  check_shape(out, shape_of(x), "out");
  if (weight) check_shape(*weight, {x.shape(1)}, "weight");
  if (bias) check_shape(*bias, {x.shape(1)}, "bias");
  dispatch(x, [&]<class T>(T) {
    const T *from = contiguous_data<T>(x, "x"), *w = contiguous_data<T>(weight, "weight"),
            *b = contiguous_data<T>(bias, "bias");
    T* to = mutable_contiguous_data<T>(out, "out");
    const py::gil_scoped_release release;
    layer_norm(from, to, x.shape(0), x.shape(1), w, b, eps);
  });
}

// The grid is contiguous (N, H_out, W_out, 2).
void grid_sample_arrays(const py::array& x, const py::array& grid, py::array out, const py::dict& attributes) {
  op::GridSample how;
  op::read_fields("grid_sample", to_attributes("grid_sample", attributes), how);
  const Shape shape = shape_of(x), places = shape_of(grid);
  check_shape(out, how.infer(op::Inputs("grid_sample", {{&shape, false}, {&places, false}})), "out");
  dispatch(x, [&]<class T>(T) {
    const TensorView<const T> from = view4<T>(x, "x");
    const T* at = contiguous_data<T>(grid, "grid");
    const TensorView<T> to = mutable_view4<T>(out, "out");
    const py::gil_scoped_release release;
    grid_sample(how, from, at, to);
  });
}

void matmul_arrays(const py::array& a, const py::array& b, py::array out) {
  Shape shape = op::matmul_shape(shape_of(a), shape_of(b));
  check_shape(out, shape, "out");
  dispatch(a, [&]<class T>(T) {
    MatmulGeometry g =
        matmul_geometry(shape_of(a), strides_of<T>(a, "a"), shape_of(b), strides_of<T>(b, "b"), std::move(shape));
    const T *p = static_cast<const T*>(a.data()), *q = static_cast<const T*>(b.data());
    T* y = mutable_contiguous_data<T>(out, "out");
    const py::gil_scoped_release release;
    matmul(std::move(g), p, q, y, /*exact=*/false);
  });
}

// Calls run(x, out, outer, count, inner) for x of that shape.
template <class Out = void, class Run>
void over_middle(const py::array& x, py::array& out, bool reduced, Run&& run) {
  if (x.ndim() != 3) throw std::invalid_argument("x must have 3 dimensions, got shape " + to_string(shape_of(x)));
  check_shape(out, reduced ? Shape{x.shape(0), x.shape(2)} : shape_of(x), "out");
  dispatch(x, [&]<class T>(T) {
    using Element = std::conditional_t<std::is_void_v<Out>, T, Out>;
    const T* from = contiguous_data<T>(x, "x");
    Element* to = mutable_contiguous_data<Element>(out, "out");
    const py::gil_scoped_release release;
    run(from, to, x.shape(0), x.shape(1), x.shape(2));
  });
}

}  // namespace

void bind_ops(py::module_& m) {
  m.def("activations", [] { return py::tuple(py::cast(Words<Activation>::names)); });
  m.def("activate", &activate_arrays);
  // (name, operands, result) of those that are operators; "f" being floats and "m" masks.
  m.def("instructions", [] {
    py::list all;
    for (int i = 0; i < kInstructions; ++i) {
      const auto instruction = static_cast<Instruction>(i);
      if (instruction == Instruction::multiply_add || activation_of(instruction)) continue;
      const InstructionInfo& info = info_of(instruction);
      all.append(py::make_tuple(info.name, info.operands, std::string(1, info.result)));
    }
    return all;
  });
  m.def("pointwise", &pointwise_arrays);
  m.def("pool_output_size", &pool_output_size);
  m.def("max_pool2d", [](const py::array& x, py::array out, Pair kernel_size, Pair stride, Pair padding, Pair dilation,
                         bool ceil_mode) {
    const PoolGeometry g = pool_geometry(spatial(x), kernel_size, stride, padding, dilation, ceil_mode);
    run_pool(x, out, {g.out_h, g.out_w}, [&](const auto& from, const auto& to) { max_pool2d(g, from, to); });
  });
  m.def("avg_pool2d", [](const py::array& x, py::array out, Pair kernel_size, Pair stride, Pair padding, bool ceil_mode,
                         bool count_include_pad) {
    const PoolGeometry g = pool_geometry(spatial(x), kernel_size, stride, padding, {1, 1}, ceil_mode, count_include_pad);
    run_pool(x, out, {g.out_h, g.out_w}, [&](const auto& from, const auto& to) { avg_pool2d(g, from, to); });
  });
  m.def("adaptive_max_pool2d", [](const py::array& x, py::array out) {
    const PoolGeometry g = adaptive_pool_geometry(spatial(x), spatial(out));
    run_pool(x, out, {g.out_h, g.out_w}, [&](const auto& from, const auto& to) { max_pool2d(g, from, to); });
  });
  m.def("adaptive_avg_pool2d", [](const py::array& x, py::array out) {
    const PoolGeometry g = adaptive_pool_geometry(spatial(x), spatial(out));
    run_pool(x, out, {g.out_h, g.out_w}, [&](const auto& from, const auto& to) {
      const bool contiguous = (from.w == 1 || from.sw == 1) && (from.h == 1 || from.sh == from.w);
      return g.out_h == 1 && g.out_w == 1 && contiguous ? global_avg_pool2d(from, to) : avg_pool2d(g, from, to);
    });
  });
  m.def("interpolate", [](const py::array& x, py::array out, const py::dict& attributes) {
    op::Interpolate how;
    op::read_fields("interpolate", to_attributes("interpolate", attributes), how);
    const InterpolationGeometry g = interpolation_geometry(spatial(x), spatial(out), how);
    run_pool(x, out, spatial(out), [&](const auto& from, const auto& to) { interpolate(g, from, to); });
  });
  m.def("grid_sample", &grid_sample_arrays);
  m.def("local_response_norm", [](const py::array& x, py::array out, index_t size, double alpha, double beta, double k) {
    run_pool(x, out, spatial(x),
             [&](const auto& from, const auto& to) { local_response_norm(from, to, size, alpha, beta, k); });
  });
  m.def("matmul_output_shape", [](const Shape& a, const Shape& b) { return py::tuple(py::cast(op::matmul_shape(a, b))); });
  m.def("matmul", &matmul_arrays);
  m.def("batch_norm", &batch_norm_arrays);
  m.def("layer_norm", &layer_norm_arrays);
  m.def("softmax", [](const py::array& x, py::array out, bool logarithm) {
    over_middle(x, out, false, [&](auto... args) { softmax(args..., logarithm); });
  });
  m.def("reduce", [](const std::string& name, const py::array& x, py::array out) {
    const auto kind = parse_word<ReduceKind>(name, "reduction", op::Reduce::kNames);
    over_middle(x, out, true, [&](auto... args) { reduce(kind, args...); });
  });
  m.def("argmax", [](const py::array& x, py::array out, bool least) {
    if (x.ndim() == 3 && x.shape(1) == 0) throw std::invalid_argument("x has no elements along the middle axis");
    over_middle<std::int64_t>(x, out, true, [&](auto... args) { argmax(least, args...); });
  });
  m.def("norm", [](const py::array& x, py::array out, double ord) {
    over_middle(x, out, true, [&](auto... args) { norm(ord, args...); });
  });
  m.def("cumsum", [](const py::array& x, py::array out, bool exclusive, bool reverse) {
    over_middle(x, out, false, [&](auto... args) { cumsum(args..., exclusive, reverse); });
  });
}

}  // namespace fastconv::bindings
