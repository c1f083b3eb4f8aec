// Instructions that CUDA C++ has no names for, one function each. The only file with inline PTX:
// the emulation that runs the kernels on a CPU (tests/emulation/) has another ptx.cuh with the same
// functions, and is found before this one. Fragment layouts: PTX ISA, "Warp-level matrix
// instructions".
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace fastconv::cuda {

// The block's dynamic shared memory.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char fastconv_shared[];
  return reinterpret_cast<T*>(fastconv_shared);
}

__device__ __forceinline__ unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// Asynchronous copies of 4, 8 or 16 aligned bytes from global to shared memory; zeros are written
// unless `valid`, and then `global` is not read (but must be a pointer to some global memory).
template <int kBytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global, bool valid) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 16 : 0)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;\n" ::"r"(shared_address(shared)), "l"(global), "n"(kBytes),
                 "r"(valid ? kBytes : 0)
                 : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
// Waits until at most kPending of this thread's groups are under way.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

// Four 8x8 matrices of 16-bit elements from shared memory; lane l gives the address of row l % 8 of
// matrix l / 8.
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&d)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(shared_address(row)));
}
__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&d)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(shared_address(row)));
}

// Rounded to TF32 (to nearest, ties away from zero), as the bits that mma takes.
__device__ __forceinline__ std::uint32_t to_tf32(float x) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(x));
  return bits;
}

// d += a * b by a warp: 16x8 += 16x8 * 8x8 (tf32) or 16x16 * 16x8 (16-bit).
__device__ __forceinline__ void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};\n"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_fp16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};\n"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};\n"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ---- sm_90a: barriers, copies by tensor maps (TMA), products by warpgroups ----

// Whether this is being compiled for sm_90a, which alone has all of what follows.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
inline constexpr bool kHasWgmma = true;
#else
inline constexpr bool kHasWgmma = false;
#endif

// A barrier in shared memory whose phase ends when `count` threads have arrived and the bytes that
// were announced are there.
__device__ __forceinline__ void mbarrier_init(std::uint64_t* barrier, unsigned count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}
// Shows barriers that this thread has set up to the asynchronous proxy, which TMA uses.
__device__ __forceinline__ void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}
__device__ __forceinline__ void mbarrier_arrive(std::uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives, and announces bytes that copies will bring in this phase.
__device__ __forceinline__ void mbarrier_arrive_expect(std::uint64_t* barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
// Waits for the end of the phase of this parity: the first has parity 0, and that before it, over
// from the start, 1. A copy that never comes becomes an error of the kernel, not a hang.
__device__ __forceinline__ void mbarrier_wait(std::uint64_t* barrier, unsigned parity) {
  constexpr std::uint64_t kLongest = 20'000'000'000;  // ns; under compute-sanitizer a kernel is a hundred times slower
  std::uint64_t start = 0;
  bool late = false;
  for (;;) {
    unsigned over;
    asm volatile("{\n.reg .pred over;\nmbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\nselp.b32 %0, 1, 0, over;\n}\n"
                 : "=r"(over)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
    if (over) return;
    if (late) __trap();
    std::uint64_t now;
    asm volatile("mov.u64 %0, %%globaltimer;\n" : "=l"(now));
    if (start == 0) start = now;
    late = now - start > kLongest;
  }
}

// Copies the box of a tiled map whose first element has coordinates x, y, z (the innermost first);
// zeros outside of the array.
__device__ __forceinline__ void tma_load_tile(void* shared, const CUtensorMap* map, std::uint64_t* barrier, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];\n" ::"r"(
                   shared_address(shared)),
               "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
               : "memory");
}
// Copies the column of pixels of an im2col map that begins at window position (n, h, w), each pixel
// (row, column) further on and from `channel` on; zeros outside of the images.
__device__ __forceinline__ void tma_load_im2col(void* shared, const CUtensorMap* map, std::uint64_t* barrier, int channel, int w, int h,
                                                int n, int column, int row) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2], "
               "{%7, %8};\n" ::"r"(shared_address(shared)),
               "l"(map), "r"(shared_address(barrier)), "r"(channel), "r"(w), "r"(h), "r"(n), "h"(static_cast<std::uint16_t>(column)),
               "h"(static_cast<std::uint16_t>(row))
               : "memory");
}

// No instruction, but the compiler moves nothing that touches d across.
template <int kSums>
__device__ __forceinline__ void pin(float (&d)[kSums]) {
#pragma unroll
  for (float& sum : d) asm volatile("" : "+f"(sum)::"memory");
}
// Before a warpgroup's first product, and after anything else has touched its sums d.
template <int kSums>
__device__ __forceinline__ void wgmma_fence(float (&d)[kSums]) {
  pin(d);
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory"); }
// Waits until at most kPending of the committed groups, which add to d, are under way.
template <int kPending, int kSums>
__device__ __forceinline__ void wgmma_wait(float (&d)[kSums]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kPending) : "memory");
  pin(d);
}

// d += a * b by a warpgroup: 64 x 2 kSums, from 32 bytes of each row of a and of each column of b,
// which descriptors place in shared memory, both along the sum ("K-major").
#define FASTCONV_OUT8(d, i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define FASTCONV_OUT32(d, i) FASTCONV_OUT8(d, i), FASTCONV_OUT8(d, i + 8), FASTCONV_OUT8(d, i + 16), FASTCONV_OUT8(d, i + 24)
#define FASTCONV_WGMMA(Element, k, types, transposed)                                                                           \
  __device__ __forceinline__ void wgmma(Element, float (&d)[32], std::uint64_t a, std::uint64_t b) {                            \
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k" k ".f32." types                                                         \
                 " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "  \
                 "%23, %24, %25, %26, %27, %28, %29, %30, %31}, %32, %33, 1, 1, 1" transposed ";\n"                             \
                 : FASTCONV_OUT32(d, 0)                                                                                         \
                 : "l"(a), "l"(b)                                                                                               \
                 : "memory");                                                                                                   \
  }                                                                                                                             \
  __device__ __forceinline__ void wgmma(Element, float (&d)[64], std::uint64_t a, std::uint64_t b) {                            \
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k" k ".f32." types                                                        \
                 " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "  \
                 "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "    \
                 "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, %64, "   \
                 "%65, 1, 1, 1" transposed ";\n"                                                                                \
                 : FASTCONV_OUT32(d, 0), FASTCONV_OUT32(d, 32)                                                                  \
                 : "l"(a), "l"(b)                                                                                               \
                 : "memory");                                                                                                   \
  }
FASTCONV_WGMMA(__half, "16", "f16.f16", ", 0, 0")
FASTCONV_WGMMA(__nv_bfloat16, "16", "bf16.bf16", ", 0, 0")
FASTCONV_WGMMA(float, "8", "tf32.tf32", "")
#undef FASTCONV_WGMMA
#undef FASTCONV_OUT32
#undef FASTCONV_OUT8

}  // namespace fastconv::cuda
