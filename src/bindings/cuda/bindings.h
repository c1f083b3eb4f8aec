// What each binding file adds to the module fastconv._cuda.
#pragma once

#include <pybind11/pybind11.h>

namespace fastconv::bindings {

namespace py = pybind11;

void bind_runtime(py::module_& m);  // runtime.cc: devices, streams, build information
void bind_array(py::module_& m);    // array.cc: Array, DLPack, __cuda_array_interface__
void bind_network(py::module_& m);  // network.cc: Network and the operators

}  // namespace fastconv::bindings
