// Recording graphs and running networks.
#include "fastconv/network.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <map>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/options.h"
#include "bindings/steps.h"
#include "fastconv/error.h"

namespace fastconv::bindings {
namespace {

// The attributes of one recorded operator (python/fastconv/_symbolic.py has the table).
class Attributes {
 public:
  Attributes(const std::string& op, py::dict values) : op_(op), values_(std::move(values)) {}

  template <class V>
  V get(const char* name) const {
    if (!values_.contains(name)) throw py::type_error(op_ + ": the attribute " + name + " is missing");
    try {
      return py::cast<V>(values_[name]);
    } catch (const py::cast_error&) {
      throw py::type_error(op_ + ": " + name + " must not be " + py::cast<std::string>(py::repr(values_[name])));
    }
  }
  template <class V>
  V get(const char* name, V otherwise) const {
    return values_.contains(name) && !values_[name].is_none() ? get<V>(name) : otherwise;
  }
  Activation activation(const char* name = "activation") const {
    return parse_activation(get<std::string>(name, "none"));
  }
  op::Pair pair(const char* name, op::Pair otherwise) const { return get(name, otherwise); }
  Padding padding() const {
    return values_.contains("padding") ? parse_padding(values_["padding"]) : Padding{};
  }

 private:
  const std::string& op_;
  py::dict values_;
};

struct Recorded {
  const Graph& graph;
  const std::vector<ValueId>& inputs;
  const Attributes& a;

  const Shape& x() const {
    if (inputs.empty() || inputs[0] == kNone) throw py::type_error("an operator needs an input");
    return graph.shape(inputs[0]);
  }
  int axis(int at) const { return at < 0 ? at + static_cast<int>(x().size()) : at; }

  Operator conv2d() const {
    const auto stride = a.pair("stride", {1, 1}), dilation = a.pair("dilation", {1, 1});
    const auto groups = a.get<index_t>("groups", 1);
    if (inputs.size() < 2 || inputs[1] == kNone) throw py::type_error("conv2d: weight is missing");
    const ConvGeometry g = conv_geometry(x(), graph.shape(inputs[1]), stride, a.padding(), dilation, groups);
    return op::Conv2d{stride, {g.pad_top, g.pad_bottom, g.pad_left, g.pad_right}, dilation, groups, a.activation()};
  }
  Operator conv_transpose2d() const {
    return op::ConvTranspose2d{a.pair("stride", {1, 1}),         a.pair("padding", {0, 0}),
                               a.pair("output_padding", {0, 0}), a.pair("dilation", {1, 1}),
                               a.get<index_t>("groups", 1),      a.activation()};
  }
  Operator layer_norm() const {
    const auto normalized = a.get<Shape>("normalized_shape");
    const int rank = static_cast<int>(x().size()), begin = rank - static_cast<int>(normalized.size());
    if (normalized.empty() || begin < 0 || !std::equal(normalized.begin(), normalized.end(), x().begin() + begin))
      fail("normalized_shape must be the last dimensions of x, got ", to_string(normalized), " for x of shape ",
           to_string(x()));
    return op::LayerNorm{begin, rank, a.get<double>("eps", 1e-5)};
  }
  Operator pool(op::Pool::Kind kind) const {
    const auto kernel = a.get<op::Pair>("kernel_size");
    return op::Pool{kind, kernel, a.pair("stride", kernel), a.pair("padding", {0, 0}), a.pair("dilation", {1, 1}),
                    a.get<bool>("ceil_mode", false), a.get<bool>("count_include_pad", true)};
  }
  Operator mean() const {
    std::vector<int> axes;
    for (const int at : a.get<std::vector<int>>("axis")) axes.push_back(axis(at));
    std::sort(axes.begin(), axes.end());
    if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) fail("axis names an axis twice");
    return op::Mean{std::move(axes), a.get<bool>("keepdims", false)};
  }
  Operator reshape() const {
    auto shape = a.get<Shape>("shape");
    const auto unknown = std::find(shape.begin(), shape.end(), -1);
    if (unknown == shape.end()) return op::Reshape{std::move(shape)};
    *unknown = 1;
    const index_t rest = checked_size(shape), size = checked_size(x());
    if (rest == 0 || size % rest != 0) fail("reshape: shape ", to_string(x()), " does not divide by the sizes given");
    *unknown = size / rest;
    return op::Reshape{std::move(shape)};
  }
  Operator permute() const {
    auto order = a.get<std::vector<int>>("order");
    for (int& at : order) at = axis(at);
    return op::Permute{std::move(order)};
  }
  Operator pad() const {
    op::Pad pad{parse_word<op::Pad::Mode>(a.get<std::string>("mode", "constant"), "mode",
                                          std::array{"constant", "reflect", "replicate"}),
                {}, {}, a.get<double>("value", 0)};
    for (const auto& [before, after] : a.get<std::vector<op::Pair>>("pad")) {
      pad.before.push_back(before);
      pad.after.push_back(after);
    }
    return pad;
  }
  Operator interpolate() const {
    return op::Interpolate{parse_word<op::Interpolate::Mode>(a.get<std::string>("mode", "nearest"), "mode",
                                                             std::array{"nearest", "bilinear"}),
                           a.get<op::Pair>("size"), a.get("scale", std::array<double, 2>{}),
                           a.get<bool>("align_corners", false)};
  }
};

Operator parse_operator(const std::string& name, const Recorded& r) {
  const Attributes& a = r.a;
  using Kind = op::Pool::Kind;
  static const std::map<std::string, std::function<Operator(const Recorded&, const Attributes&)>> operators = {
      {"conv2d", [](auto& r, auto&) { return r.conv2d(); }},
      {"conv_transpose2d", [](auto& r, auto&) { return r.conv_transpose2d(); }},
      {"linear", [](auto&, auto& a) { return op::Linear{a.activation()}; }},
      {"batch_norm", [](auto&, auto& a) { return op::BatchNorm{a.get("eps", 1e-5), a.activation()}; }},
      {"layer_norm", [](auto& r, auto&) { return r.layer_norm(); }},
      {"local_response_norm",
       [](auto&, auto& a) {
         return op::LocalResponseNorm{a.template get<index_t>("size"), a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("k", 1.0)};
       }},
      {"activation", [](auto&, auto& a) { return op::Activate{a.activation("kind"), a.get("negative_slope", 0.01)}; }},
      {"add", [](auto&, auto&) { return op::Binary{BinaryKind::add}; }},
      {"multiply", [](auto&, auto&) { return op::Binary{BinaryKind::multiply}; }},
      {"max_pool2d", [](auto& r, auto&) { return r.pool(Kind::max); }},
      {"avg_pool2d", [](auto& r, auto&) { return r.pool(Kind::average); }},
      {"adaptive_avg_pool2d", [](auto&, auto& a) { return op::AdaptivePool{Kind::average, a.template get<op::Pair>("output_size")}; }},
      {"adaptive_max_pool2d", [](auto&, auto& a) { return op::AdaptivePool{Kind::max, a.template get<op::Pair>("output_size")}; }},
      {"mean", [](auto& r, auto&) { return r.mean(); }},
      {"reshape", [](auto& r, auto&) { return r.reshape(); }},
      {"permute", [](auto& r, auto&) { return r.permute(); }},
      {"slice",
       [](auto&, auto& a) {
         return op::Slice{a.template get<Shape>("start"), a.template get<Shape>("stop"), a.template get<Shape>("step")};
       }},
      {"concat", [](auto& r, auto& a) { return op::Concat{r.axis(a.get("axis", 1))}; }},
      {"pad", [](auto& r, auto&) { return r.pad(); }},
      {"softmax", [](auto& r, auto& a) { return op::Softmax{r.axis(a.get("axis", -1)), a.get("log", false)}; }},
      {"interpolate", [](auto& r, auto&) { return r.interpolate(); }},
      {"channel_shuffle", [](auto&, auto& a) { return op::ChannelShuffle{a.template get<index_t>("groups")}; }},
      {"pixel_shuffle", [](auto&, auto& a) { return op::PixelShuffle{a.template get<index_t>("upscale_factor")}; }},
  };
  const auto found = operators.find(name);
  if (found == operators.end()) throw py::type_error("there is no operator '" + name + "' in graphs");
  return found->second(r, a);
}

// Keeps an array alive from threads that do not hold the GIL.
std::shared_ptr<const void> share(const py::array& array) {
  auto* owner = new py::array(array);
  return {array.data(), [owner](const void*) {
            const py::gil_scoped_acquire acquire;
            delete owner;
          }};
}

Graph new_graph(const py::dtype& dtype) {
  return Graph(dtype_of_array(py::array(dtype, std::vector<py::ssize_t>{0})));
}

ValueId checked(const Graph& graph, ValueId id) {
  if (id < 0 || id >= graph.size()) fail("graph: there is no value ", id);
  return id;
}

ValueId add(Graph& graph, const std::string& name, const std::vector<std::optional<ValueId>>& optional_inputs,
            const py::dict& values) {
  std::vector<ValueId> inputs;
  for (const auto& id : optional_inputs) inputs.push_back(id ? checked(graph, *id) : kNone);
  const Attributes attributes(name, values);
  Operator op = parse_operator(name, {graph, inputs, attributes});
  return graph.add(std::move(op), std::move(inputs));
}

// Whether `array` lies where constants do that the network reads in every call.
bool overlaps_constants(const Network& network, const py::array& array) {
  if (array.size() == 0) return false;
  const auto* first = static_cast<const char*>(array.data());
  const char* end = first + array.itemsize();
  for (int axis = 0; axis < array.ndim(); ++axis)
    (array.strides(axis) < 0 ? first : end) += (array.shape(axis) - 1) * array.strides(axis);
  const Graph& graph = network.graph();
  for (ValueId id = 0; id < graph.size(); ++id) {
    if (!graph.is_constant(id)) continue;
    const auto* data = static_cast<const char*>(graph[id].as<op::Constant>()->data.get());
    if (data && data < end && first < data + checked_size(graph.shape(id)) * array.itemsize()) return true;
  }
  return false;
}

template <class T>
py::list run(const Network& network, const std::vector<py::array>& arrays, const Outs& outs, std::vector<double>* seconds) {
  const Graph& graph = network.graph();
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  if (arrays.size() != graph.inputs().size()) throw py::type_error("the network takes another number of inputs");
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (shape_of(arrays[i]) != graph.shape(graph.inputs()[i])) fail("x does not have the network's shape");
    inputs.push_back(contiguous_data<T>(arrays[i], "x"));
  }
  py::list results;
  for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
    py::array result = output_array<T>(outs, i, graph.shape(graph.outputs()[i]));
    outputs.push_back(result.mutable_data());
    results.append(std::move(result));
  }
  RunHooks hooks;
  hooks.seconds = seconds;
  hooks.interrupt = [] {
    const py::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  };
  const py::gil_scoped_release release;
  network.run(inputs, outputs, hooks);
  return results;
}

py::list run_any(const Network& network, const std::vector<py::array>& arrays, const Outs& outs,
                 std::vector<double>* seconds = nullptr) {
  return network.graph().dtype() == DType::f32 ? run<float>(network, arrays, outs, seconds)
                                               : run<double>(network, arrays, outs, seconds);
}

}  // namespace

void bind_network(py::module_& m) {
  py::class_<Graph>(m, "Graph")
      .def(py::init(&new_graph))
      .def("input", &Graph::add_input)
      .def("constant", [](Graph& g, const py::array& a) {
        if (dtype_of_array(a) != g.dtype()) throw py::type_error("the constant has another dtype than the graph");
        dispatch(a, [&]<class T>(T) { contiguous_data<T>(a, "constant"); });
        return g.add_constant(shape_of(a), share(a));
      })
      .def("add", &add)
      .def("shape", [](const Graph& g, ValueId id) { return py::tuple(py::cast(g.shape(checked(g, id)))); })
      .def("set_name", [](Graph& g, ValueId id, const std::string& name) { g.set_name(checked(g, id), name); })
      .def("set_outputs", &Graph::set_outputs)
      .def_property_readonly("outputs", &Graph::outputs)
      .def("optimized", [](const Graph& recorded, std::vector<ValueId> outputs) {
        Graph graph = recorded;
        graph.set_outputs(std::move(outputs));
        const py::gil_scoped_release release;
        return optimize(graph);
      })
      .def("same_with_batch", [](const Graph& g, index_t batch, const Graph& other) {
        try {
          return g.with_batch(batch).same_as(other);
        } catch (const std::invalid_argument&) {  // its shapes do not allow another batch size
          return false;
        }
      });

  py::class_<Network, std::shared_ptr<Network>>(m, "Network")
      .def(py::init([](const Graph& recorded, std::vector<ValueId> outputs, const std::string& accuracy,
                       std::optional<std::size_t> max_workspace, int threads,
                       const std::map<ValueId, std::string>& algorithms) {
        NetworkOptions options{parse_accuracy(accuracy), max_workspace, threads, {}};
        for (const auto& [value, algorithm] : algorithms) options.algorithms[value] = parse_algorithm(algorithm);
        Graph graph = recorded;
        graph.set_outputs(std::move(outputs));
        const py::gil_scoped_release release;
        return compile_network(graph, options);
      }), py::arg("graph"), py::arg("outputs"), py::arg("accuracy"), py::arg("max_workspace"), py::arg("threads"),
           py::arg("algorithms") = std::map<ValueId, std::string>{})
      .def("with_batch", &Network::with_batch, py::call_guard<py::gil_scoped_release>())
      .def("run", [](const Network& n, const std::vector<py::array>& arrays, const Outs& outs) { return run_any(n, arrays, outs); },
           py::arg("arrays"), py::arg("outs") = Outs{})
      .def("overlaps_constants", &overlaps_constants)
      .def("profile",
           [](const Network& n, const std::vector<py::array>& arrays) {
             std::vector<double> seconds;
             py::list results = run_any(n, arrays, {}, &seconds);
             return std::pair(std::move(results), std::move(seconds));
           })
      .def("steps", [](const Network& n) { return step_dicts(n.steps()); })
      .def_static("plan", [](const Graph& recorded, std::vector<ValueId> outputs, const std::string& accuracy,
                             std::optional<std::size_t> max_workspace) {
        Graph graph = recorded;
        graph.set_outputs(std::move(outputs));
        std::vector<StepInfo> steps;
        {
          const py::gil_scoped_release release;
          steps = plan_network(graph, {parse_accuracy(accuracy), max_workspace, 0, {}});
        }
        return step_dicts(steps);
      })
      .def_property_readonly("packed_bytes", &Network::packed_bytes)
      .def_property_readonly("arena_bytes", &Network::arena_bytes);

  m.def("set_poison_arenas", &set_poison_arenas);
}

}  // namespace fastconv::bindings
