// src/cuda/runtime.cc. What makes up failures is in the emulation only; the rest runs on a device too.
#include "cuda/runtime.h"

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "emulation.h"
#include "test.h"

namespace {

using namespace fastconv::cuda;

__global__ void add(float* y, float value, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) y[i] += value;
}
__global__ void nothing() {}

template <class Error, class F>
void check_says(F call, const char* text) {
  try {
    call();
  } catch (const Error& error) {
    if (std::string(error.what()).find(text) == std::string::npos) throw std::runtime_error(std::string("says: ") + error.what());
    return;
  }
  throw std::runtime_error(std::string("did not throw: ") + text);
}

// Restores what a test has changed.
struct WithSettings {
  ~WithSettings() {
    emulation::settings() = before;
    emulation::revive();
  }
  emulation::Settings before = emulation::settings();
};

}  // namespace

TEST(runtime_memory_and_copies) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{64} << 10, (std::size_t{64} << 10) + 1,
                                  std::size_t{4} << 20, (std::size_t{9} << 20) + 3}) {
    std::vector<unsigned char> there(bytes), back(bytes);
    for (std::size_t i = 0; i < bytes; ++i) there[i] = static_cast<unsigned char>(i * 31 >> 3);
    const Memory memory(bytes, 0, nullptr);
    CHECK(memory.bytes() == bytes && memory.device() == 0 && (memory.as<char>() != nullptr) == (bytes > 0));
    copy_to_device(memory.as(), there.data(), bytes, nullptr);
    copy_to_host(back.data(), memory.as(), bytes, nullptr);
    CHECK(back == there);
  }
  Memory a(16, 0, nullptr), b;
  void* data = a.as();
  b = std::move(a);
  CHECK(b.as() == data && b.bytes() == 16);
  trim();
}

TEST(runtime_launch) {
  constexpr int kCount = 1000;
  std::vector<float> values(kCount);
  std::iota(values.begin(), values.end(), 0.f);
  const Memory memory(kCount * sizeof(float), 0, nullptr);
  copy_to_device(memory.as(), values.data(), memory.bytes(), nullptr);
  launch("add", add, dim3(4), dim3(256), 0, nullptr, memory.as<float>(), 2, kCount);
  launch("add", add, dim3(0), dim3(256), 0, nullptr, memory.as<float>(), 2, kCount);  // nothing to do
  launch("add", add, dim3(1), dim3(1), std::size_t{100} << 10, nullptr, memory.as<float>(), 1, 1);
  copy_to_host(values.data(), memory.as(), memory.bytes(), nullptr);
  CHECK(values[0] == 3);
  for (int i = 1; i < kCount; ++i) CHECK(values[static_cast<std::size_t>(i)] == static_cast<float>(i) + 2);
}

TEST(runtime_launches_that_no_device_takes) {
  const Limits limits;
  check_launch("k", dim3(2147483647u, 65535, 65535), dim3(32, 32), limits.shared_per_block, limits);
  check_says<std::invalid_argument>([&] { check_launch("k", dim3(1, 65536), 32, 0, limits); },
                                    "kernel k: a grid of (1, 65536, 1) blocks, the device takes (2147483647, 65535, 65535)");
  check_says<std::invalid_argument>([&] { check_launch("k", 1, dim3(1025), 0, limits); }, "blocks of (1025, 1, 1) threads");
  check_says<std::invalid_argument>([&] { check_launch("k", 1, dim3(1, 1, 65), 0, limits); }, "64 along z");
  check_says<std::invalid_argument>([&] { check_launch("k", 1, dim3(0), 0, limits); }, "blocks of (0, 1, 1) threads");
  check_says<std::invalid_argument>([&] { check_launch("k", 1, 1, limits.shared_per_block + 1, limits); },
                                    "166913 bytes of shared memory, the device has 166912");
  check_says<std::invalid_argument>([] { launch("nothing", nothing, dim3(1, 70000), 1, 0, nullptr); }, "kernel nothing");
}

TEST(runtime_streams_and_devices) {
  CHECK(device_count() >= 1);
  check_says<std::invalid_argument>([] { device_limits(-1); }, "there is no CUDA device -1");
  check_says<std::invalid_argument>([] { device_limits(99); }, "there is no CUDA device 99");
  check_says<Error>([] { const DeviceGuard guard(99); }, "cudaSetDevice: ");
  cudaStream_t stream;
  check(cudaStreamCreate(&stream), "cudaStreamCreate");
  wait_for(stream, nullptr);
  wait_for(stream, stream);
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  check(cudaStreamDestroy(stream), "cudaStreamDestroy");
}

TEST(runtime_device_guard) {
  const WithSettings restore;
  emulation::settings().devices = 2;
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

TEST(runtime_out_of_memory) {
  const WithSettings restore;
  emulation::settings().memory = 1000;
  const Memory memory(600, 0, nullptr);
  check_says<OutOfMemory>([] { const Memory more(500, 0, nullptr); },
                          "device 0 is out of memory: 500 bytes asked for, 400 of 1000 free");
  const Memory fits(400, 0, nullptr);
}

TEST(runtime_missing_driver_and_device) {
  const WithSettings restore;
  emulation::settings().devices = 0;
  check_says<Unavailable>([] { device_count(); }, "no CUDA device was found by the driver for CUDA 13.0");
  emulation::settings().driver = false;
  check_says<Unavailable>([] { device_count(); }, "no NVIDIA driver was found (libcuda.so.1)");
  check_says<Unavailable>([] { check(cudaErrorNoKernelImageForDevice, "k"); }, "compute capability 8.0 or newer");
}

TEST(runtime_errors_of_kernels) {
  const WithSettings restore;
  const Memory memory(400, 0, nullptr);
  launch("first", add, dim3(1), dim3(1), 0, nullptr, memory.as<float>(), 1, 1);
  check_says<Error>([&] { launch("wild", add, dim3(1), dim3(128), 0, nullptr, memory.as<float>(), 1, 102); },
                    "wild: emulated cudaErrorIllegalAddress: device memory was written 0 bytes after the end of an allocation of "
                    "400 bytes (cudaErrorIllegalAddress). The kernels launched last, newest first: wild, first");
  check_says<Error>([] { check(cudaDeviceSynchronize(), "cudaDeviceSynchronize"); }, "CUDA cannot be used in this process any more");
  emulation::revive();
  std::memset(memory.as<char>() + 400, 0xa5, 8);  // mends the guard zone
}

TEST(runtime_errors_come_later) {
  const WithSettings restore;
  emulation::settings().fault = emulation::launches() + 1;
  launch("at_fault", nothing, dim3(1), dim3(1), 0, nullptr);
  check_says<Error>([] { check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize"); },
                    "cudaStreamSynchronize: emulated cudaErrorIllegalAddress");
  check_says<Error>([] { launch("later", nothing, dim3(1), dim3(1), 0, nullptr); }, "newest first: ");
}
