// Devices and what this build was made of.
#include <pybind11/stl.h>

#include "bindings/cuda/bindings.h"
#include "cuda/runtime.h"

namespace fastconv::bindings {

namespace {

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

py::dict properties(int device) {
  const cuda::Limits& limits = cuda::device_limits(device);
  cudaDeviceProp found{};
  cuda::check(cudaGetDeviceProperties(&found, device), "cudaGetDeviceProperties");
  py::dict d;
  d["name"] = found.name;
  d["compute_capability"] = py::make_tuple(limits.major, limits.minor);
  d["multiprocessors"] = limits.multiprocessors;
  d["total_memory"] = found.totalGlobalMem;
  d["shared_memory_per_block"] = limits.shared_per_block;
  d["l2_cache"] = limits.l2_bytes;
  return d;
}

}  // namespace

void bind_runtime(py::module_& m) {
  m.def("device_count", &cuda::device_count);
  m.def("device_properties", &properties);
  m.def("synchronize", [](int device) {
    const py::gil_scoped_release release;
    cuda::device_limits(device);
    const cuda::DeviceGuard guard(device);
    cuda::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  });
  m.def("trim", &cuda::trim, py::call_guard<py::gil_scoped_release>());
  // Without a call of the driver.
  m.def("config", [] {
    py::dict d;
    d["toolkit"] = version(CUDART_VERSION);
    d["architectures"] = FASTCONV_CUDA_ARCHITECTURES;
    return d;
  });
}

}  // namespace fastconv::bindings
