// What this machine can do at most, measured: the floors that kernels are compared with.
#pragma once

#include <cstddef>

#include "fastconv/types.h"

namespace fastconv {

// Both run on num_threads() threads at once for about `seconds` each and return the sum over the
// threads; callers take the best of several calls, for whatever else runs on the machine makes them
// less.

// Floating-point operations a second of multiply-adds in registers, by the instruction set in use.
double measure_flops(DType dtype, double seconds);

// Bytes a second when each thread reads `bytes` of its own memory over and over: the size decides
// from which cache.
double measure_read_bandwidth(std::size_t bytes, double seconds);

}  // namespace fastconv
