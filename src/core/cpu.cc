#include "fastconv/cpu.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fastconv {
namespace {

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::size_t cache_bytes(int level, std::size_t fallback) {
  for (int index = 0; index < 8; ++index) {
    const std::string dir = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    if (read_line(dir + "level") != std::to_string(level) || read_line(dir + "type") == "Instruction") continue;
    const std::string text = read_line(dir + "size");
    const std::size_t size = std::strtoull(text.c_str(), nullptr, 10);
    if (size) return size << (text.back() == 'M' ? 20 : 10);
  }
  return fallback;
}

// Cores that a cgroup's CPU quota amounts to; infinity where none is set. cgroup v2 has "max" or
// "quota period" in cpu.max at every level of the hierarchy, v1 two files.
double quota_cores() {
  double cores = INFINITY;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    const bool v2 = controllers.empty();
    if (!v2 && controllers.find("cpu") == std::string::npos) continue;
    const std::string root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    for (;;) {
      double quota = 0, period = 0;
      if (v2) {
        std::istringstream(read_line(root + path + "/cpu.max")) >> quota >> period;
      } else {
        std::istringstream(read_line(root + path + "/cpu.cfs_quota_us")) >> quota;
        std::istringstream(read_line(root + path + "/cpu.cfs_period_us")) >> period;
      }
      if (quota > 0 && period > 0) cores = std::min(cores, quota / period);
      const auto slash = path.rfind('/');
      if (path.empty() || slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return cores;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::baseline: break;
  }
#if defined(__aarch64__)
  return "neon";  // what the portable code compiles to there
#else
  return "baseline";
#endif
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> isas{Isa::baseline};
#ifdef FASTCONV_X86_ISAS
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    isas.push_back(Isa::avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
      isas.push_back(Isa::avx512);
  }
#endif
  return isas;
}

Isa active_isa() {
  static const Isa isa = [] {
    const std::vector<Isa> isas = supported_isas();
    const char* wanted = std::getenv("FASTCONV_ISA");
    if (!wanted || !*wanted) return isas.back();
    std::string names;
    for (const Isa candidate : isas) {
      if (std::string(wanted) == isa_name(candidate)) return candidate;
      names += (names.empty() ? "" : ", ") + std::string(isa_name(candidate));
    }
    throw std::runtime_error("FASTCONV_ISA=" + std::string(wanted) + " cannot be used: this build on this CPU has " +
                             names);
  }();
  return isa;
}

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes{cache_bytes(1, 32 << 10), cache_bytes(2, 1 << 20), cache_bytes(3, 16 << 20)};
  return sizes;
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "unknown";
}

int available_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) cores = CPU_COUNT(&mask);
#endif
  const double quota = quota_cores();
  if (std::isfinite(quota) && quota < cores) cores = static_cast<int>(std::ceil(quota));
  return cores < 1 ? 1 : cores;
}

#if defined(__x86_64__)
FlushDenormals::FlushDenormals(bool enable) : enabled_(enable) {
  if (!enable) return;
  saved_ = _mm_getcsr();
  _mm_setcsr(static_cast<unsigned>(saved_) | 0x8040);  // FTZ and DAZ
}
FlushDenormals::~FlushDenormals() {
  if (enabled_) _mm_setcsr(static_cast<unsigned>(saved_));
}
#elif defined(__aarch64__)
FlushDenormals::FlushDenormals(bool enable) : enabled_(enable) {
  if (!enable) return;
  asm volatile("mrs %0, fpcr" : "=r"(saved_));
  asm volatile("msr fpcr, %0" ::"r"(saved_ | (1ull << 24)));
}
FlushDenormals::~FlushDenormals() {
  if (enabled_) asm volatile("msr fpcr, %0" ::"r"(saved_));
}
#else
FlushDenormals::FlushDenormals(bool enable) : enabled_(enable) {}
FlushDenormals::~FlushDenormals() = default;
#endif

}  // namespace fastconv
