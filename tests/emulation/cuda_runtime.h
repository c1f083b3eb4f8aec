// Stands in for the CUDA run-time's header: see README.md. The API under its own names; what it
// means is NVIDIA's manual.
#pragma once

#include <math.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <tuple>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __shared__ static thread_local  // a block runs in one host thread
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

#define CUDART_VERSION 13000

// ---- Types ----

#define FASTCONV_VECTOR_TYPES(T, name, align2, align4)                                                  \
  struct name##1 { T x; };                                                                              \
  struct alignas(align2) name##2 { T x, y; };                                                           \
  struct name##3 { T x, y, z; };                                                                        \
  struct alignas(align4) name##4 { T x, y, z, w; };                                                     \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                            \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                    \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
FASTCONV_VECTOR_TYPES(signed char, char, 2, 4)
FASTCONV_VECTOR_TYPES(unsigned char, uchar, 2, 4)
FASTCONV_VECTOR_TYPES(short, short, 4, 8)
FASTCONV_VECTOR_TYPES(unsigned short, ushort, 4, 8)
FASTCONV_VECTOR_TYPES(int, int, 8, 16)
FASTCONV_VECTOR_TYPES(unsigned, uint, 8, 16)
FASTCONV_VECTOR_TYPES(long long, longlong, 16, 16)
FASTCONV_VECTOR_TYPES(unsigned long long, ulonglong, 16, 16)
FASTCONV_VECTOR_TYPES(float, float, 8, 16)
FASTCONV_VECTOR_TYPES(double, double, 16, 16)
#undef FASTCONV_VECTOR_TYPES

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInitializationError = 3,
  cudaErrorCudartUnloading = 4,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorDevicesUnavailable = 46,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorECCUncorrectable = 214,
  cudaErrorUnsupportedPtxVersion = 222,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchOutOfResources = 701,
  cudaErrorLaunchTimeout = 702,
  cudaErrorAssert = 710,
  cudaErrorHardwareStackError = 714,
  cudaErrorIllegalInstruction = 715,
  cudaErrorMisalignedAddress = 716,
  cudaErrorInvalidAddressSpace = 717,
  cudaErrorInvalidPc = 718,
  cudaErrorLaunchFailure = 719,
  cudaErrorNotSupported = 801,
  cudaErrorSystemDriverMismatch = 803,
  cudaErrorCompatNotSupportedOnDevice = 804,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureImplicit = 906,
  cudaErrorUnknown = 999,
};
using cudaError = cudaError_t;

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxGridDimX = 5,
  cudaDevAttrMaxGridDimY = 6,
  cudaDevAttrMaxGridDimZ = 7,
  cudaDevAttrClockRate = 13,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMemoryClockRate = 36,
  cudaDevAttrGlobalMemoryBusWidth = 37,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrMemoryPoolsSupported = 115,
};
struct cudaDeviceProp {
  char name[256];
  std::size_t totalGlobalMem;
  int major, minor;
  int multiProcessorCount;
};
enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
enum cudaMemoryType {
  cudaMemoryTypeUnregistered,
  cudaMemoryTypeHost,
  cudaMemoryTypeDevice,
  cudaMemoryTypeManaged
};
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
  void* devicePointer;
  void* hostPointer;
};

namespace emulation {
struct Stream;
struct Event;
struct Graph;
struct Pool;
}  // namespace emulation
using cudaStream_t = emulation::Stream*;
using cudaEvent_t = emulation::Event*;
using cudaGraph_t = emulation::Graph*;
using cudaGraphExec_t = emulation::Graph*;
using cudaMemPool_t = emulation::Pool*;
inline const cudaStream_t cudaStreamLegacy = reinterpret_cast<cudaStream_t>(1);
inline const cudaStream_t cudaStreamPerThread = reinterpret_cast<cudaStream_t>(2);

enum cudaMemPoolAttr {
  cudaMemPoolAttrReleaseThreshold = 4,
  cudaMemPoolAttrReservedMemCurrent = 5,
  cudaMemPoolAttrUsedMemCurrent = 7
};
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated
};
inline constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2;
inline constexpr unsigned cudaHostAllocDefault = 0, cudaHostAllocPortable = 1, cudaHostAllocWriteCombined = 4;

struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

// ---- The run-time's functions ----

enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess = 0, cudaDriverEntryPointSymbolNotFound = 1 };
inline constexpr unsigned long long cudaEnableDefault = 0;
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned version, unsigned long long flags,
                                             cudaDriverEntryPointQueryResult* found);

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaMallocAsync(void** data, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream);
cudaError_t cudaMalloc(void** data, std::size_t bytes);
cudaError_t cudaFree(void* data);
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned flags);
cudaError_t cudaMallocHost(void** data, std::size_t bytes);
cudaError_t cudaFreeHost(void* data);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* data);
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream = nullptr);
cudaError_t cudaMemset(void* to, int value, std::size_t bytes);
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream = nullptr);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, std::size_t keep);

cudaError_t cudaStreamCreate(cudaStream_t* stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);
template <class... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute attribute, int value) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}

namespace emulation {
cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> body);
}
// The arguments are copied now, as they are for a captured graph.
template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... arguments) {
  static_assert((std::is_trivially_copyable_v<P> && ...), "kernel parameters are copied byte by byte");
  return emulation::launch(*config, reinterpret_cast<const void*>(kernel),
                           [kernel, copies = std::tuple<P...>(static_cast<P>(arguments)...)] { std::apply(kernel, copies); });
}

// ---- What kernels see ----

extern constinit thread_local uint3 threadIdx, blockIdx;
extern constinit thread_local dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace emulation {

using Site = std::source_location;
inline constexpr int kSlotBytes = 64;

void block_barrier(const Site& site);
// Waits until each lane has given its `bytes`, then gives all of them, kSlotBytes apart; good until
// the lane's next but one.
const unsigned char* exchange(unsigned mask, const void* value, std::size_t bytes, const Site& site);
unsigned lane();
unsigned lanes();  // in this warp: fewer than 32 in the last one of some blocks
[[noreturn]] void trap(const char* what, const Site& site);

// What each lane of the warp gave.
template <class T>
class Gathered {
 public:
  Gathered(unsigned mask, const T& mine, const Site& site) : slots_(exchange(mask, &mine, sizeof(T), site)) {
    static_assert(sizeof(T) <= kSlotBytes);
  }
  T operator[](unsigned lane) const {
    T value;
    std::memcpy(&value, slots_ + lane * kSlotBytes, sizeof(T));
    return value;
  }

 private:
  const unsigned char* slots_;
};

}  // namespace emulation

inline void __syncthreads(const emulation::Site site = emulation::Site::current()) { emulation::block_barrier(site); }
int __syncthreads_count(int predicate, const emulation::Site site = emulation::Site::current());
inline int __syncthreads_or(int predicate, const emulation::Site site = emulation::Site::current()) {
  return __syncthreads_count(predicate, site) != 0;
}
inline int __syncthreads_and(int predicate, const emulation::Site site = emulation::Site::current()) {
  return __syncthreads_count(!predicate, site) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, const emulation::Site site = emulation::Site::current()) {
  emulation::exchange(mask, nullptr, 0, site);
}

// Lanes that the width cuts off, or that are not there, give the asking lane's own value.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, const emulation::Site site = emulation::Site::current()) {
  const emulation::Gathered<T> all(mask, value, site);
  const unsigned first = emulation::lane() & ~static_cast<unsigned>(width - 1);
  return all[first + (static_cast<unsigned>(source) & static_cast<unsigned>(width - 1))];
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 const emulation::Site site = emulation::Site::current()) {
  const emulation::Gathered<T> all(mask, value, site);
  const unsigned lane = emulation::lane(), place = lane & static_cast<unsigned>(width - 1);
  return place >= delta ? all[lane - delta] : value;
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   const emulation::Site site = emulation::Site::current()) {
  const emulation::Gathered<T> all(mask, value, site);
  const unsigned lane = emulation::lane(), place = lane & static_cast<unsigned>(width - 1);
  return place + delta < static_cast<unsigned>(width) && lane + delta < emulation::lanes() ? all[lane + delta] : value;
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  const emulation::Site site = emulation::Site::current()) {
  const emulation::Gathered<T> all(mask, value, site);
  const unsigned lane = emulation::lane(), source = lane ^ static_cast<unsigned>(bits);
  return source / static_cast<unsigned>(width) <= lane / static_cast<unsigned>(width) && source < emulation::lanes()
             ? all[source]
             : value;
}
inline unsigned __ballot_sync(unsigned mask, int predicate, const emulation::Site site = emulation::Site::current()) {
  const emulation::Gathered<int> all(mask, predicate, site);
  unsigned bits = 0;
  for (unsigned lane = 0; lane < emulation::lanes(); ++lane) bits |= static_cast<unsigned>(all[lane] != 0) << lane;
  return bits;
}
inline int __any_sync(unsigned mask, int predicate, const emulation::Site site = emulation::Site::current()) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, const emulation::Site site = emulation::Site::current()) {
  return __ballot_sync(mask, !predicate, site) == 0;
}

inline void __threadfence() {}
inline void __threadfence_block() {}
[[noreturn]] inline void __trap(const emulation::Site site = emulation::Site::current()) { emulation::trap("__trap", site); }

// Blocks run one after the other in one host thread; other host threads work on other memory.
template <class T, class U>
T atomicAdd(T* address, U value) {
  const T old = *address;
  *address = old + static_cast<T>(value);
  return old;
}
template <class T, class U>
T atomicMax(T* address, U value) {
  const T old = *address;
  *address = std::max(old, static_cast<T>(value));
  return old;
}
template <class T, class U>
T atomicMin(T* address, U value) {
  const T old = *address;
  *address = std::min(old, static_cast<T>(value));
  return old;
}
template <class T, class U>
T atomicExch(T* address, U value) {
  return std::exchange(*address, static_cast<T>(value));
}
template <class T, class U>
T atomicCAS(T* address, U expected, U value) {
  const T old = *address;
  if (old == static_cast<T>(expected)) *address = static_cast<T>(value);
  return old;
}

template <class T>
T __ldg(const T* address) { return *address; }
template <class T>
T __ldcg(const T* address) { return *address; }
template <class T>
T __ldca(const T* address) { return *address; }
template <class T>
T __ldcs(const T* address) { return *address; }
template <class T>
void __stcg(T* address, T value) { *address = value; }
template <class T>
void __stcs(T* address, T value) { *address = value; }

template <class To, class From>
To fastconv_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &value, sizeof(To));
  return result;
}
inline float __uint_as_float(unsigned x) { return fastconv_bits<float>(x); }
inline float __int_as_float(int x) { return fastconv_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return fastconv_bits<unsigned>(x); }
inline int __float_as_int(float x) { return fastconv_bits<int>(x); }

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) { return b < a ? b : a; }
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) { return a < b ? b : a; }
inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
inline double rsqrt(double x) { return 1. / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline float __frcp_rn(float x) { return 1.f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __saturatef(float x) { return x > 0.f ? x < 1.f ? x : 1.f : 0.f; }
inline int __float2int_rn(float x) { return static_cast<int>(lrintf(x)); }
inline int __float2int_rd(float x) { return static_cast<int>(floorf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>(static_cast<std::uint64_t>(x) * y >> 32);
}
inline int __mulhi(int x, int y) { return static_cast<int>(static_cast<std::int64_t>(x) * y >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(x) * y >> 64);
}
