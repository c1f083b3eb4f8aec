// fastconv._cuda.Array: from and to NumPy, and lent to and by other libraries.
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "bindings/cuda/arrays.h"
#include "bindings/cuda/bindings.h"
#include "bindings/cuda/dlpack.h"

namespace fastconv::bindings {

namespace {

using cuda::check;

// By the protocols: 1 is the legacy default stream, 2 that of the thread, others are pointers.
cudaStream_t stream_from(std::uintptr_t number) {
  if (number == 1) return nullptr;
  if (number == 2) return cudaStreamPerThread;
  return reinterpret_cast<cudaStream_t>(number);
}
std::uintptr_t stream_number(cudaStream_t stream) {
  return stream == nullptr ? 1 : stream == cudaStreamPerThread ? 2 : reinterpret_cast<std::uintptr_t>(stream);
}

thread_local cudaStream_t stream_of_thread = nullptr;

Shape c_strides(const Shape& shape) {
  Shape strides(shape.size());
  index_t stride = 1;
  for (std::size_t axis = shape.size(); axis-- > 0; stride *= std::max<index_t>(shape[axis], 1)) strides[axis] = stride;
  return strides;
}

// Offsets of the first and one past the last element that the array reaches, in elements.
std::pair<index_t, index_t> extent(const CudaArray& array) {
  index_t low = 0, high = 1;
  for (std::size_t axis = 0; axis < array.shape.size(); ++axis) {
    if (array.shape[axis] == 0) return {0, 0};
    (array.strides[axis] < 0 ? low : high) += (array.shape[axis] - 1) * array.strides[axis];
  }
  return {low, high};
}

char* first_byte(const CudaArray& array) { return array.as<char>() + extent(array).first * array.element.bytes; }
std::size_t reach_bytes(const CudaArray& array) {
  const auto [low, high] = extent(array);
  return static_cast<std::size_t>(high - low) * static_cast<std::size_t>(array.element.bytes);
}

// Memory that another library may still use on a stream of its own when it lets go: wait until all
// is done before it goes.
struct Owner {
  cuda::Memory memory;
  bool lent = false;
  ~Owner() {
    if (!lent || memory.bytes() == 0) return;
    try {
      const cuda::DeviceGuard guard(memory.device());
      check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    } catch (const std::exception&) {  // NOLINT: the next call reports it
    }
  }
};

CudaArray allocate(const Shape& shape, const Shape& strides, Element element, int device) {
  CudaArray array{nullptr, nullptr, shape, strides, element, device, current_stream()};
  const auto bytes = static_cast<std::size_t>(checked_size(shape, static_cast<std::size_t>(element.bytes)) * element.bytes);
  auto owner = std::make_shared<Owner>();
  owner->lent = array.stream == cudaStreamPerThread;  // another thread may let go, where this means another stream
  owner->memory = cuda::Memory(std::max(bytes, reach_bytes(array)), device, array.stream);
  array.data = owner->memory.as<char>() - extent(array).first * element.bytes;
  array.owner = std::shared_ptr<void>(owner, owner.get());
  return array;
}

CudaArray from_numpy(const py::array& x, int device) {
  cuda::device_limits(device);
  CudaArray array = new_cuda_array(Shape(x.shape(), x.shape() + x.ndim()),
                                   Element{x.dtype().kind(), static_cast<int>(x.itemsize())}, device);
  const void* data = x.data();
  const auto bytes = static_cast<std::size_t>(x.nbytes());
  const py::gil_scoped_release release;
  const cuda::DeviceGuard guard(device);
  cuda::copy_to_device(array.data, data, bytes, array.stream);
  return array;
}

py::array to_numpy(const CudaArray& array) {
  const std::size_t bytes = reach_bytes(array);
  py::array_t<std::uint8_t> memory(static_cast<py::ssize_t>(bytes));
  void* to = memory.mutable_data();
  {
    const py::gil_scoped_release release;
    const cuda::DeviceGuard guard(array.device);
    wait_for(array);
    cuda::copy_to_host(to, first_byte(array), bytes, current_stream());
  }
  std::vector<py::ssize_t> shape(array.shape.begin(), array.shape.end()), strides;
  for (const index_t stride : array.strides) strides.push_back(stride * array.element.bytes);
  const void* data = static_cast<char*>(to) - extent(array).first * array.element.bytes;
  return py::array(array.element.dtype(), shape, strides, data, memory);
}

// The same strides, in memory of its own.
CudaArray copy(const CudaArray& array) {
  const cuda::DeviceGuard guard(array.device);
  CudaArray result = allocate(array.shape, array.strides, array.element, array.device);
  wait_for(array);
  if (const std::size_t bytes = reach_bytes(array))
    check(cudaMemcpyAsync(first_byte(result), first_byte(array), bytes, cudaMemcpyDeviceToDevice, result.stream), "copy");
  read_by(result.stream, array);
  return result;
}

// ---- DLPack ----

constexpr const char* kName = "dltensor";
constexpr const char* kVersionedName = "dltensor_versioned";

dlpack::DataType dlpack_type(Element element) {
  const std::uint8_t code = element.kind == 'f'   ? dlpack::kFloat
                            : element.kind == 'i' ? dlpack::kInt
                            : element.kind == 'u' ? dlpack::kUInt
                                                  : dlpack::kBool;
  return {code, static_cast<std::uint8_t>(element.bytes * 8), 1};
}

Element element_of(dlpack::DataType type) {
  const bool whole = type.lanes == 1 && type.bits >= 8 && type.bits <= 64 && (type.bits & (type.bits - 1)) == 0;
  if (whole && type.code == dlpack::kFloat && type.bits >= 16) return {'f', type.bits / 8};
  if (whole && type.code == dlpack::kInt) return {'i', type.bits / 8};
  if (whole && type.code == dlpack::kUInt) return {'u', type.bits / 8};
  if (whole && type.code == dlpack::kBool && type.bits == 8) return {'b', 1};
  if (type.code == dlpack::kBfloat)
    throw py::type_error("arrays of bfloat16 cannot be taken, for NumPy has no such dtype: convert it to float16 or float32");
  throw py::type_error("the array's dtype (DLPack code " + std::to_string(type.code) + ", " + std::to_string(type.bits) +
                       " bits, " + std::to_string(type.lanes) +
                       " lanes) is none of float16, float32, float64, bool and integers");
}

// What a capsule points to, with what it must keep.
template <class Managed>
struct Lent {
  Managed managed{};
  CudaArray array;
};

template <class Managed>
py::capsule lend(const CudaArray& array, const char* name, [[maybe_unused]] bool copied) {
  auto lent = std::make_unique<Lent<Managed>>();
  lent->array = array;
  lent->managed.tensor = {array.data,
                          {dlpack::kCuda, array.device},
                          static_cast<std::int32_t>(array.shape.size()),
                          dlpack_type(array.element),
                          lent->array.shape.data(),
                          lent->array.strides.data(),
                          0};
  lent->managed.context = lent.get();
  lent->managed.deleter = [](Managed* managed) {
    const py::gil_scoped_acquire acquire;  // the memory may be a Python object's
    delete static_cast<Lent<Managed>*>(managed->context);
  };
  if constexpr (std::is_same_v<Managed, dlpack::ManagedTensorVersioned>) {
    lent->managed.version = {1, 0};
    lent->managed.flags = (array.read_only ? dlpack::kReadOnly : 0) | (copied ? dlpack::kIsCopied : 0);
  }
  PyObject* capsule = PyCapsule_New(&lent->managed, name, [](PyObject* self) {
    const char* current = PyCapsule_GetName(self);
    if (std::string(current) != kName && std::string(current) != kVersionedName) return;  // a consumer has it
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(self, current));
    managed->deleter(managed);
  });
  if (!capsule) throw py::error_already_set();
  lent.release();  // NOLINT: the capsule's
  return py::reinterpret_steal<py::capsule>(capsule);
}

void mark_lent(CudaArray& array) {
  if (!array.foreign) static_cast<Owner*>(array.owner.get())->lent = true;
}

// `stream` is the consumer's: its work from now on sees the values. Less than 0 asks for nothing.
py::capsule to_dlpack(CudaArray& array, std::intptr_t stream, bool versioned, bool copied) {
  if (!versioned && array.read_only) throw py::buffer_error("a read-only array can only be lent by DLPack 1.0 or newer");
  const cuda::DeviceGuard guard(array.device);
  if (stream >= 0) {
    const cudaStream_t consumer = stream_from(static_cast<std::uintptr_t>(stream));
    wait_for(consumer, array);
    if (consumer != array.stream) mark_lent(array);
  } else {
    mark_lent(array);
  }
  return versioned ? lend<dlpack::ManagedTensorVersioned>(array, kVersionedName, copied)
                   : lend<dlpack::ManagedTensor>(array, kName, copied);
}

template <class Managed>
CudaArray borrow(const py::capsule& capsule, const char* name, const char* used_name) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (!managed) throw py::error_already_set();
  const dlpack::Tensor& tensor = managed->tensor;
  CudaArray array;
  if constexpr (std::is_same_v<Managed, dlpack::ManagedTensorVersioned>) {
    if (managed->version.major != 1)
      throw py::buffer_error("the array is lent by DLPack " + std::to_string(managed->version.major) + ", 1 can be taken");
    array.read_only = managed->flags & dlpack::kReadOnly;
  }
  if (tensor.device.type != dlpack::kCuda && tensor.device.type != dlpack::kCudaManaged)
    throw py::buffer_error("the array is not in CUDA device memory (DLPack device type " +
                           std::to_string(tensor.device.type) + ")");
  array.element = element_of(tensor.dtype);
  array.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  array.strides = tensor.strides ? Shape(tensor.strides, tensor.strides + tensor.ndim) : c_strides(array.shape);
  array.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  array.device = tensor.device.id;
  array.stream = current_stream();
  array.foreign = true;
  array.owner = std::shared_ptr<void>(managed, [](void* lent) {
    auto* tensor_lent = static_cast<Managed*>(lent);
    if (tensor_lent->deleter) tensor_lent->deleter(tensor_lent);
  });
  PyCapsule_SetName(capsule.ptr(), used_name);
  return array;
}

// A capsule that a producer made for the current stream.
CudaArray from_dlpack(const py::capsule& capsule) {
  if (PyCapsule_IsValid(capsule.ptr(), kVersionedName))
    return borrow<dlpack::ManagedTensorVersioned>(capsule, kVersionedName, "used_dltensor_versioned");
  if (PyCapsule_IsValid(capsule.ptr(), kName)) return borrow<dlpack::ManagedTensor>(capsule, kName, "used_dltensor");
  throw py::type_error("__dlpack__ gave no DLPack capsule, or one that has been used");
}

// ---- __cuda_array_interface__, version 3 ----

CudaArray from_interface(const py::object& owner, std::uintptr_t data, bool read_only, const Shape& shape,
                         const std::optional<Shape>& strides_bytes, const py::dtype& dtype,
                         std::optional<std::uintptr_t> stream) {
  CudaArray array;
  array.element = {dtype.kind(), static_cast<int>(dtype.itemsize())};
  array.shape = shape;
  array.strides = c_strides(shape);
  for (std::size_t axis = 0; strides_bytes && axis < shape.size(); ++axis) {
    if ((*strides_bytes)[axis] % array.element.bytes != 0)
      throw py::type_error("the array has strides that are no multiple of its item size");
    array.strides[axis] = (*strides_bytes)[axis] / array.element.bytes;
  }
  array.data = reinterpret_cast<void*>(data);
  array.read_only = read_only;
  array.foreign = true;
  if (data != 0) {
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, array.data), "cudaPointerGetAttributes");
    if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged)
      throw std::invalid_argument("__cuda_array_interface__ points to no device memory");
    array.device = attributes.device;
  }
  array.stream = current_stream();
  if (stream) {
    const cuda::DeviceGuard guard(array.device);
    cuda::wait_for(array.stream, stream_from(*stream));
  }
  array.owner = std::shared_ptr<void>(new py::object(owner), [](void* object) {
    const py::gil_scoped_acquire acquire;
    delete static_cast<py::object*>(object);
  });
  return array;
}

// What the values can be read on after.
std::uintptr_t lend_pointer(CudaArray& array) {
  mark_lent(array);
  return reinterpret_cast<std::uintptr_t>(array.data);
}

}  // namespace

bool CudaArray::is_contiguous() const {
  const Shape expected = c_strides(shape);
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    if (shape[axis] > 1 && strides[axis] != expected[axis]) return false;
  return true;
}

cudaStream_t current_stream() { return stream_of_thread; }

CudaArray new_cuda_array(const Shape& shape, Element element, int device) {
  return allocate(shape, c_strides(shape), element, device);
}
CudaArray new_cuda_array(const Shape& shape, const Shape& strides, Element element, int device) {
  return allocate(shape, strides, element, device);
}

void wait_for(cudaStream_t stream, const CudaArray& array) {
  if (array.stream == cudaStreamPerThread && array.maker != std::this_thread::get_id())
    return check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");  // that thread's stream has no name here
  cuda::wait_for(stream, array.stream);
}
void wait_for(const CudaArray& array) { wait_for(current_stream(), array); }

void read_by(cudaStream_t stream, const CudaArray& array) {
  if (array.stream != cudaStreamPerThread) cuda::wait_for(array.stream, stream);  // else its owner waits for the device
}

void bind_array(py::module_& m) {
  py::class_<CudaArray>(m, "Array")
      .def_static("from_numpy", &from_numpy)
      .def_static("from_dlpack", &from_dlpack)
      .def_static("from_interface", &from_interface)
      .def("numpy", &to_numpy)
      .def("copy", &copy)
      .def("to_dlpack", &to_dlpack)
      .def("lend_pointer", &lend_pointer)
      .def_property_readonly("shape", [](const CudaArray& a) { return py::tuple(py::cast(a.shape)); })
      .def_property_readonly("strides",
                             [](const CudaArray& a) {
                               py::tuple strides(a.strides.size());
                               for (std::size_t axis = 0; axis < a.strides.size(); ++axis)
                                 strides[axis] = a.strides[axis] * a.element.bytes;
                               return strides;
                             })
      .def_property_readonly("dtype", [](const CudaArray& a) { return a.element.dtype(); })
      .def_property_readonly("device", [](const CudaArray& a) { return a.device; })
      .def_property_readonly("stream", [](const CudaArray& a) { return stream_number(a.stream); })
      .def_property_readonly("read_only", [](const CudaArray& a) { return a.read_only; })
      .def_property_readonly("contiguous", &CudaArray::is_contiguous);

  // For this thread; gives the one before.
  m.def("set_stream", [](std::uintptr_t stream) {
    return stream_number(std::exchange(stream_of_thread, stream_from(stream)));
  });
  m.def("current_stream", [] { return stream_number(current_stream()); });
}

}  // namespace fastconv::bindings
