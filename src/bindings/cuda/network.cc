// Networks on CUDA devices, of graphs that _core has recorded.
#include "cuda/network.h"

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/cuda/arrays.h"
#include "bindings/cuda/bindings.h"
#include "bindings/options.h"
#include "bindings/steps.h"

namespace fastconv::bindings {
namespace {

using cuda::CudaNetwork;
using cuda::Strided;

cuda::Precision parse_precision(const std::string& word) {
  return parse_word<cuda::Precision>(word, "precision", std::array{"fp32", "tf32", "fp16", "bf16"});
}

std::optional<cuda::ConvAlgorithm> parse_cuda_algorithm(const std::string& word) {
  if (word == "auto") return {};
  if (const auto algorithm = cuda::parse_algorithm(word)) return algorithm;
  std::string list;
  for (const auto algorithm : cuda::kConvAlgorithms)
    list += std::string(", ") + cuda::algorithm_name(algorithm);
  throw std::invalid_argument("algorithm must be one of auto" + list + " on device='cuda', got '" + word + "'");
}

void check_inputs(const Graph& graph, const std::vector<Shape>& shapes) {
  if (shapes.size() != graph.inputs().size()) throw py::type_error("the network takes another number of inputs");
  for (std::size_t i = 0; i < shapes.size(); ++i)
    if (shapes[i] != graph.shape(graph.inputs()[i])) throw std::invalid_argument("x does not have the network's shape");
}

// Of the inputs and outputs of networks.
Element element_of(DType dtype) { return dtype == DType::boolean ? Element{'b', 1} : Element{'f', 4}; }

py::list run(const CudaNetwork& network, const std::vector<py::array>& arrays, const Outs& outs,
             std::vector<double>* seconds = nullptr) {
  const Graph& graph = network.graph();
  std::vector<const void*> inputs;
  std::vector<Shape> shapes;
  for (const py::array& array : arrays) shapes.push_back(shape_of(array));
  check_inputs(graph, shapes);
  for (std::size_t i = 0; i < arrays.size(); ++i) inputs.push_back(contiguous_data(arrays[i], "x", graph.dtype(graph.inputs()[i])));
  py::list results;
  std::vector<void*> outputs;
  for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
    const ValueId id = graph.outputs()[i];
    py::array result = output_array(outs, i, graph.shape(id), graph.dtype(id));
    outputs.push_back(result.mutable_data());
    results.append(std::move(result));
  }
  const py::gil_scoped_release release;
  network.run(inputs, outputs, {nullptr, seconds});
  return results;
}

// `unbatched`: the arrays given and returned have no batch axis, the network one of size 1.
std::vector<CudaArray> run_on_device(const CudaNetwork& network, std::vector<CudaArray> arrays, bool unbatched) {
  const Graph& graph = network.graph();
  std::vector<Strided<const void>> inputs;
  std::vector<Strided<void>> outputs;
  std::vector<Shape> shapes;
  for (CudaArray& array : arrays) {
    if (unbatched) {
      array.shape.insert(array.shape.begin(), 1);
      array.strides.insert(array.strides.begin(), 1);
    }
    if (array.device != network.device()) throw std::invalid_argument("x is on another device than the network");
    shapes.push_back(array.shape);
    inputs.push_back(cuda::strided(array.as<const void>(), array.shape, array.strides));
  }
  check_inputs(graph, shapes);
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const DType dtype = graph.dtype(graph.inputs()[i]);
    if (arrays[i].element != element_of(dtype)) throw py::type_error(std::string("x must be ") + word(dtype) + " on the device");
  }
  const py::gil_scoped_release release;
  const cuda::DeviceGuard guard(network.device());
  std::vector<CudaArray> results;
  for (const ValueId id : graph.outputs()) {
    results.push_back(new_cuda_array(graph.shape(id), element_of(graph.dtype(id)), network.device()));
    outputs.push_back(cuda::strided(results.back().as<void>(), results.back().shape, results.back().strides));
  }
  for (const CudaArray& array : arrays) wait_for(array);
  network.run_on_device(inputs, outputs, current_stream());
  for (const CudaArray& array : arrays) read_by(current_stream(), array);
  for (CudaArray& result : results) {
    if (!unbatched || result.shape.empty()) continue;
    result.shape.erase(result.shape.begin());
    result.strides.erase(result.strides.begin());
  }
  return results;
}

py::list algorithms(const Shape& x, const Shape& weight, std::array<index_t, 2> stride, const py::object& padding,
                    std::array<index_t, 2> dilation, index_t groups, const std::string& accuracy, const std::string& precision,
                    int device) {
  const ConvGeometry geometry = conv_geometry(x, weight, stride, parse_padding(padding), dilation, groups);
  py::list rows;
  for (const cuda::CudaAlgorithmInfo& info : cuda::conv_algorithms(geometry, x[0], parse_precision(precision),
                                                                   cuda::device_limits(device), parse_accuracy(accuracy)))
    if (info.available)
      rows.append(py::make_tuple(cuda::algorithm_name(info.algorithm), info.workspace_bytes, info.error_class, info.reason));
  return rows;
}

}  // namespace

void bind_network(py::module_& m) {
  py::module_::import("fastconv._core");  // which knows Graph
  py::class_<CudaNetwork, std::shared_ptr<CudaNetwork>>(m, "Network")
      .def(py::init([](const Graph& recorded, std::vector<ValueId> outputs, const std::string& accuracy,
                       std::optional<std::size_t> max_workspace, const std::string& precision, int device,
                       const std::string& algorithm, bool keep_constants, bool optimized) {
        const cuda::CudaOptions options{parse_precision(precision), parse_accuracy(accuracy), max_workspace,
                                        parse_cuda_algorithm(algorithm), device, keep_constants, optimized};
        Graph graph = recorded;
        graph.set_outputs(std::move(outputs));
        const py::gil_scoped_release release;
        return cuda::compile_network(graph, options);
      }), py::arg("graph"), py::arg("outputs"), py::arg("accuracy") = "fast", py::arg("max_workspace") = std::nullopt,
           py::arg("precision") = "fp32", py::arg("device") = 0, py::arg("algorithm") = "auto", py::arg("keep_constants") = true,
           py::arg("optimized") = false)
      .def("with_graph", [](const CudaNetwork& n, const Graph& g) { return std::static_pointer_cast<CudaNetwork>(n.with_graph(g)); },
           py::call_guard<py::gil_scoped_release>())
      .def("run", [](const CudaNetwork& n, const std::vector<py::array>& arrays, const Outs& outs) { return run(n, arrays, outs); },
           py::arg("arrays"), py::arg("outs") = Outs{})
      .def("run_on_device", &run_on_device, py::arg("arrays"), py::arg("unbatched") = false)
      .def("profile",
           [](const CudaNetwork& n, const std::vector<py::array>& arrays) {
             std::vector<double> seconds;
             py::list results = run(n, arrays, {}, &seconds);
             return std::pair(std::move(results), std::move(seconds));
           })
      .def("steps", [](const CudaNetwork& n) { return step_dicts(n.steps()); })
      .def_property_readonly("device", &CudaNetwork::device)
      .def_property_readonly("packed_bytes", &CudaNetwork::packed_bytes)
      .def_property_readonly("arena_bytes", &CudaNetwork::arena_bytes);
  m.def("algorithms", &algorithms);
  m.def("set_poison_arenas", &cuda::set_poison_arenas);
}

}  // namespace fastconv::bindings
