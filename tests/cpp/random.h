// Small integers, whose sums are exact in float: kernels that round nothing must give them bit for
// bit.
#pragma once

#include <cstdint>
#include <vector>

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}

  // From 0 to count - 1.
  std::int64_t below(std::int64_t count) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::int64_t>((state_ >> 33) % static_cast<std::uint64_t>(count));
  }
  std::int64_t between(std::int64_t low, std::int64_t high) { return low + below(high - low + 1); }
  bool coin() { return below(2) == 1; }

  template <class T>
  std::vector<T> integers(std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    for (T& value : values) value = static_cast<T>(between(-4, 4));
    return values;
  }

 private:
  std::uint64_t state_;
};
