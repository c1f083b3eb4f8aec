#include <atomic>
#include <cstdint>
#include <set>
#include <thread>

#include "core/fence.h"
#include "fastconv/cpu.h"
#include "fastconv/memory.h"
#include "fastconv/tensor.h"
#include "fastconv/thread_pool.h"
#include "test.h"

using namespace fastconv;

TEST(checked_size_multiplies_and_refuses_overflow) {
  CHECK(checked_size({2, 3, 4}, 4) == 24);
  CHECK(checked_size({}, 8) == 1);
  CHECK(checked_size({0, 5}, 8) == 0);
  CHECK_THROWS(checked_size({index_t{1} << 40, index_t{1} << 40}, 4), std::invalid_argument);
  CHECK_THROWS(checked_size({0, index_t{1} << 40, index_t{1} << 40}, 4), std::invalid_argument);
  CHECK_THROWS(checked_size({-1}, 4), std::invalid_argument);
}

TEST(parallel_for_runs_each_task_once) {
  for (const int threads : {1, 2, 5}) {
    set_thread_override(threads);
    std::vector<std::atomic<int>> runs(1000);
    for (int repeat = 0; repeat < 50; ++repeat) parallel_for(1000, [&](index_t i) { ++runs[i]; }, 7);
    for (const auto& count : runs) CHECK(count == 50);
  }
  set_thread_override(0);
}

TEST(parallel_rethrows_and_goes_on) {
  set_thread_override(3);
  for (int repeat = 0; repeat < 20; ++repeat)
    CHECK_THROWS(parallel_for(100, [](index_t i) { if (i == 42) throw std::runtime_error("task"); }), std::runtime_error);
  std::atomic<int> count{0};
  parallel_for(100, [&](index_t) { ++count; });
  CHECK(count == 100);
  set_thread_override(0);
}

TEST(parallel_serves_many_callers_and_nesting) {
  std::atomic<int> count{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 8; ++caller)
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 100; ++repeat)
        parallel_for(4, [&](index_t) { parallel_for(3, [&](index_t) { ++count; }); });
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(count == 8 * 100 * 4 * 3);
}

TEST(scratch_is_aligned_and_reused) {
  trim_scratch();
  void* first;
  {
    Scratch scratch(100000);
    first = scratch.as<char>();
    CHECK(reinterpret_cast<std::uintptr_t>(first) % kAlignment == 0);
  }
  CHECK(scratch_cached_bytes() >= 100000);
  {
    Scratch scratch(90000);
    CHECK(scratch.as<char>() == first);
  }
  {
    Scratch small(10000);  // must not hold a buffer ten times as large
    CHECK(small.as<char>() != first);
  }
  trim_scratch();
  CHECK(scratch_cached_bytes() == 0);
  Scratch empty(0);
  CHECK(empty.as<char>() == nullptr);
}

TEST(arrays_in_an_arena_lie_apart) {
  Arena arena;
  std::vector<AlignedArray<unsigned char>> arrays;
  for (const std::size_t size : {1, 64, 65, 1 << 16, 3, 5 << 20, 7, 1 << 20}) {
    arrays.emplace_back(size, &arena);
    CHECK(reinterpret_cast<std::uintptr_t>(arrays.back().data()) % kAlignment == 0);
    std::fill_n(arrays.back().data(), size, static_cast<unsigned char>(arrays.size()));
  }
  for (std::size_t i = 0; i < arrays.size(); ++i)
    for (std::size_t k = 0; k < arrays[i].size(); ++k) CHECK(arrays[i].data()[k] == i + 1);
  CHECK(arena.allocate(0) == nullptr);
  CHECK_THROWS(arena.allocate(~std::size_t{0}), std::bad_alloc);
}

#ifdef FASTCONV_SANITIZE
TEST(a_byte_beyond_what_was_asked_for_is_a_fault) {
  const auto ends_with = [](const void* memory, std::size_t bytes) {
    return !__asan_region_is_poisoned(const_cast<void*>(memory), bytes) &&
           __asan_address_is_poisoned(static_cast<const char*>(memory) + bytes);
  };
  Arena arena;
  for (const std::size_t bytes : {1, 60, 64, 100, 4096, 5 << 20}) {
    CHECK(ends_with(AlignedArray<char>(bytes).data(), bytes));
    CHECK(ends_with(AlignedArray<char>(bytes, &arena).data(), bytes));
    const char* leased = nullptr;
    for (int repeat = 0; repeat < 2; ++repeat) {  // also of a buffer that was leased before
      const Scratch scratch(bytes);
      leased = scratch.as<char>();
      CHECK(ends_with(leased, bytes));
    }
    CHECK(__asan_address_is_poisoned(leased));  // the lease is over
  }
}
#endif

TEST(flush_denormals_restores_the_mode) {
  volatile float tiny = 1e-40f;
  {
    const FlushDenormals flush;
#if defined(__x86_64__) || defined(__aarch64__)
    CHECK(tiny * 1.0f == 0.0f);
#endif
  }
  CHECK(tiny * 1.0f != 0.0f);
}
