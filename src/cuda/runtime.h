// The CUDA run-time, checked: errors, devices, streams, memory, launches. Nothing here is called by
// `import fastconv`.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <new>
#include <stdexcept>
#include <string>

namespace fastconv::cuda {

// No device, no driver, or one that cannot run this build: fastconv.cuda.CudaUnavailable.
struct Unavailable : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// A call failed: RuntimeError, names the call or kernel and the device's message.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// MemoryError, with the bytes asked for, free and in all.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// Throws one of the above unless `status` is cudaSuccess; `what` names the call or kernel. An error
// of a kernel is seen by a later call, so the message also names the kernels launched last.
void check(cudaError_t status, const char* what);

int device_count();  // throws Unavailable, which says what is missing, where there is none

// What decisions and checks of launches need to know of a device; a plain struct, so that tests can
// make one up.
struct Limits {
  int major = 8, minor = 0;             // compute capability
  bool wgmma = false;                   // 9.0, and the build has code for sm_90a
  int multiprocessors = 108;
  std::size_t shared_per_block = 166912;  // bytes, after opting in
  std::size_t shared_per_multiprocessor = 167936;
  std::size_t l2_bytes = 40u << 20;
  unsigned max_grid[3] = {2147483647u, 65535u, 65535u};
  int max_threads_per_block = 1024;
};
const Limits& device_limits(int device);  // asked once a device

// Makes `device` current for this scope.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = -1;
};

// Device memory in the order of a stream (cudaMallocAsync); freed on that stream.
class Memory {
 public:
  Memory() = default;
  Memory(std::size_t bytes, int device, cudaStream_t stream);
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory();

  template <class T = void>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }
  int device() const { return device_; }

 private:
  void swap(Memory& other) noexcept;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  int device_ = 0;
  cudaStream_t stream_ = nullptr;
};

// Gives what the memory pools and the pinned buffers keep back to the driver; waits for the
// devices.
void trim();

// Makes work issued to `stream` from now on wait for what has been issued to `before`.
void wait_for(cudaStream_t stream, cudaStream_t before);

// Between host memory of any kind and the device, through pinned buffers. The first returns when
// `from` may be reused, the second when `to` is filled.
void copy_to_device(void* to, const void* from, std::size_t bytes, cudaStream_t stream);
void copy_to_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream);

// Throws std::invalid_argument that names the kernel where a device cannot run such a launch; host
// only.
void check_launch(const char* name, dim3 grid, dim3 block, std::size_t shared_bytes, const Limits& limits);

// Opts in to `shared_bytes` of dynamic shared memory (once a kernel), checks, launches, and checks
// again. `name` is the kernel's, for messages.
void prepare_launch(const char* name, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes);

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            cudaStream_t stream, Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;  // nothing to compute
  prepare_launch(name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
}

}  // namespace fastconv::cuda
