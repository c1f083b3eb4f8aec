// For tests of the benchmark, in builds with the CMake option FASTCONV_TEST_SLOWDOWN: the
// environment variable of the same name, such as "winograd4:3", makes every run of that algorithm
// take that many times as long.
#pragma once

#include <chrono>
#include <cstdlib>
#include <string>

#include "fastconv/conv.h"
#include "fastconv/error.h"

namespace fastconv {

// Waits in its destructor until as many times the time since it was made has passed.
class Slowdown {
 public:
  explicit Slowdown(Algorithm algorithm) : factor_(algorithm_name(algorithm) == wanted().algorithm ? wanted().factor : 1) {}
  ~Slowdown() {
    const Clock::time_point end = start_ + std::chrono::duration_cast<Clock::duration>((Clock::now() - start_) * factor_);
    while (Clock::now() < end) {
    }
  }
  Slowdown(const Slowdown&) = delete;
  Slowdown& operator=(const Slowdown&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  struct Wanted {
    std::string algorithm;
    double factor;
  };

  static const Wanted& wanted() {
    static const Wanted from_environment = [] {
      const char* value = std::getenv("FASTCONV_TEST_SLOWDOWN");
      const std::string text = value ? value : "none:1";
      const std::size_t colon = text.find(':');
      const double factor = colon == text.npos ? 0 : std::atof(text.c_str() + colon + 1);
      if (factor < 1) fail("FASTCONV_TEST_SLOWDOWN must be like winograd4:3, got ", text);
      return Wanted{text.substr(0, colon), factor};
    }();
    return from_environment;
  }

  const double factor_;
  const Clock::time_point start_ = Clock::now();
};

}  // namespace fastconv
