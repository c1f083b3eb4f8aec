// What each binding file adds to the module.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "fastconv/op/attributes.h"

namespace fastconv::bindings {

namespace py = pybind11;

void bind_conv(py::module_& m);     // conv.cc: conv2d, PreparedConv2d, conv_transpose2d, linear, algorithms
void bind_network(py::module_& m);  // network.cc: Graph, Network
void bind_ops(py::module_& m);      // ops.cc: all other operators
void bind_plain(py::module_& m);    // plain.cc: operators on calls that need no look in Python

// The attributes of the operator `op` as Python passes them (network.cc).
Attributes to_attributes(const std::string& op, const py::dict& values);

}  // namespace fastconv::bindings
