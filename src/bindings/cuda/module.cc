// The extension module fastconv._cuda, which fastconv/cuda/ imports when a device is asked for.
#include "bindings/cuda/bindings.h"
#include "cuda/runtime.h"

PYBIND11_MODULE(_cuda, m) {
  using namespace fastconv::bindings;
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const fastconv::cuda::Unavailable& error) {
      const py::object type = py::module_::import("fastconv.cuda").attr("CudaUnavailable");
      PyErr_SetString(type.ptr(), error.what());
    } catch (const fastconv::cuda::OutOfMemory& error) {
      PyErr_SetString(PyExc_MemoryError, error.what());
    }
  });
  bind_runtime(m);
  bind_array(m);
  bind_network(m);
}
