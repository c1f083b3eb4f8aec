#include "bindings/cuda/bindings.h"

namespace fastconv::bindings {

void bind_network(py::module_&) {}

}  // namespace fastconv::bindings
