// What this CPU has and what is in use: instruction set, caches, cores allowed.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fastconv {

enum class Isa { baseline, avx2, avx512 };

const char* isa_name(Isa isa);
std::vector<Isa> supported_isas();  // built in and present on this CPU, weakest first

// The one that kernels run on: the best of supported_isas(), or what FASTCONV_ISA names. Throws
// std::runtime_error when FASTCONV_ISA names one that is unknown or that this CPU lacks.
Isa active_isa();

struct CacheSizes {
  std::size_t l1d, l2, l3;  // bytes; l1d and l2 of one core
};
const CacheSizes& cache_sizes();

std::string cpu_model();

// Number of cores this process may use: the smaller of the affinity mask and the cgroup's quota
// (rounded up).
int available_cores();

// Turns on flush-to-zero for the current thread and restores the caller's mode at the end of scope.
class FlushDenormals {
 public:
  explicit FlushDenormals(bool enable = true);
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned long long saved_ = 0;
  bool enabled_;
};

}  // namespace fastconv
