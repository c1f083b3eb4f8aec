// The steps of a network as Python's dictionaries.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <vector>

#include "fastconv/network.h"

namespace fastconv::bindings {

namespace py = pybind11;

inline py::list step_dicts(const std::vector<StepInfo>& steps) {
  py::list list;
  for (const StepInfo& step : steps) {
    py::dict d;
    d["name"] = step.name;
    d["op"] = step.op;
    d["shape"] = py::tuple(py::cast(step.shape));
    d["algorithm"] = step.algorithm;
    d["reason"] = step.reason;
    d["error_class"] = step.error_class;
    d["macs"] = step.macs;
    d["bytes"] = step.bytes;
    d["workspace"] = step.workspace;
    if (step.value != kNone) {
      py::list considered;
      for (const Candidate& c : step.considered ? step.considered() : std::vector<Candidate>{})
        considered.append(py::make_tuple(c.algorithm, c.serves, c.reason));
      d["value"] = step.value;
      d["task"] = step.task;
      d["considered"] = std::move(considered);
    }
    list.append(std::move(d));
  }
  return list;
}

}  // namespace fastconv::bindings
