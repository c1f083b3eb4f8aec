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

// An attribute as Python passes it; nested sequences count as one.
Attribute to_attribute(const std::string& name, const py::handle& value) {
  if (py::isinstance<py::bool_>(value)) return value.cast<bool>();
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  if (PyIndex_Check(value.ptr())) return value.cast<index_t>();
  if (!py::isinstance<py::sequence>(value)) return value.cast<double>();
  std::vector<index_t> ints;
  std::vector<double> floats;
  for (const py::handle item : value.cast<py::sequence>()) {
    const Attribute part = to_attribute(name, item);
    if (const auto* i = std::get_if<index_t>(&part)) ints.push_back(*i);
    else if (const auto* f = std::get_if<double>(&part)) floats.push_back(*f);
    else if (const auto* inner = std::get_if<std::vector<index_t>>(&part)) ints.insert(ints.end(), inner->begin(), inner->end());
    else throw py::type_error(name + " must be numbers");
  }
  if (floats.empty()) return ints;
  floats.insert(floats.end(), ints.begin(), ints.end());
  return floats;
}

py::object to_python(const Attribute& value) {
  return std::visit([]<class V>(const V& v) -> py::object {
    if constexpr (std::is_same_v<V, std::vector<index_t>> || std::is_same_v<V, std::vector<double>>) return py::tuple(py::cast(v));
    else return py::cast(v);
  }, value);
}

// (operator, inputs, attributes, shape, dtype, name)
py::tuple node_tuple(const Graph& graph, ValueId id) {
  const Node& node = graph[id];
  py::list inputs;
  for (const ValueId input : node.inputs) inputs.append(input == kNone ? py::object(py::none()) : py::object(py::int_(input)));
  py::dict attributes;
  for (const auto& [name, value] : attributes_of(node.op)) attributes[py::str(name)] = to_python(value);
  return py::make_tuple(operator_name(node.op), py::tuple(inputs), attributes, py::tuple(py::cast(node.shape)),
                        numpy_dtype(node.dtype), node.name);
}

// The values of a constant, which cannot be written to; null once they are packed and gone.
py::object constant_array(const Graph& graph, ValueId id) {
  const auto* constant = graph[id].as<op::Constant>();
  if (!constant) fail("graph: value ", id, " is no constant");
  if (!constant->data) return py::none();
  auto owner = std::make_unique<std::shared_ptr<const void>>(constant->data);
  const void* data = owner->get();
  const py::capsule base(owner.release(), [](void* held) { delete static_cast<std::shared_ptr<const void>*>(held); });
  const Shape& shape = graph.shape(id);
  const std::vector<py::ssize_t> sizes(shape.begin(), shape.end());
  py::array array(numpy_dtype(graph.dtype(id)), sizes, data, base);
  py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return array;
}

// Keeps an array alive from threads that do not hold the GIL.
std::shared_ptr<const void> share(const py::array& array) {
  auto* owner = new py::array(array);
  return {array.data(), [owner](const void*) {
            const py::gil_scoped_acquire acquire;
            delete owner;
          }};
}

ValueId checked(const Graph& graph, ValueId id) {
  if (id < 0 || id >= graph.size()) fail("graph: there is no value ", id);
  return id;
}

ValueId add(Graph& graph, const std::string& name, const std::vector<std::optional<ValueId>>& optional_inputs,
            const py::dict& values, const std::string& path) {
  std::vector<ValueId> inputs;
  for (const auto& id : optional_inputs) inputs.push_back(id ? checked(graph, *id) : kNone);
  Operator op = read_operator(graph, name, to_attributes(name, values), inputs);
  return graph.add(std::move(op), std::move(inputs), path);
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
    const std::size_t bytes = static_cast<std::size_t>(checked_size(graph.shape(id))) * item_size(graph.dtype(id));
    if (data && data < end && first < data + bytes) return true;
  }
  return false;
}

py::list run(const Network& network, const std::vector<py::array>& arrays, const Outs& outs,
             std::vector<double>* seconds = nullptr) {
  const Graph& graph = network.graph();
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  if (arrays.size() != graph.inputs().size()) throw py::type_error("the network takes another number of inputs");
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const Node& input = graph[graph.inputs()[i]];
    if (shape_of(arrays[i]) != input.shape) fail("x does not have the network's shape");
    inputs.push_back(contiguous_data(arrays[i], "x", input.dtype));
  }
  py::list results;
  for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
    const Node& output = graph[graph.outputs()[i]];
    py::array result = output_array(outs, i, output.shape, output.dtype);
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

}  // namespace

Attributes to_attributes(const std::string& op, const py::dict& values) {
  Attributes attributes;
  for (const auto& [key, value] : values) {
    if (value.is_none()) continue;  // stands for the default
    const auto name = key.cast<std::string>();
    try {
      attributes.emplace_back(name, to_attribute(name, value));
    } catch (const py::cast_error&) {
      throw py::type_error(op + ": " + name + " must not be " + py::repr(value).cast<std::string>());
    }
  }
  return attributes;
}

void bind_network(py::module_& m) {
  py::class_<Graph>(m, "Graph")
      .def(py::init())
      .def("input", [](Graph& g, const Shape& shape, const py::object& dtype) {
        return g.add_input(shape, dtype_from(py::dtype::from_args(dtype)));
      })
      .def("constant", [](Graph& g, const py::array& a, const std::string& name) {
        const DType dtype = dtype_of_array(a);
        contiguous_data(a, "constant", dtype);
        const ValueId id = g.add_constant(shape_of(a), dtype, share(a));
        g.set_name(id, name);
        return id;
      }, py::arg("array"), py::arg("name") = "")
      .def("add", &add, py::arg("op"), py::arg("inputs"), py::arg("attributes"), py::arg("name") = "")
      .def("shape", [](const Graph& g, ValueId id) { return py::tuple(py::cast(g.shape(checked(g, id)))); })
      .def("dtype", [](const Graph& g, ValueId id) { return numpy_dtype(g.dtype(checked(g, id))); })
      .def("__len__", &Graph::size)
      .def("node", [](const Graph& g, ValueId id) { return node_tuple(g, checked(g, id)); })
      .def("constant_array", [](const Graph& g, ValueId id) { return constant_array(g, checked(g, id)); })
      .def_property_readonly("inputs", &Graph::inputs)
      .def("set_outputs", &Graph::set_outputs)
      .def_property_readonly("outputs", &Graph::outputs)
      .def("optimized", [](const Graph& recorded, std::vector<ValueId> outputs, bool programs) {
        Graph graph = recorded;
        graph.set_outputs(std::move(outputs));
        const py::gil_scoped_release release;
        return programs ? fuse_pointwise(optimize(std::move(graph))) : optimize(split_programs(std::move(graph)));
      }, py::arg("outputs"), py::arg("programs") = true)
      .def("same_but_sizes", &Graph::same_but_sizes, py::call_guard<py::gil_scoped_release>());

  py::class_<Network, std::shared_ptr<Network>>(m, "Network")
      .def(py::init([](const Graph& recorded, std::vector<ValueId> outputs, const std::string& accuracy,
                       std::optional<std::size_t> max_workspace, int threads,
                       const std::map<ValueId, std::string>& algorithms, bool optimized) {
        NetworkOptions options{parse_accuracy(accuracy), max_workspace, threads, {}, true, optimized};
        for (const auto& [value, algorithm] : algorithms) options.algorithms[value] = parse_algorithm(algorithm);
        Graph graph = recorded;
        graph.set_outputs(std::move(outputs));
        const py::gil_scoped_release release;
        return compile_network(graph, options);
      }), py::arg("graph"), py::arg("outputs"), py::arg("accuracy"), py::arg("max_workspace"), py::arg("threads"),
           py::arg("algorithms") = std::map<ValueId, std::string>{}, py::arg("optimized") = false)
      .def("with_graph", &Network::with_graph, py::call_guard<py::gil_scoped_release>())
      .def("run", [](const Network& n, const std::vector<py::array>& arrays, const Outs& outs) { return run(n, arrays, outs); },
           py::arg("arrays"), py::arg("outs") = Outs{})
      .def("overlaps_constants", &overlaps_constants)
      .def("profile",
           [](const Network& n, const std::vector<py::array>& arrays) {
             std::vector<double> seconds;
             py::list results = run(n, arrays, {}, &seconds);
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
      .def_property_readonly("device", [](const Network&) { return py::none(); })
      .def_property_readonly("packed_bytes", &Network::packed_bytes)
      .def_property_readonly("arena_bytes", &Network::arena_bytes);

  m.def("operators", [] {
    py::list all;
    for (const OperatorInfo& info : all_operators()) {
      py::list attributes;
      for (const auto& a : info.attributes)
        attributes.append(py::make_tuple(a.name, a.kind, a.required ? py::object(py::none()) : to_python(a.otherwise)));
      all.append(py::make_tuple(info.name, info.type, info.inputs, py::tuple(attributes)));
    }
    return all;
  });
  m.def("set_poison_arenas", &set_poison_arenas);
}

}  // namespace fastconv::bindings
