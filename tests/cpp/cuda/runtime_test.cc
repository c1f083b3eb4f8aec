#include "cuda/runtime.h"

#include <cuda_runtime.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "says.h"
#include "test.h"

namespace {

using namespace fastconv::cuda;

__global__ void add(float* y, float value, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) y[i] += value;
}
__global__ void nothing() {}

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
