// Stands in for src/cuda/ptx/ptx.cuh: the same functions, as the PTX ISA describes their
// instructions.
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace emulation {

unsigned char* dynamic_shared_memory();
void copy_async(void* shared, const void* global, std::size_t bytes, bool valid, const Site& site);
void commit_copies();
void wait_for_copies(int pending_groups);

// Asynchronous work: `work` is done when no thread of the block can go on.
void defer(std::function<void()> work);
// Traps unless these bytes are of the block's dynamic shared memory.
void check_shared(const void* shared, std::size_t bytes, const Site& site);
void mbarrier_init(std::uint64_t* barrier, unsigned count, const Site& site);
void fence_mbarrier_init();
void mbarrier_arrive(std::uint64_t* barrier, unsigned bytes, const Site& site);
void mbarrier_complete(std::uint64_t* barrier, unsigned bytes, const Site& site);  // bytes have come
void mbarrier_wait(std::uint64_t* barrier, unsigned parity, const Site& site);
void check_mbarrier(const std::uint64_t* barrier, const Site& site);  // that copies may use it
// By a thread that is on a device with tensor maps.
void check_hopper(const Site& site);
void load_tile(void* shared, const CUtensorMap* map, std::uint64_t* barrier, const int (&at)[3], const Site& site);
void load_im2col(void* shared, const CUtensorMap* map, std::uint64_t* barrier, const int (&at)[4], const int (&offset)[2],
                 const Site& site);

enum class WgmmaType { fp16, bf16, tf32 };
void wgmma_fence(const Site& site);
void wgmma(WgmmaType type, float* d, int columns, std::uint64_t a, std::uint64_t b, const Site& site);
void wgmma_commit(const Site& site);
void wgmma_wait(std::size_t pending, const Site& site);

struct MmaOperands {
  std::uint32_t a[4], b[2];
};

inline float low_half(std::uint32_t x, __half) { return __half2float(__ushort_as_half(static_cast<unsigned short>(x))); }
inline float low_half(std::uint32_t x, __nv_bfloat16) {
  return __bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(x)));
}

// PTX ISA, "Matrix fragments for mma.m16n8k8" (.tf32) and "for mma.m16n8k16" (.f16, .bf16): lane 4
// g + t has rows g and g + 8 of a, column g of b, and columns 2 t and 2 t + 1 of d.
inline void mma_tf32(float (&d)[4], const MmaOperands& mine, const Site& site) {
  const Gathered<MmaOperands> all(0xffffffffu, mine, site);
  const unsigned g = lane() / 4, t = lane() % 4;
  const auto tf32 = [](std::uint32_t bits) { return static_cast<double>(__uint_as_float(bits & 0xffffe000u)); };
  double sum[4] = {d[0], d[1], d[2], d[3]};
  for (unsigned k = 0; k < 8; ++k) {
    const MmaOperands a = all[4 * g + k % 4];
    for (unsigned column = 0; column < 2; ++column) {
      const double b = tf32(all[4 * (2 * t + column) + k % 4].b[k / 4]);
      sum[column] += tf32(a.a[k / 4 * 2]) * b;
      sum[2 + column] += tf32(a.a[k / 4 * 2 + 1]) * b;
    }
  }
  for (int i = 0; i < 4; ++i) d[i] = static_cast<float>(sum[i]);
}
template <class T>
void mma_16bit(float (&d)[4], const MmaOperands& mine, const Site& site) {
  const Gathered<MmaOperands> all(0xffffffffu, mine, site);
  const unsigned g = lane() / 4, t = lane() % 4;
  double sum[4] = {d[0], d[1], d[2], d[3]};
  for (unsigned k = 0; k < 16; ++k) {
    const unsigned from = k % 8 / 2, shift = k % 2 * 16, part = k / 8;
    const MmaOperands a = all[4 * g + from];
    for (unsigned column = 0; column < 2; ++column) {
      const double b = low_half(all[4 * (2 * t + column) + from].b[part] >> shift, T());
      sum[column] += low_half(a.a[part * 2] >> shift, T()) * b;
      sum[2 + column] += low_half(a.a[part * 2 + 1] >> shift, T()) * b;
    }
  }
  for (int i = 0; i < 4; ++i) d[i] = static_cast<float>(sum[i]);
}

inline void ldmatrix(std::uint32_t (&d)[4], const void* row, bool transposed, const Site& site) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) trap("ldmatrix: a row is not aligned to 16 bytes", site);
  const Gathered<const void*> rows(0xffffffffu, row, site);
  const unsigned g = lane() / 4, t = lane() % 4;
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    std::uint16_t pair[2];
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned from = transposed ? 2 * t + i : g, column = transposed ? g : 2 * t + i;
      std::memcpy(&pair[i], static_cast<const char*>(rows[8 * matrix + from]) + column * 2, 2);
    }
    d[matrix] = pair[0] | static_cast<std::uint32_t>(pair[1]) << 16;
  }
  exchange(0xffffffffu, nullptr, 0, site);  // the rows are read before any lane goes on to write them
}

}  // namespace emulation

namespace fastconv::cuda {

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulation::dynamic_shared_memory());
}

// The block's dynamic shared memory is aligned to no more than the 128 bytes that ptx.cuh asks for.
inline unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(static_cast<const unsigned char*>(shared) - emulation::dynamic_shared_memory() + 1024 + 128);
}

// The copy happens when the thread waits for it; until then the target is NaN.
template <int kBytes>
void cp_async(void* shared, const void* global, bool valid, const emulation::Site site = emulation::Site::current()) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  emulation::copy_async(shared, global, kBytes, valid, site);
}
inline void cp_async_commit() { emulation::commit_copies(); }
template <int kPending>
void cp_async_wait() {
  emulation::wait_for_copies(kPending);
}

inline void ldmatrix_x4(std::uint32_t (&d)[4], const void* row, const emulation::Site site = emulation::Site::current()) {
  emulation::ldmatrix(d, row, false, site);
}
inline void ldmatrix_x4_trans(std::uint32_t (&d)[4], const void* row,
                              const emulation::Site site = emulation::Site::current()) {
  emulation::ldmatrix(d, row, true, site);
}

inline std::uint32_t to_tf32(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
}

inline void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                     const emulation::Site site = emulation::Site::current()) {
  emulation::mma_tf32(d, {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, site);
}
inline void mma_fp16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                     const emulation::Site site = emulation::Site::current()) {
  emulation::mma_16bit<__half>(d, {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, site);
}
inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                     const emulation::Site site = emulation::Site::current()) {
  emulation::mma_16bit<__nv_bfloat16>(d, {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, site);
}

inline constexpr bool kHasWgmma = true;

inline void mbarrier_init(std::uint64_t* barrier, unsigned count, const emulation::Site site = emulation::Site::current()) {
  emulation::mbarrier_init(barrier, count, site);
}
inline void fence_mbarrier_init() { emulation::fence_mbarrier_init(); }
inline void mbarrier_arrive(std::uint64_t* barrier, const emulation::Site site = emulation::Site::current()) {
  emulation::mbarrier_arrive(barrier, 0, site);
}
inline void mbarrier_arrive_expect(std::uint64_t* barrier, unsigned bytes, const emulation::Site site = emulation::Site::current()) {
  emulation::mbarrier_arrive(barrier, bytes, site);
}
inline void mbarrier_wait(std::uint64_t* barrier, unsigned parity, const emulation::Site site = emulation::Site::current()) {
  emulation::mbarrier_wait(barrier, parity, site);
}

inline void tma_load_tile(void* shared, const CUtensorMap* map, std::uint64_t* barrier, int x, int y, int z,
                          const emulation::Site site = emulation::Site::current()) {
  emulation::check_hopper(site);
  emulation::load_tile(shared, map, barrier, {x, y, z}, site);
}
inline void tma_load_im2col(void* shared, const CUtensorMap* map, std::uint64_t* barrier, int channel, int w, int h, int n, int column,
                            int row, const emulation::Site site = emulation::Site::current()) {
  emulation::check_hopper(site);
  emulation::load_im2col(shared, map, barrier, {channel, w, h, n}, {column, row}, site);
}

template <int kSums>
void wgmma_fence(float (&)[kSums], const emulation::Site site = emulation::Site::current()) {
  emulation::wgmma_fence(site);
}
inline void wgmma_commit(const emulation::Site site = emulation::Site::current()) { emulation::wgmma_commit(site); }
template <int kPending, int kSums>
void wgmma_wait(float (&)[kSums], const emulation::Site site = emulation::Site::current()) {
  emulation::wgmma_wait(kPending, site);
}
template <int kSums>
void wgmma(__half, float (&d)[kSums], std::uint64_t a, std::uint64_t b, const emulation::Site site = emulation::Site::current()) {
  emulation::wgmma(emulation::WgmmaType::fp16, d, 2 * kSums, a, b, site);
}
template <int kSums>
void wgmma(__nv_bfloat16, float (&d)[kSums], std::uint64_t a, std::uint64_t b, const emulation::Site site = emulation::Site::current()) {
  emulation::wgmma(emulation::WgmmaType::bf16, d, 2 * kSums, a, b, site);
}
template <int kSums>
void wgmma(float, float (&d)[kSums], std::uint64_t a, std::uint64_t b, const emulation::Site site = emulation::Site::current()) {
  emulation::wgmma(emulation::WgmmaType::tf32, d, 2 * kSums, a, b, site);
}

}  // namespace fastconv::cuda
