// What tests of the emulation set, and what its two sources share.
#pragma once

#include <cuda_runtime.h>

#include <optional>
#include <string>

namespace emulation {

struct Settings {
  int devices = 1;
  bool driver = true;
  int major = 8, minor = 0;
  std::size_t memory = std::size_t{8} << 30;  // bytes of each device
  long fault = 0;                             // number of the launch that ends in an illegal address
  bool reverse = false;
};
Settings& settings();  // at first from the environment (README.md)
void revive();         // forgets a sticky error, as no process can
long launches();       // until now

// Runs `body` as each thread of each block; what went wrong, or nothing. block.cc.
std::optional<std::string> run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);

}  // namespace emulation
