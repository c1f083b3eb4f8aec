#include "cuda/runtime.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace fastconv::cuda {

namespace {

// ---- fork: the driver does not survive it ----

std::atomic<bool> driver_used{false}, forked{false};

// Before the first call of the run-time in each function below.
void use_driver() {
  if (forked)
    throw Unavailable("this process was forked from one that had used CUDA, which cannot be used in the child; start processes "
                      "with multiprocessing's method 'spawn', or fork before CUDA is used");
  static const int registered = pthread_atfork(nullptr, nullptr, [] { forked = driver_used.load(); });
  (void)registered;
  driver_used = true;
}

// ---- The kernels launched last, by any thread ----

constexpr unsigned kRemembered = 4;
std::array<std::atomic<const char*>, kRemembered> launched;
std::atomic<unsigned> launches{0};

void remember(const char* kernel) { launched[launches++ % kRemembered] = kernel; }

std::string kernels_launched_last() {
  const unsigned count = launches;
  std::string names;
  for (unsigned back = 1; back <= std::min(count, kRemembered); ++back)
    if (const char* name = launched[(count - back) % kRemembered]) names.append(names.empty() ? "" : ", ").append(name);
  return names.empty() ? "none" : names;
}

// After these nothing works until the process ends.
bool is_sticky(cudaError_t status) {
  switch (status) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure: return true;
    default: return false;
  }
}

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

// What is missing, for the errors that mean that no device can be used; else empty.
std::string what_is_missing(cudaError_t status) {
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  switch (status) {
    case cudaErrorInsufficientDriver:
      if (driver == 0) return "no NVIDIA driver was found (libcuda.so.1)";
      return "the NVIDIA driver supports CUDA " + version(driver) + ", this build needs one for CUDA " + version(runtime);
    case cudaErrorNoDevice: {
      const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
      return "no CUDA device was found by the driver for CUDA " + version(driver) +
             (visible ? " (CUDA_VISIBLE_DEVICES is '" + std::string(visible) + "')" : "");
    }
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "this build has no code for the device: it needs compute capability 8.0 or newer, and a driver for CUDA " +
             version(runtime) + " or newer";
    case cudaErrorInitializationError:
    case cudaErrorDevicesUnavailable:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice: return std::string("CUDA does not start: ") + cudaGetErrorString(status);
    default: return {};
  }
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // so that the next launch does not report it again
  if (const std::string missing = what_is_missing(status); !missing.empty()) throw Unavailable(missing);
  std::string message = std::string(what) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")";
  if (status == cudaErrorMemoryAllocation) throw OutOfMemory(message);
  if (is_sticky(status))
    message += ". The kernels launched last, newest first: " + kernels_launched_last() +
               ". CUDA cannot be used in this process any more: start it again (with CUDA_LAUNCH_BLOCKING=1 the kernel at fault "
               "is the newest)";
  throw Error(message);
}

// ---- Devices ----

int device_count() {
  use_driver();
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (count == 0) check(cudaErrorNoDevice, "cudaGetDeviceCount");
  return count;
}

const Limits& device_limits(int device) {
  use_driver();
  static std::mutex mutex;
  static std::map<int, Limits> known;
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(device); found != known.end()) return found->second;
  const int count = device_count();
  if (device < 0 || device >= count)
    throw std::invalid_argument("there is no CUDA device " + std::to_string(device) + ": " + std::to_string(count) +
                                " found, counted from 0");
  const auto get = [device](cudaDeviceAttr attribute) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute");
    return value;
  };
  Limits limits;
  limits.major = get(cudaDevAttrComputeCapabilityMajor);
  limits.minor = get(cudaDevAttrComputeCapabilityMinor);
#ifdef FASTCONV_SM90A
  limits.wgmma = limits.major == 9 && limits.minor == 0;
#endif
  limits.multiprocessors = get(cudaDevAttrMultiProcessorCount);
  limits.shared_per_block = static_cast<std::size_t>(get(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  limits.shared_per_multiprocessor = static_cast<std::size_t>(get(cudaDevAttrMaxSharedMemoryPerMultiprocessor));
  limits.l2_bytes = static_cast<std::size_t>(get(cudaDevAttrL2CacheSize));
  limits.max_grid[0] = static_cast<unsigned>(get(cudaDevAttrMaxGridDimX));
  limits.max_grid[1] = static_cast<unsigned>(get(cudaDevAttrMaxGridDimY));
  limits.max_grid[2] = static_cast<unsigned>(get(cudaDevAttrMaxGridDimZ));
  limits.max_threads_per_block = get(cudaDevAttrMaxThreadsPerBlock);
  if (limits.major < 8)
    throw Unavailable("CUDA device " + std::to_string(device) + " has compute capability " + std::to_string(limits.major) +
                      "." + std::to_string(limits.minor) + ", this build needs 8.0 or newer");
  return known.emplace(device, limits).first->second;
}

DeviceGuard::DeviceGuard(int device) {
  use_driver();
  int current = 0;
  check(cudaGetDevice(&current), "cudaGetDevice");
  if (current == device) return;
  check(cudaSetDevice(device), "cudaSetDevice");
  previous_ = current;
}

DeviceGuard::~DeviceGuard() {
  if (previous_ >= 0) cudaSetDevice(previous_);
}

// ---- Memory ----

namespace {

// The pools of the devices in use; what is freed stays there until trim().
struct Pools {
  std::mutex mutex;
  std::map<int, cudaMemPool_t> by_device;
};
Pools& pools() {
  static Pools* pools = new Pools;
  return *pools;
}

void keep_freed_memory(int device) {
  const std::lock_guard lock(pools().mutex);
  cudaMemPool_t& pool = pools().by_device[device];
  if (pool) return;
  check(cudaDeviceGetDefaultMemPool(&pool, device), "cudaDeviceGetDefaultMemPool");
  std::uint64_t threshold = UINT64_MAX;
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold), "cudaMemPoolSetAttribute");
}

// Two pinned buffers, and for each an event: the copy that used it last is done.
struct Staging {
  static constexpr std::size_t kBytes = std::size_t{4} << 20;

  Staging() {
    for (int i = 0; i < 2; ++i) {
      check(cudaHostAlloc(&buffer[i], kBytes, cudaHostAllocPortable), "cudaHostAlloc");
      check(cudaEventCreateWithFlags(&done[i], cudaEventDisableTiming), "cudaEventCreateWithFlags");
    }
  }
  ~Staging() {
    for (int i = 0; i < 2; ++i) {
      if (done[i]) cudaEventSynchronize(done[i]), cudaEventDestroy(done[i]);
      if (buffer[i]) cudaFreeHost(buffer[i]);
    }
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void* buffer[2] = {};
  cudaEvent_t done[2] = {};
};

// Those that no thread uses, by device. Never destroyed: at the end of the process the driver may
// be gone before us.
struct StagingCache {
  std::mutex mutex;
  std::map<int, std::vector<std::unique_ptr<Staging>>> free;
};
StagingCache& staging_cache() {
  static StagingCache* cache = new StagingCache;
  return *cache;
}

// Of the current device.
class StagingLease {
 public:
  StagingLease() {
    check(cudaGetDevice(&device_), "cudaGetDevice");
    const std::lock_guard lock(staging_cache().mutex);
    auto& free = staging_cache().free[device_];
    if (free.empty()) {
      staging_ = std::make_unique<Staging>();
    } else {
      staging_ = std::move(free.back());
      free.pop_back();
    }
  }
  ~StagingLease() {
    const std::lock_guard lock(staging_cache().mutex);
    staging_cache().free[device_].push_back(std::move(staging_));
  }
  StagingLease(const StagingLease&) = delete;
  StagingLease& operator=(const StagingLease&) = delete;
  Staging* operator->() const { return staging_.get(); }

 private:
  int device_ = 0;
  std::unique_ptr<Staging> staging_;
};

// Copies that the driver stages itself, which costs less than our events.
constexpr std::size_t kSmall = std::size_t{64} << 10;

}  // namespace

Memory::Memory(std::size_t bytes, int device, cudaStream_t stream) : bytes_(bytes), device_(device), stream_(stream) {
  if (bytes == 0) return;
  const DeviceGuard guard(device);
  keep_freed_memory(device);
  const cudaError_t status = cudaMallocAsync(&data_, bytes, stream);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    data_ = nullptr;
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    throw OutOfMemory("CUDA device " + std::to_string(device) + " is out of memory: " + std::to_string(bytes) +
                      " bytes asked for, " + std::to_string(free) + " of " + std::to_string(total) + " free");
  }
  check(status, "cudaMallocAsync");
}

Memory::~Memory() {
  if (!data_ || forked) return;
  int current = device_;
  cudaGetDevice(&current);
  if (current != device_) cudaSetDevice(device_);
  if (cudaFreeAsync(data_, stream_) != cudaSuccess) cudaGetLastError();  // the error is reported by a call that can throw
  if (current != device_) cudaSetDevice(current);
}

void Memory::swap(Memory& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  std::swap(stream_, other.stream_);
}

void trim() {
  if (forked) return;
  const std::lock_guard lock(pools().mutex);
  for (const auto& [device, pool] : pools().by_device) {
    const DeviceGuard guard(device);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    check(cudaMemPoolTrimTo(pool, 0), "cudaMemPoolTrimTo");
    const std::lock_guard staging_lock(staging_cache().mutex);
    staging_cache().free[device].clear();
  }
}

void wait_for(cudaStream_t stream, cudaStream_t before) {
  if (stream == before) return;
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  const cudaError_t recorded = cudaEventRecord(event, before);
  const cudaError_t waited = recorded == cudaSuccess ? cudaStreamWaitEvent(stream, event, 0) : cudaSuccess;
  cudaEventDestroy(event);  // in effect once it has happened
  check(recorded, "cudaEventRecord");
  check(waited, "cudaStreamWaitEvent");
}

void copy_to_device(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return;
  use_driver();
  if (bytes <= kSmall) {
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, from), "cudaPointerGetAttributes");
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "copy to the device");
    if (attributes.type != cudaMemoryTypeUnregistered)  // pinned: the driver stages only pageable memory
      check(cudaStreamSynchronize(stream), "copy to the device");
    return;
  }
  const StagingLease staging;
  int slot = 0;
  for (std::size_t at = 0; at < bytes; at += Staging::kBytes, slot ^= 1) {
    const std::size_t part = std::min(Staging::kBytes, bytes - at);
    check(cudaEventSynchronize(staging->done[slot]), "copy to the device");
    std::memcpy(staging->buffer[slot], static_cast<const char*>(from) + at, part);
    check(cudaMemcpyAsync(static_cast<char*>(to) + at, staging->buffer[slot], part, cudaMemcpyHostToDevice, stream),
          "copy to the device");
    check(cudaEventRecord(staging->done[slot], stream), "copy to the device");
  }
}

void copy_to_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return;
  use_driver();
  if (bytes <= kSmall) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "copy to the host");
    return check(cudaStreamSynchronize(stream), "copy to the host");
  }
  const StagingLease staging;
  const std::size_t parts = (bytes + Staging::kBytes - 1) / Staging::kBytes;
  const auto size = [&](std::size_t part) { return std::min(Staging::kBytes, bytes - part * Staging::kBytes); };
  for (std::size_t part = 0; part <= parts; ++part) {  // one is under way while the one before is copied out
    if (part < parts) {
      const int slot = static_cast<int>(part % 2);
      check(cudaEventSynchronize(staging->done[slot]), "copy to the host");  // of a copy to the device, earlier
      check(cudaMemcpyAsync(staging->buffer[slot], static_cast<const char*>(from) + part * Staging::kBytes, size(part),
                            cudaMemcpyDeviceToHost, stream),
            "copy to the host");
      check(cudaEventRecord(staging->done[slot], stream), "copy to the host");
    }
    if (part > 0) {
      const int slot = static_cast<int>((part - 1) % 2);
      check(cudaEventSynchronize(staging->done[slot]), "copy to the host");
      std::memcpy(static_cast<char*>(to) + (part - 1) * Staging::kBytes, staging->buffer[slot], size(part - 1));
    }
  }
}

// ---- Launches ----

void check_launch(const char* name, dim3 grid, dim3 block, std::size_t shared_bytes, const Limits& limits) {
  const auto triple = [](unsigned x, unsigned y, unsigned z) {
    return "(" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + ")";
  };
  const std::string kernel = "kernel " + std::string(name) + ": ";
  if (grid.x > limits.max_grid[0] || grid.y > limits.max_grid[1] || grid.z > limits.max_grid[2])
    throw std::invalid_argument(kernel + "a grid of " + triple(grid.x, grid.y, grid.z) + " blocks, the device takes " +
                                triple(limits.max_grid[0], limits.max_grid[1], limits.max_grid[2]));
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > static_cast<std::uint64_t>(limits.max_threads_per_block) || block.z > 64)
    throw std::invalid_argument(kernel + "blocks of " + triple(block.x, block.y, block.z) + " threads, the device takes 1 to " +
                                std::to_string(limits.max_threads_per_block) + ", 64 along z");
  if (shared_bytes > limits.shared_per_block)
    throw std::invalid_argument(kernel + std::to_string(shared_bytes) + " bytes of shared memory, the device has " +
                                std::to_string(limits.shared_per_block));
}

void prepare_launch(const char* name, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes) {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check_launch(name, grid, block, shared_bytes, device_limits(device));
  constexpr std::size_t kWithoutAsking = 48 << 10;
  if (shared_bytes > kWithoutAsking) {
    static std::mutex mutex;
    static std::map<std::pair<const void*, int>, std::size_t> opted_in;
    const std::lock_guard lock(mutex);
    std::size_t& most = opted_in[{kernel, device}];
    if (shared_bytes > most) {
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)), name);
      most = shared_bytes;
    }
  }
  remember(name);
}

}  // namespace fastconv::cuda
