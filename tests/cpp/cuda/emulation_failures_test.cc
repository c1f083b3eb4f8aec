// src/cuda/runtime.cc where something fails, which the emulation makes up.
#include <cuda_runtime.h>

#include <cstring>

#include "cuda/runtime.h"
#include "emulation.h"
#include "says.h"
#include "test.h"

namespace {

using namespace fastconv::cuda;

[[maybe_unused]] __global__ void add(float* y, float value, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) y[i] += value;
}
__global__ void nothing() {}

// Restores what a test has changed.
struct WithSettings {
  ~WithSettings() {
    emulation::settings() = before;
    emulation::revive();
  }
  emulation::Settings before = emulation::settings();
};

}  // namespace

TEST(emulation_device_guard) {
  emulation::settings().devices = 2;  // and stays so: the run-time then has a pool of each
  int device = -1;
  {
    const DeviceGuard outer(1);
    {
      const DeviceGuard inner(0);
      CHECK(cudaGetDevice(&device) == cudaSuccess && device == 0);
    }
    const Memory memory(8, 1, nullptr);
    CHECK(cudaGetDevice(&device) == cudaSuccess && device == 1);
  }
  CHECK(cudaGetDevice(&device) == cudaSuccess && device == 0);
}

TEST(emulation_out_of_memory) {
  const WithSettings restore;
  emulation::settings().memory = 1000;
  const Memory memory(600, 0, nullptr);
  check_says<OutOfMemory>([] { const Memory more(500, 0, nullptr); },
                          "device 0 is out of memory: 500 bytes asked for, 400 of 1000 free");
  const Memory fits(400, 0, nullptr);
}

TEST(emulation_missing_driver_and_device) {
  const WithSettings restore;
  emulation::settings().devices = 0;
  check_says<Unavailable>([] { device_count(); }, "no CUDA device was found by the driver for CUDA 13.0");
  emulation::settings().driver = false;
  check_says<Unavailable>([] { device_count(); }, "no NVIDIA driver was found (libcuda.so.1)");
  check_says<Unavailable>([] { check(cudaErrorNoKernelImageForDevice, "k"); }, "compute capability 8.0 or newer");
}

#if !defined(__SANITIZE_ADDRESS__)  // which ends the process
TEST(emulation_errors_of_kernels) {
  const WithSettings restore;
  const Memory memory(400, 0, nullptr);
  launch("first", add, dim3(1), dim3(1), 0, nullptr, memory.as<float>(), 1, 1);
  check_says<Error>([&] { launch("wild", add, dim3(1), dim3(128), 0, nullptr, memory.as<float>(), 1, 102); },
                    "wild: emulated cudaErrorIllegalAddress: device memory was written 0 bytes after the end of an allocation "
                    "of 400 bytes (cudaErrorIllegalAddress). The kernels launched last, newest first: wild, first");
  check_says<Error>([] { check(cudaDeviceSynchronize(), "cudaDeviceSynchronize"); },
                    "CUDA cannot be used in this process any more");
  emulation::revive();
  std::memset(memory.as<char>() + 400, 0xa5, 8);  // mends the guard zone
}
#endif

TEST(emulation_errors_come_later) {
  const WithSettings restore;
  emulation::settings().fault = emulation::launches() + 1;
  launch("at_fault", nothing, dim3(1), dim3(1), 0, nullptr);
  check_says<Error>([] { check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize"); },
                    "cudaStreamSynchronize: emulated cudaErrorIllegalAddress");
  check_says<Error>([] { launch("later", nothing, dim3(1), dim3(1), 0, nullptr); }, "newest first: ");
}
