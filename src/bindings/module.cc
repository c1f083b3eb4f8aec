// The extension module fastconv._core: one bind_* function per file.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "fastconv/cpu.h"
#include "fastconv/machine.h"
#include "fastconv/memory.h"
#include "fastconv/thread_pool.h"
#include "kernels/probe/probe.h"

namespace fastconv::bindings {

namespace {

void bind_config(py::module_& m) {
  m.def("num_threads", &num_threads);
  m.def("process_num_threads", &process_num_threads);
  m.def("set_num_threads", &set_num_threads);
  m.def("set_thread_override", &set_thread_override);
  m.def("trim", &trim_scratch);
  // (instruction set, bytes in a vector) of the kernels that dispatch hands out, as they know it
  // themselves.
  m.def("kernel_isa", [] {
    const ProbeKernels<float>& probe = probe_kernels<float>();
    return py::make_tuple(probe.isa, probe.vector_bytes);
  });
  m.def("measure_flops", [](const py::dtype& dtype, double seconds) {
    const DType type = dtype_from(dtype);
    const py::gil_scoped_release release;
    return measure_flops(type, seconds);
  });
  m.def("measure_read_bandwidth", &measure_read_bandwidth, py::call_guard<py::gil_scoped_release>());
  m.def("config", [] {
    py::dict d;
    std::vector<std::string> found;
    for (const Isa isa : supported_isas()) found.emplace_back(isa_name(isa));
    const CacheSizes& caches = cache_sizes();
    d["compiler"] = FASTCONV_COMPILER;
    d["cpu"] = cpu_model();
    d["isa_found"] = found;
    d["isa"] = isa_name(active_isa());
    d["threads"] = num_threads();
    d["cores_available"] = available_cores();
    d["cache_l1d"] = caches.l1d;
    d["cache_l2"] = caches.l2;
    d["cache_l3"] = caches.l3;
    d["scratch_cached_bytes"] = scratch_cached_bytes();
    return d;
  });
}

}  // namespace
}  // namespace fastconv::bindings

// threadpoolctl knows a library by its file name and a symbol that it exports
// (python/fastconv/config.py).
extern "C" __attribute__((visibility("default"))) int fastconv_num_threads() { return fastconv::process_num_threads(); }

PYBIND11_MODULE(_core, m) {
  using namespace fastconv::bindings;
  try {
    fastconv::active_isa();
    fastconv::num_threads();
  } catch (const std::runtime_error& error) {
    throw py::import_error(error.what());
  }
  bind_config(m);
  bind_conv(m);
  bind_network(m);
  bind_ops(m);
  bind_plain(m);
}
