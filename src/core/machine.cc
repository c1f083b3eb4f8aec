#include "fastconv/machine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>

#include "fastconv/error.h"
#include "fastconv/memory.h"
#include "fastconv/tensor.h"
#include "fastconv/thread_pool.h"
#include "fastconv/words.h"
#include "kernels/probe/probe.h"

namespace fastconv {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Calls work(amount) until a call has taken `seconds`, each time with more; returns amount per
// second of that call.
template <class F>
double rate(double seconds, F&& work) {
  for (double amount = 1;;) {
    const double start = now();
    work(static_cast<index_t>(amount));
    const double elapsed = now() - start;
    if (elapsed >= seconds) return std::floor(amount) / elapsed;
    amount *= elapsed > seconds / 8 ? 1.2 * seconds / elapsed : 8;
  }
}

// The sum of measure() over all threads, which run it at the same time.
template <class F>
double sum_over_threads(F&& measure) {
  std::mutex mutex;
  double sum = 0;
  parallel_for(num_threads(), [&](std::int64_t) {
    const double result = measure();
    const std::lock_guard lock(mutex);
    sum += result;
  });
  return sum;
}

template <class T>
double measure_flops(double seconds) {
  const ProbeKernels<T>& kernels = probe_kernels<T>();
  return sum_over_threads([&] {
    T sink = 1;
    return kernels.fma_flops * rate(seconds, [&](index_t iterations) { kernels.fma(iterations, &sink); });
  });
}

}  // namespace

double measure_flops(DType dtype, double seconds) {
  if (!is_computed_in(dtype)) fail("dtype must be float32 or float64, got ", word(dtype));
  return dtype == DType::f32 ? measure_flops<float>(seconds) : measure_flops<double>(seconds);
}

double measure_read_bandwidth(std::size_t bytes, double seconds) {
  const ProbeKernels<float>& kernels = probe_kernels<float>();
  const std::size_t unit = static_cast<std::size_t>(kernels.read_unit);
  const std::size_t count = (bytes / sizeof(float) + unit - 1) / unit * unit;
  return sum_over_threads([&] {
    AlignedArray<float> memory(count);
    std::fill_n(memory.data(), count, 0.0f);  // the system gives all untouched pages the same zeros
    volatile float sink = 0;
    const double passes = rate(seconds, [&](index_t n) {
      for (; n > 0; --n) sink = kernels.read(memory.data(), static_cast<index_t>(count));
    });
    return passes * static_cast<double>(count * sizeof(float));
  });
}

}  // namespace fastconv
