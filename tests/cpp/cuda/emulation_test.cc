// The emulation itself.
#include "emulation.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <ptx.cuh>
#include <random>
#include <thread>

#include "test.h"

namespace {

using namespace fastconv::cuda;

template <class... P, class... A>
cudaError_t start(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, A... arguments) {
  cudaLaunchConfig_t config;
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// Device memory that the host may touch, here.
template <class T>
struct Buffer {
  explicit Buffer(std::size_t n) { CHECK(cudaMalloc(reinterpret_cast<void**>(&data), n * sizeof(T)) == cudaSuccess); }
  ~Buffer() { cudaFree(data); }
  T* data = nullptr;
};

// A failure that ends in a sticky error whose message contains `text`.
void check_fails(cudaError_t error, const char* text) {
  const std::string message = cudaGetErrorString(error);
  emulation::revive();
  if (error == cudaSuccess || message.find(text) == std::string::npos) throw std::runtime_error("instead: " + message);
}

__global__ void write_indices(int* y) {
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] = static_cast<int>(1000 * block + thread);
}

// Sums of a block by two barriers and a static array.
__global__ void sum_block(const float* x, float* y) {
  __shared__ float partial[8];
  float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, bits);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    float all = 0;
    for (unsigned i = 0; i < blockDim.x / 32; ++i) all += partial[i];
    y[blockIdx.x] = all;
  }
}

__global__ void shuffles(int* y) {
  const int lane = static_cast<int>(threadIdx.x);
  int* mine = y + 8 * lane;
  mine[0] = __shfl_sync(0xffffffffu, lane, 5);
  mine[1] = __shfl_up_sync(0xffffffffu, lane, 3u);
  mine[2] = __shfl_down_sync(0xffffffffu, lane, 3u);
  mine[3] = __shfl_xor_sync(0xffffffffu, lane, 6);
  mine[4] = __shfl_sync(0xffffffffu, lane, 1, 8);
  mine[5] = static_cast<int>(__ballot_sync(0xffffffffu, lane < 4));
  mine[6] = __any_sync(0xffffffffu, lane == 31);
  mine[7] = __syncthreads_count(lane % 3 == 0);
}

// The first warp leaves before the barrier, as it may.
__global__ void early_exit(int* y) {
  if (threadIdx.x < 32) return;
  __shared__ int values[96];
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  y[threadIdx.x - 32] = values[127 - threadIdx.x];
}

__global__ void divergent_barrier() {
  if (threadIdx.x < 40) __syncthreads();
  else __syncthreads();
}
__global__ void missing_lane() {
  if (threadIdx.x != 7) __syncwarp();
}
[[maybe_unused]] __global__ void out_of_bounds(float* y, int count) { y[count] = 0; }
[[maybe_unused]] __global__ void shared_out_of_bounds(int count) { dynamic_shared<char>()[count] = 1; }

// y = a * b with the fragments of one mma, by one warp. a is 16 x k, b is k x 8.
template <int kK, class T, class Convert, class Mma>
void multiply(const float* a, const float* b, float* y, Convert convert, Mma mma) {
  const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
  constexpr int kPer = 4 / sizeof(T);  // elements in a register
  std::uint32_t fa[4], fb[2];
  for (int part = 0; part < 2; ++part) {
    for (int row = 0; row < 2; ++row) {
      T elements[kPer];
      for (int i = 0; i < kPer; ++i) elements[i] = convert(a[(g + 8 * row) * kK + part * kK / 2 + kPer * t + i]);
      std::memcpy(&fa[2 * part + row], elements, 4);
    }
    T elements[kPer];
    for (int i = 0; i < kPer; ++i) elements[i] = convert(b[(part * kK / 2 + kPer * t + i) * 8 + g]);
    std::memcpy(&fb[part], elements, 4);
  }
  float d[4] = {1, 1, 1, 1};
  mma(d, fa, fb);
  for (int i = 0; i < 4; ++i) y[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = d[i];
}
__global__ void multiply_tf32(const float* a, const float* b, float* y) {
  multiply<8, std::uint32_t>(a, b, y, to_tf32, [](auto& d, auto& fa, auto& fb) { mma_tf32(d, fa, fb); });
}
__global__ void multiply_fp16(const float* a, const float* b, float* y) {
  multiply<16, __half>(a, b, y, __float2half_rn, [](auto& d, auto& fa, auto& fb) { mma_fp16(d, fa, fb); });
}
__global__ void multiply_bf16(const float* a, const float* b, float* y) {
  multiply<16, __nv_bfloat16>(a, b, y, __float2bfloat16_rn, [](auto& d, auto& fa, auto& fb) { mma_bf16(d, fa, fb); });
}

void check_mma(void (*kernel)(const float*, const float*, float*), int k) {
  Buffer<float> a(16 * k), b(8 * k), y(16 * 8);
  for (int i = 0; i < 16 * k; ++i) a.data[i] = static_cast<float>(i * 7 % 23 - 11);
  for (int i = 0; i < 8 * k; ++i) b.data[i] = static_cast<float>(i * 5 % 19 - 9);
  CHECK(start(kernel, 1, 32, 0, a.data, b.data, y.data) == cudaSuccess);
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column) {
      float sum = 1;
      for (int i = 0; i < k; ++i) sum += a.data[row * k + i] * b.data[i * 8 + column];
      CHECK(y.data[row * 8 + column] == sum);
    }
}

__global__ void load_matrices(const std::uint16_t* x, std::uint32_t* plain, std::uint32_t* transposed) {
  std::uint16_t* shared = dynamic_shared<std::uint16_t>();
  for (int i = 0; i < 8; i += 8) cp_async<16>(shared + 8 * threadIdx.x, x + 8 * threadIdx.x, true);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  std::uint32_t d[4];
  ldmatrix_x4(d, shared + 8 * threadIdx.x);
  for (int i = 0; i < 4; ++i) plain[4 * threadIdx.x + i] = d[i];
  ldmatrix_x4_trans(d, shared + 8 * threadIdx.x);
  for (int i = 0; i < 4; ++i) transposed[4 * threadIdx.x + i] = d[i];
}

__global__ void copy_asynchronously(const float* x, float* y) {
  float* shared = dynamic_shared<float>();
  const unsigned i = threadIdx.x;
  cp_async<4>(shared + i, x + i, true);
  cp_async_commit();
  cp_async<4>(shared + blockDim.x + i, x, false);
  cp_async_commit();
  cp_async_wait<1>();
  y[i] = shared[i];
  y[blockDim.x + i] = shared[blockDim.x + i];  // too early
  cp_async_wait<0>();
  y[2 * blockDim.x + i] = shared[blockDim.x + i];
}

}  // namespace

TEST(emulation_indices) {
  Buffer<int> y(6 * 24);
  CHECK(start(write_indices, dim3(1, 2, 3), dim3(2, 3, 4), 0, y.data) == cudaSuccess);
  for (int block = 0; block < 6; ++block)
    for (int thread = 0; thread < 24; ++thread) CHECK(y.data[block * 24 + thread] == 1000 * block + thread);
}

TEST(emulation_reduction) {
  Buffer<float> x(3 * 256), y(3);
  for (int i = 0; i < 3 * 256; ++i) x.data[i] = static_cast<float>(i);
  CHECK(start(sum_block, 3, 256, 0, x.data, y.data) == cudaSuccess);
  for (int block = 0; block < 3; ++block) CHECK(y.data[block] == 256.f * (256.f * block + 127.5f));
}

TEST(emulation_shuffles) {
  Buffer<int> y(32 * 8);
  CHECK(start(shuffles, 1, 32, 0, y.data) == cudaSuccess);
  for (int lane = 0; lane < 32; ++lane) {
    const int* mine = y.data + 8 * lane;
    CHECK(mine[0] == 5);
    CHECK(mine[1] == (lane < 3 ? lane : lane - 3));
    CHECK(mine[2] == (lane > 28 ? lane : lane + 3));
    CHECK(mine[3] == (lane ^ 6));
    CHECK(mine[4] == lane / 8 * 8 + 1);
    CHECK(mine[5] == 15 && mine[6] == 1 && mine[7] == 11);
  }
}

TEST(emulation_threads_that_have_ended_count_at_barriers) {
  Buffer<int> y(64);
  CHECK(start(early_exit, 1, 96, 0, y.data) == cudaSuccess);
  for (int i = 0; i < 64; ++i) CHECK(y.data[i] == 127 - 32 - i);
}

TEST(emulation_finds_divergence) {
  check_fails(start(divergent_barrier, 2, 64, 0), "threads wait at different barriers");
  check_fails(start(missing_lane, 1, 64, 0), "31 wait for the other lanes of their warp");
  Buffer<int> y(64);
  CHECK(start(early_exit, 1, 96, 0, y.data) == cudaSuccess);  // and goes on
}

#if !defined(__SANITIZE_ADDRESS__)  // which ends the process
TEST(emulation_finds_writes_out_of_bounds) {
  Buffer<float> y(3);
  check_fails(start(out_of_bounds, 1, 1, 0, y.data, 4), "4 bytes after the end of an allocation of 12 bytes");
  std::memset(y.data + 4, 0xa5, 4);
  check_fails(start(out_of_bounds, 1, 1, 0, y.data, -1), "before the begin of an allocation of 12 bytes");
  std::memset(y.data - 1, 0xa5, 4);
  check_fails(start(shared_out_of_bounds, 1, 1, 40, 42), "of 40 bytes was written at byte 42");
}
#endif

TEST(emulation_mma) {
  check_mma(multiply_tf32, 8);
  check_mma(multiply_fp16, 16);
  check_mma(multiply_bf16, 16);
}

TEST(emulation_ldmatrix) {
  Buffer<std::uint16_t> x(256);
  Buffer<std::uint32_t> plain(128), transposed(128);
  for (int i = 0; i < 256; ++i) x.data[i] = static_cast<std::uint16_t>(i);
  CHECK(start(load_matrices, 1, 32, 512, x.data, plain.data, transposed.data) == cudaSuccess);
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
      const unsigned g = lane / 4, t = lane % 4, first = 64 * matrix;
      CHECK(plain.data[4 * lane + matrix] == (first + 8 * g + 2 * t) + ((first + 8 * g + 2 * t + 1) << 16));
      CHECK(transposed.data[4 * lane + matrix] == (first + 8 * (2 * t) + g) + ((first + 8 * (2 * t + 1) + g) << 16));
    }
}

TEST(emulation_asynchronous_copies) {
  Buffer<float> x(64), y(3 * 64);
  for (int i = 0; i < 64; ++i) x.data[i] = static_cast<float>(i);
  CHECK(start(copy_asynchronously, 1, 64, 512, x.data, y.data) == cudaSuccess);
  for (int i = 0; i < 64; ++i) CHECK(y.data[i] == i && std::isnan(y.data[64 + i]) && y.data[128 + i] == 0);
}

TEST(emulation_16_bit_conversions) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float half = __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
    const unsigned exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double magnitude = exponent == 0    ? std::ldexp(fraction, -24)
                             : exponent == 31 ? fraction ? NAN : INFINITY
                                              : std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25);
    CHECK(std::isnan(magnitude) ? std::isnan(half) : half == (bits & 32768 ? -magnitude : magnitude));
    if (!std::isnan(half)) CHECK(__half_as_ushort(__float2half_rn(half)) == bits);
    const float bf16 = __bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(bits)));
    CHECK(__float_as_uint(bf16) == bits << 16);
    if (!std::isnan(bf16)) CHECK(__bfloat16_as_ushort(__float2bfloat16_rn(bf16)) == bits);
    // Half way to the next, ties go to even.
    if (exponent < 31) {
      const float next = exponent == 30 && fraction == 1023
                             ? 65536.f
                             : std::fabs(__half2float(__ushort_as_half(static_cast<unsigned short>((bits & 32767) + 1))));
      const float middle = (std::fabs(half) + next) / 2;
      CHECK(__half_as_ushort(__float2half_rn(middle)) == (bits & 32767) + (bits & 1));
      CHECK(__half_as_ushort(__float2half_rn(std::nextafterf(middle, 0))) == (bits & 32767));
      CHECK(__half_as_ushort(__float2half_rn(std::nextafterf(middle, INFINITY))) == (bits & 32767) + 1);
    }
  }
  CHECK(__float_as_uint(__bfloat162float(__float2bfloat16_rn(1.00390625f))) == 0x3f800000u);
  CHECK(__float_as_uint(__bfloat162float(__float2bfloat16_rn(1.01171875f))) == 0x3f820000u);
  CHECK(to_tf32(1.f + 0x1p-11f) == __float_as_uint(1.f + 0x1p-10f));
  CHECK(to_tf32(1.f + 0x1p-12f) == __float_as_uint(1.f));
}

TEST(emulation_graph_capture) {
  Buffer<float> x(256), y(1), z(1);
  for (int i = 0; i < 256; ++i) x.data[i] = 1;
  cudaStream_t stream, other;
  cudaEvent_t event;
  CHECK(cudaStreamCreate(&stream) == cudaSuccess && cudaStreamCreate(&other) == cudaSuccess);
  CHECK(cudaEventCreate(&event) == cudaSuccess);
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  cudaLaunchConfig_t config;
  config.blockDim = 256;
  config.stream = stream;
  CHECK(cudaLaunchKernelEx(&config, sum_block, static_cast<const float*>(x.data), y.data) == cudaSuccess);
  CHECK(cudaEventRecord(event, stream) == cudaSuccess && cudaStreamWaitEvent(other, event) == cudaSuccess);
  CHECK(cudaMemcpyAsync(z.data, y.data, 4, cudaMemcpyDeviceToDevice, other) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream) == cudaErrorStreamCaptureUnsupported);
  CHECK(std::isnan(y.data[0]));
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  CHECK(cudaGraphInstantiate(&exec, graph) == cudaSuccess && cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(std::isnan(z.data[0]));
  for (int run = 1; run < 3; ++run) {
    for (int i = 0; i < 256; ++i) x.data[i] = static_cast<float>(run);
    CHECK(cudaGraphLaunch(exec, stream) == cudaSuccess && z.data[0] == 256.f * run);
  }
  CHECK(cudaMemsetAsync(z.data, 0, 4, other) == cudaSuccess && z.data[0] == 0);
  CHECK(cudaGraphExecDestroy(exec) == cudaSuccess && cudaEventDestroy(event) == cudaSuccess);
  CHECK(cudaStreamDestroy(stream) == cudaSuccess && cudaStreamDestroy(other) == cudaSuccess);
}

TEST(emulation_from_several_host_threads) {
  std::vector<std::thread> threads;
  bool good[4] = {};
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&good, i] {
      Buffer<float> x(512), y(2);
      for (int j = 0; j < 512; ++j) x.data[j] = static_cast<float>(i);
      good[i] = true;
      for (int run = 0; run < 50; ++run)
        good[i] &= start(sum_block, 2, 256, 0, x.data, y.data) == cudaSuccess && y.data[1] == 256.f * i;
    });
  for (std::thread& thread : threads) thread.join();
  for (const bool thread_good : good) CHECK(thread_good);
}

TEST(emulation_made_up_failures) {
  emulation::Settings& settings = emulation::settings();
  const emulation::Settings before = settings;
  int count = -1;
  settings.devices = 0;
  CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice && count == 0);
  settings.driver = false;
  CHECK(cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver);
  settings = before;
  settings.memory = 1000;
  void* data;
  CHECK(cudaMalloc(&data, 1001) == cudaErrorMemoryAllocation && !data);
  settings = before;
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess);
}
