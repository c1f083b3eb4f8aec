// Arrays in device memory, as _cuda has them; fastconv.cuda.Array (Python) holds one.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "cuda/runtime.h"
#include "fastconv/tensor.h"

namespace fastconv::bindings {

namespace py = pybind11;

// An element type by NumPy's kind ('f', 'i', 'u', 'b') and its bytes.
struct Element {
  char kind = 'f';
  int bytes = 4;
  bool operator==(const Element&) const = default;
  py::dtype dtype() const { return py::dtype(kind + std::to_string(bytes)); }
};

struct CudaArray {
  std::shared_ptr<void> owner;  // of the memory
  void* data = nullptr;         // of the element with all indices 0
  Shape shape, strides;         // strides in elements, of any sign
  Element element;
  int device = 0;
  cudaStream_t stream = nullptr;  // what has been issued to it until now makes the values
  std::thread::id maker = std::this_thread::get_id();  // whose stream it is, where that is cudaStreamPerThread
  bool read_only = false;
  bool foreign = false;  // another library's memory

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  bool is_contiguous() const;  // in C order
};

// The stream that work of this thread is issued to: fastconv.cuda.stream(...), else the legacy
// default stream.
cudaStream_t current_stream();

// A new array of the current stream; the strides are C order's, or `strides`, which must be those
// of a permutation of it.
CudaArray new_cuda_array(const Shape& shape, Element element, int device);
CudaArray new_cuda_array(const Shape& shape, const Shape& strides, Element element, int device);

// Makes a stream, or the current one, wait for the values of `array`, if they come from another.
void wait_for(cudaStream_t stream, const CudaArray& array);
void wait_for(const CudaArray& array);
// Says that what is issued to `stream` until now reads `array`, whose memory is not to be used
// again before.
void read_by(cudaStream_t stream, const CudaArray& array);

}  // namespace fastconv::bindings
