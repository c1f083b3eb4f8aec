// What each binding file adds to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace fastconv::bindings {

namespace py = pybind11;

void bind_conv(py::module_& m);     // conv.cc: conv2d, PreparedConv2d, conv_transpose2d, linear, algorithms
void bind_network(py::module_& m);  // network.cc: Graph, Network
void bind_ops(py::module_& m);      // ops.cc: all other operators

}  // namespace fastconv::bindings
