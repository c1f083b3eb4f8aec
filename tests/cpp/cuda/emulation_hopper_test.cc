// The emulation of what sm_90a has: tensor maps and copies by them, barriers in shared memory,
// products by warpgroups.
#include <cuda.h>
#include <cuda_fp16.h>

#include <array>
#include <cstring>
#include <ptx.cuh>
#include <string>
#include <vector>

#include "cuda/runtime.h"
#include "cuda/tensor_map.h"
#include "emulation.h"
#include "says.h"
#include "test.h"

namespace {

using namespace fastconv;
using namespace fastconv::cuda;

// Device memory that the host may touch, here.
template <class T>
struct Buffer {
  explicit Buffer(std::size_t count) : memory(count * sizeof(T), 0, nullptr), data(memory.as<T>()) {}
  Memory memory;
  T* data;
};

// The emulated device goes on after a failure.
template <class F>
void check_fails(const F& run, const char* text) {
  check_says<Error>(run, text);
  emulation::revive();
}

// The address of byte `byte` of row `row` in rows of 128 bytes: eight rows with their chunks of 16
// bytes exchanged.
int swizzled(int row, int byte) { return row * 128 + ((byte / 16) ^ (row % 8)) * 16 + byte % 16; }

constexpr int kPixels = 32;
struct Start {
  int at[4], offset[2];
};

unsigned char* aligned_shared() {
  unsigned char* const shared = dynamic_shared<unsigned char>();
  return shared + (1024 - shared_address(shared) % 1024) % 1024;
}

// Shared memory after one copy, as it is.
template <bool kIm2col>
__global__ void copy_box(const CUtensorMap map, Start start, int bytes, unsigned char* y) {
  __shared__ std::uint64_t barrier;
  unsigned char* const shared = aligned_shared();
  if (threadIdx.x == 0) {
    mbarrier_init(&barrier, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&barrier, static_cast<unsigned>(bytes));
    if constexpr (kIm2col)
      tma_load_im2col(shared, &map, &barrier, start.at[0], start.at[1], start.at[2], start.at[3], start.offset[0], start.offset[1]);
    else
      tma_load_tile(shared, &map, &barrier, start.at[0], start.at[1], start.at[2]);
  }
  __syncthreads();
  mbarrier_wait(&barrier, 0);
  for (int i = static_cast<int>(threadIdx.x); i < bytes; i += 32) y[i] = shared[i];
}

// 0: all is well; else what is left out or done too much.
enum class Mistake { none, fence, bytes, wait, arrival };
__global__ void copy_wrongly(const CUtensorMap map, Mistake mistake) {
  __shared__ std::uint64_t barrier;
  if (threadIdx.x > 0) return;
  mbarrier_init(&barrier, 1);
  if (mistake != Mistake::fence) fence_mbarrier_init();
  mbarrier_arrive_expect(&barrier, mistake == Mistake::bytes ? 4096 : 8192);
  if (mistake == Mistake::arrival) mbarrier_arrive(&barrier);
  tma_load_tile(aligned_shared(), &map, &barrier, 0, 0, 0);
  if (mistake == Mistake::bytes) tma_load_tile(aligned_shared() + 8192, &map, &barrier, 0, 0, 0);
  if (mistake != Mistake::wait) mbarrier_wait(&barrier, 0);
}

constexpr std::uint64_t kDescriptor = std::uint64_t{64} << 32 | std::uint64_t{1} << 62;
enum class Slip { none, fence, commit, descriptor, touched };

// y = 1 + a * b^T of 64 x 64, summed over 64, from what lies at `operands` as it is.
__global__ void multiply(const unsigned char* operands, float* y, Slip slip) {
  unsigned char* const shared = aligned_shared();
  for (int i = static_cast<int>(threadIdx.x); i < 16384; i += 128) shared[i] = operands[i];
  __syncthreads();
  float d[32];
  for (float& sum : d) sum = 1;
  if (slip != Slip::fence) wgmma_fence(d);
  const std::uint64_t a = kDescriptor | shared_address(shared) >> 4, b = a + (8192 >> 4);
  for (unsigned step = 0; step < 4; ++step) wgmma(__half(), d, a + 2 * step, b + 2 * step + (slip == Slip::descriptor ? threadIdx.x / 64 : 0));
  wgmma_commit();
  if (slip == Slip::touched) d[0] = 0;
  if (slip != Slip::commit) wgmma_wait<0>(d);
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (unsigned i = 0; i < 32; ++i)
    y[(16 * warp + lane / 4 + 8 * (i / 2 % 2)) * 64 + 8 * (i / 4) + 2 * (lane % 4) + i % 2] = d[i];
}

}  // namespace

TEST(emulation_is_hopper) { CHECK(device_limits(0).wgmma && device_limits(0).multiprocessors == 132); }

TEST(emulation_tiles) {
  constexpr int kChannels = 40, kTaps = 3, kOutputs = 5, kStride = 128, kRows = 8;
  Buffer<__half> weight(kOutputs * kStride);
  for (int i = 0; i < kOutputs * kStride; ++i) weight.data[i] = __half(static_cast<float>(i % 1999 + 1));
  const CUtensorMap map = weight_map<__half>(weight.data, kChannels, kTaps, kOutputs, kStride, kRows);
  Buffer<unsigned char> y(kRows * 128);
  for (const int channel : {0, 24, 64}) {
    launch("copy_box", copy_box<false>, 1, 32, 16384, nullptr, map, Start{{channel, 2, 1}, {}}, kRows * 128, y.data);
    for (int row = 0; row < kRows; ++row)
      for (int i = 0; i < 64; ++i) {
        __half value;
        std::memcpy(&value, y.data + swizzled(row, 2 * i), 2);
        const bool inside = row + 1 < kOutputs && channel + i < kChannels;
        CHECK(float(value) == (inside ? float(weight.data[(row + 1) * kStride + 2 * kChannels + channel + i]) : 0.f));
      }
  }
}

TEST(emulation_im2col) {
  // 2 images of 5 x 7, windows of 2 x 3 taps 2 apart, every second row and every third column,
  // padded on the left and above.
  const ConvGeometry g = conv_geometry({2, 32, 5, 7}, {1, 32, 2, 3}, {2, 3}, {Padding::Mode::explicit_sizes, 2, 1, 3, 1}, {2, 2}, 1);
  CHECK(g.out_h == 3 && g.out_w == 3);
  const Im2colBox box = im2col_box(g);
  CHECK(box.lower[0] == -3 && box.upper[0] == -3 && box.lower[1] == -2 && box.upper[1] == -2);
  Buffer<float> x(2 * 5 * 7 * 32);
  for (int i = 0; i < 2 * 5 * 7 * 32; ++i) x.data[i] = static_cast<float>(i) + 0x1p-12f;  // which TF32 has no room for
  const CUtensorMap map = im2col_map<float>(g, nhwc_view<const float>(x.data, 2, 5, 7, 32), kPixels);
  Buffer<unsigned char> y(kPixels * 128);
  for (int first = 0; first < 18; first += 7)
    for (int tap = 0; tap < 6; ++tap) {
      const int n0 = first / 9, h0 = first / 3 % 3, w0 = first % 3, row = tap / 3 * 2, column = tap % 3 * 2;
      launch("copy_box", copy_box<true>, 1, 32, 8192, nullptr, map, Start{{0, 3 * w0 - 3, 2 * h0 - 2, n0}, {column, row}}, kPixels * 128,
             y.data);
      for (int pixel = 0; pixel < kPixels; ++pixel)
        for (int c = 0; c < 32; ++c) {
          const int at = first + pixel, n = at / 9, h = at / 3 % 3 * 2 - 2 + row, w = at % 3 * 3 - 3 + column;
          const bool inside = n < 2 && h >= 0 && h < 5 && w >= 0 && w < 7;
          float value;
          std::memcpy(&value, y.data + swizzled(pixel, 4 * c), 4);
          CHECK(value == (inside ? __uint_as_float(to_tf32(x.data[((n * 5 + h) * 7 + w) * 32 + c])) : 0.f));
        }
    }
  check_fails([&] { launch("copy_box", copy_box<true>, 1, 32, 8192, nullptr, map, Start{{0, 6, 0, 0}, {}}, 4096, y.data); },
              "does not begin within the bounding box");
  ConvGeometry far = g;
  far.pad_left = 129;
  check_fails([&] { im2col_map<float>(far, nhwc_view<const float>(x.data, 2, 5, 7, 32), kPixels); }, "cuTensorMapEncodeIm2col: failed with status 1");
}

TEST(emulation_finds_mistakes_with_barriers) {
  Buffer<float> weight(64 * 32);
  const CUtensorMap map = weight_map<float>(weight.data, 32, 1, 64, 32, 64);
  const auto run = [&](Mistake mistake) { launch("copy_wrongly", copy_wrongly, 1, 32, 32768, nullptr, map, mistake); };
  run(Mistake::none);
  check_fails([&] { run(Mistake::fence); }, "no fence has shown it its mbarrier");
  check_fails([&] { run(Mistake::bytes); }, "1 wait for an mbarrier");
  check_fails([&] { run(Mistake::wait); }, "all threads have ended while copies are under way");
  check_fails([&] { run(Mistake::arrival); }, "more arrivals than the barrier was made for");
  emulation::settings().major = 8;
  check_fails([&] { run(Mistake::none); }, "an instruction of sm_90a on another device");
  emulation::settings().major = 9;
}

TEST(emulation_wgmma) {
  Buffer<unsigned char> operands(16384);
  Buffer<float> y(64 * 64);
  const auto value = [](int matrix, int row, int k) { return static_cast<float>((row * 7 + k * (5 + matrix)) % 23 - 11); };
  for (int matrix = 0; matrix < 2; ++matrix)
    for (int row = 0; row < 64; ++row)
      for (int k = 0; k < 64; ++k) {
        const __half element(value(matrix, row, k));
        std::memcpy(operands.data + 8192 * matrix + swizzled(row, 2 * k), &element, 2);
      }
  const auto run = [&](Slip slip) { launch("multiply", multiply, 1, 128, 32768, nullptr, operands.data, y.data, slip); };
  run(Slip::none);
  for (int row = 0; row < 64; ++row)
    for (int column = 0; column < 64; ++column) {
      float sum = 1;
      for (int k = 0; k < 64; ++k) sum += value(0, row, k) * value(1, column, k);
      CHECK(y.data[row * 64 + column] == sum);
    }
  check_fails([&] { run(Slip::fence); }, "no wgmma.fence");
  check_fails([&] { run(Slip::commit); }, "a thread ends with wgmma under way");
  check_fails([&] { run(Slip::descriptor); }, "the warps of a warpgroup give different descriptors");
  check_fails([&] { run(Slip::touched); }, "its sums were touched");
}
