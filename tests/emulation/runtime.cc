// The run-time's functions. A stream's work is done when it is issued, or recorded where the stream
// is being captured.
#include <cstdio>
#include <cstdlib>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <cuda.h>

#include "emulation.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes)
#endif

namespace emulation {

using Work = std::function<cudaError_t()>;

struct Graph {
  std::vector<Work> nodes;
};
struct Capture {
  std::vector<Work> nodes;
};
struct Stream {
  std::shared_ptr<Capture> own;   // begun on this stream
  std::weak_ptr<Capture> joined;  // begun on one that this waits for; over when that one's is

  std::shared_ptr<Capture> capture() const { return own ? own : joined.lock(); }
};
struct Event {
  std::chrono::steady_clock::time_point time;
  std::weak_ptr<Capture> capture;
};
struct Pool {
  int device;
};

namespace {

constexpr int kPoison = 0xff, kGuardByte = 0xa5;
constexpr std::size_t kGuard = 256;  // bytes on either side; also the alignment

struct Allocation {
  std::size_t bytes;
  int device;
};

// Of the process.
struct State {
  std::mutex mutex;
  std::map<const void*, Allocation> allocations, pinned;
  std::map<int, std::size_t> used;
  std::map<const void*, int> opted_in;  // bytes of dynamic shared memory by kernel
  cudaError_t sticky = cudaSuccess, pending = cudaSuccess;
  std::string detail;
  long launches = 0;
};
State& state() {
  static State* state = new State;  // outlives the static objects that free device memory
  return *state;
}

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;
thread_local Stream legacy_stream, per_thread_stream;

long number(const char* name, long fallback) {
  const char* text = std::getenv(name);
  return text ? std::atol(text) : fallback;
}

Settings from_environment() {
  Settings s;
  s.devices = static_cast<int>(number("FASTCONV_EMULATION_DEVICES", s.devices));
  s.driver = number("FASTCONV_EMULATION_DRIVER", 1) != 0;
  s.memory = static_cast<std::size_t>(number("FASTCONV_EMULATION_MEMORY", static_cast<long>(s.memory)));
  s.fault = number("FASTCONV_EMULATION_FAULT", 0);
  s.reverse = number("FASTCONV_EMULATION_REVERSE", 0) != 0;
  if (const char* capability = std::getenv("FASTCONV_EMULATION_CAPABILITY"))
    std::sscanf(capability, "%d.%d", &s.major, &s.minor);
  return s;
}

cudaError_t status(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

// What every call begins with.
cudaError_t ready() {
  if (!settings().driver) return cudaErrorInsufficientDriver;
  if (settings().devices == 0) return cudaErrorNoDevice;
  const std::lock_guard lock(state().mutex);
  if (state().pending != cudaSuccess) state().sticky = std::exchange(state().pending, cudaSuccess);
  return state().sticky;
}
#define FASTCONV_READY() \
  if (const cudaError_t error = ready(); error != cudaSuccess) return status(error)

Stream& stream_of(cudaStream_t stream) {
  if (stream == nullptr || stream == cudaStreamLegacy) return legacy_stream;
  if (stream == cudaStreamPerThread) return per_thread_stream;
  return *stream;
}

cudaError_t issue(cudaStream_t stream, Work work) {
  if (const std::shared_ptr<Capture> capture = stream_of(stream).capture()) {
    capture->nodes.push_back(std::move(work));
    return cudaSuccess;
  }
  return status(work());
}

cudaError_t fault(std::string detail, cudaError_t error) {
  const std::lock_guard lock(state().mutex);
  state().detail = std::move(detail);
  return state().sticky = error;
}

// Whether nothing has written around an allocation. With the lock held.
std::optional<std::string> overwritten([[maybe_unused]] const void* data, [[maybe_unused]] const Allocation& allocation) {
#if !defined(__SANITIZE_ADDRESS__)  // which finds it itself
  const auto* bytes = static_cast<const unsigned char*>(data);
  const auto message = [&](const char* side, std::size_t distance) {
    return "device memory was written " + std::to_string(distance) + " bytes " + side + " an allocation of " +
           std::to_string(allocation.bytes) + " bytes";
  };
  for (std::size_t i = 0; i < kGuard; ++i) {
    if (bytes[allocation.bytes + i] != kGuardByte) return message("after the end of", i);
    if (*(bytes - 1 - i) != kGuardByte) return message("before the begin of", i + 1);
  }
#endif
  return std::nullopt;
}
std::optional<std::string> overwritten() {
  const std::lock_guard lock(state().mutex);
  for (const auto& [data, allocation] : state().allocations)
    if (auto message = overwritten(data, allocation)) return message;
  return std::nullopt;
}

cudaError_t allocate(void** data, std::size_t bytes) {
  *data = nullptr;
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard lock(state().mutex);
  std::size_t& used = state().used[current_device];
  if (bytes > settings().memory - used) return cudaErrorMemoryAllocation;
  const std::size_t padded = (kGuard + bytes + kGuard + kGuard - 1) / kGuard * kGuard;
  auto* storage = static_cast<unsigned char*>(std::aligned_alloc(kGuard, padded));
  if (!storage) return cudaErrorMemoryAllocation;
  std::memset(storage, kGuardByte, padded);
  std::memset(storage + kGuard, kPoison, bytes);
  ASAN_POISON_MEMORY_REGION(storage, kGuard);
  ASAN_POISON_MEMORY_REGION(storage + kGuard + bytes, kGuard);
  *data = storage + kGuard;
  used += bytes;
  state().allocations[*data] = {bytes, current_device};
  return cudaSuccess;
}

cudaError_t release(void* data) {
  if (!data) return cudaSuccess;
  const std::lock_guard lock(state().mutex);
  const auto found = state().allocations.find(data);
  if (found == state().allocations.end()) return cudaErrorInvalidValue;
  const auto message = overwritten(data, found->second);
  state().used[found->second.device] -= found->second.bytes;
  unsigned char* storage = static_cast<unsigned char*>(data) - kGuard;
  std::memset(data, kPoison, found->second.bytes);
  ASAN_UNPOISON_MEMORY_REGION(storage, kGuard + found->second.bytes + kGuard);
  std::free(storage);
  state().allocations.erase(found);
  if (!message) return cudaSuccess;
  state().detail = *message;
  return state().sticky = cudaErrorIllegalAddress;
}

cudaError_t run(const cudaLaunchConfig_t& config, const std::function<void()>& body) {
  {
    const std::lock_guard lock(state().mutex);
    if (++state().launches == settings().fault) {
      state().detail = "made up by FASTCONV_EMULATION_FAULT";
      state().pending = cudaErrorIllegalAddress;
      return cudaSuccess;
    }
  }
  if (auto failure = run_grid(config.gridDim, config.blockDim, config.dynamicSmemBytes, body))
    return fault(*failure, cudaErrorLaunchFailure);
  if (auto failure = overwritten()) return fault(*failure, cudaErrorIllegalAddress);
  return cudaSuccess;
}

}  // namespace

Settings& settings() {
  static Settings settings = from_environment();
  return settings;
}

void revive() {
  const std::lock_guard lock(state().mutex);
  state().sticky = state().pending = last_error = cudaSuccess;
  state().detail.clear();
}

long launches() {
  const std::lock_guard lock(state().mutex);
  return state().launches;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> body) {
  FASTCONV_READY();
  const dim3 grid = config.gridDim, block = config.blockDim;
  if (settings().major < 8) return status(cudaErrorNoKernelImageForDevice);
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.x > 2147483647u || grid.y == 0 || grid.y > 65535 ||
      grid.z == 0 || grid.z > 65535)
    return status(cudaErrorInvalidConfiguration);
  {
    const std::lock_guard lock(state().mutex);
    const auto opted_in = state().opted_in.find(kernel);
    if (config.dynamicSmemBytes > (opted_in == state().opted_in.end() ? 48u << 10 : static_cast<unsigned>(opted_in->second)))
      return status(cudaErrorInvalidValue);
  }
  return issue(config.stream, [config, body = std::move(body)] { return run(config, body); });
}

}  // namespace emulation

using namespace emulation;

// ---- Errors ----

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define FASTCONV_NAME(name) \
  case name: return #name;
    FASTCONV_NAME(cudaSuccess)
    FASTCONV_NAME(cudaErrorInvalidValue)
    FASTCONV_NAME(cudaErrorMemoryAllocation)
    FASTCONV_NAME(cudaErrorInvalidConfiguration)
    FASTCONV_NAME(cudaErrorInsufficientDriver)
    FASTCONV_NAME(cudaErrorNoDevice)
    FASTCONV_NAME(cudaErrorInvalidDevice)
    FASTCONV_NAME(cudaErrorNoKernelImageForDevice)
    FASTCONV_NAME(cudaErrorInvalidResourceHandle)
    FASTCONV_NAME(cudaErrorNotReady)
    FASTCONV_NAME(cudaErrorIllegalAddress)
    FASTCONV_NAME(cudaErrorLaunchFailure)
    FASTCONV_NAME(cudaErrorStreamCaptureUnsupported)
    default: return "cudaErrorUnknown";
#undef FASTCONV_NAME
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  static thread_local std::string text;
  const std::lock_guard lock(state().mutex);
  text = "emulated " + std::string(cudaGetErrorName(error));
  if (error == state().sticky && !state().detail.empty()) text += ": " + state().detail;
  return text.c_str();
}
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

// ---- Devices ----

cudaError_t cudaDriverGetVersion(int* version) {
  *version = settings().driver ? CUDART_VERSION : 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  FASTCONV_READY();
  const std::string name = symbol;
  *function = name == "cuTensorMapEncodeTiled"    ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled)
              : name == "cuTensorMapEncodeIm2col" ? reinterpret_cast<void*>(&cuTensorMapEncodeIm2col)
                                                  : nullptr;
  *found = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  FASTCONV_READY();
  *count = settings().devices;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  FASTCONV_READY();
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  FASTCONV_READY();
  if (device < 0 || device >= settings().devices) return status(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  FASTCONV_READY();
  return cudaSuccess;
}
// Those of an A100, or of an H200.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  FASTCONV_READY();
  if (device < 0 || device >= settings().devices) return status(cudaErrorInvalidDevice);
  const bool hopper = settings().major == 9;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxGridDimX: *value = 2147483647; break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *value = 65535; break;
    case cudaDevAttrClockRate: *value = 1410000; break;
    case cudaDevAttrMultiProcessorCount: *value = hopper ? 132 : 108; break;
    case cudaDevAttrMemoryClockRate: *value = 1215000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = 5120; break;
    case cudaDevAttrL2CacheSize: *value = (hopper ? 50 : 40) << 20; break;
    case cudaDevAttrComputeCapabilityMajor: *value = settings().major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = settings().minor; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = (hopper ? 228 : 164) << 10; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (hopper ? 227 : 163) << 10; break;
    case cudaDevAttrMemoryPoolsSupported: *value = 1; break;
  }
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  FASTCONV_READY();
  if (device < 0 || device >= settings().devices) return status(cudaErrorInvalidDevice);
  *properties = {"emulated", settings().memory, settings().major, settings().minor, settings().major == 9 ? 132 : 108};
  return cudaSuccess;
}

// ---- Memory ----

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  FASTCONV_READY();
  const std::lock_guard lock(state().mutex);
  *total = settings().memory;
  *free = *total - state().used[current_device];
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  FASTCONV_READY();
  return status(allocate(data, bytes));
}
cudaError_t cudaFree(void* data) {
  FASTCONV_READY();
  return status(release(data));
}
// As nodes of a graph neither is emulated.
cudaError_t cudaMallocAsync(void** data, std::size_t bytes, cudaStream_t stream) {
  if (stream_of(stream).capture()) return status(cudaErrorStreamCaptureUnsupported);
  return cudaMalloc(data, bytes);
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  if (stream_of(stream).capture()) return status(cudaErrorStreamCaptureUnsupported);
  return cudaFree(data);
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  FASTCONV_READY();
  *data = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*data) return status(cudaErrorMemoryAllocation);
  const std::lock_guard lock(state().mutex);
  state().pinned[*data] = {bytes, current_device};
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, std::size_t bytes) { return cudaHostAlloc(data, bytes, 0); }
cudaError_t cudaFreeHost(void* data) {
  const std::lock_guard lock(state().mutex);
  if (state().pinned.erase(data) == 0) return status(cudaErrorInvalidValue);
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* data) {
  FASTCONV_READY();
  *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, const_cast<void*>(data)};
  const std::lock_guard lock(state().mutex);
  const auto find = [&](const std::map<const void*, Allocation>& blocks) -> const Allocation* {
    auto after = blocks.upper_bound(data);
    if (after == blocks.begin()) return nullptr;
    --after;
    const char* end = static_cast<const char*>(after->first) + after->second.bytes;
    return static_cast<const char*>(data) < end ? &after->second : nullptr;
  };
  if (const Allocation* found = find(state().allocations))
    *attributes = {cudaMemoryTypeDevice, found->device, const_cast<void*>(data), nullptr};
  else if (const Allocation* found_pinned = find(state().pinned))
    *attributes = {cudaMemoryTypeHost, found_pinned->device, const_cast<void*>(data), const_cast<void*>(data)};
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  FASTCONV_READY();
  return issue(stream, [=] {
    if (bytes > 0) std::memmove(to, from, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  FASTCONV_READY();
  return issue(stream, [=] {
    if (bytes > 0) std::memset(to, value, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemset(void* to, int value, std::size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

// A pool keeps nothing here.
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  FASTCONV_READY();
  static Pool pools[16];
  if (device < 0 || device >= std::min(settings().devices, 16)) return status(cudaErrorInvalidDevice);
  pools[device].device = device;
  *pool = &pools[device];
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  FASTCONV_READY();
  return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr, void* value) {
  FASTCONV_READY();
  const std::lock_guard lock(state().mutex);
  *static_cast<std::uint64_t*>(value) = state().used[pool->device];
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) {
  FASTCONV_READY();
  return cudaSuccess;
}

// ---- Streams, events, graphs ----

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  FASTCONV_READY();
  *stream = new Stream;
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  FASTCONV_READY();
  return status(stream_of(stream).capture() ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaStreamSynchronize(stream); }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  FASTCONV_READY();
  if (!event->capture.expired()) stream_of(stream).joined = event->capture;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  FASTCONV_READY();
  *event = new Event;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  FASTCONV_READY();
  event->time = std::chrono::steady_clock::now();
  event->capture = stream_of(stream).capture();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  FASTCONV_READY();
  return status(event->capture.expired() ? cudaSuccess : cudaErrorStreamCaptureUnsupported);
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  FASTCONV_READY();
  *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  FASTCONV_READY();
  if (stream == nullptr || stream == cudaStreamLegacy || stream_of(stream).capture())
    return status(cudaErrorStreamCaptureUnsupported);
  stream_of(stream).own = std::make_shared<Capture>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  FASTCONV_READY();
  const std::shared_ptr<Capture> capture = std::exchange(stream_of(stream).own, nullptr);
  if (!capture) return status(cudaErrorInvalidValue);
  *graph = new Graph{std::move(capture->nodes)};
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* capturing) {
  *capturing = stream_of(stream).capture() ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  FASTCONV_READY();
  *exec = new Graph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  FASTCONV_READY();
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  FASTCONV_READY();
  for (const Work& node : exec->nodes)
    if (const cudaError_t error = issue(stream, node); error != cudaSuccess) return error;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return cudaGraphDestroy(exec); }

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  FASTCONV_READY();
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value > 163 << 10) return status(cudaErrorInvalidValue);
  const std::lock_guard lock(state().mutex);
  state().opted_in[kernel] = value;
  return cudaSuccess;
}
