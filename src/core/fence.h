// For builds with FASTCONV_SANITIZE: shows AddressSanitizer where the parts of a larger block end.
// In other builds nothing of it is left.
//
// The contract that it checks: kernels touch what an array was asked for with, and no byte beyond.
// That includes whole vectors: where one is read or written past the last element, whoever made the
// array asked for that room, and what lies in it is never part of a result. Prefetches alone may
// point anywhere.
#pragma once

#include <cstddef>

#ifdef FASTCONV_SANITIZE
#include <sanitizer/asan_interface.h>
#endif

namespace fastconv {

#ifdef FASTCONV_SANITIZE
inline constexpr bool kFences = true;
inline void hide(const void* memory, std::size_t bytes) { __asan_poison_memory_region(memory, bytes); }
inline void expose(const void* memory, std::size_t bytes) { __asan_unpoison_memory_region(memory, bytes); }
#else
inline constexpr bool kFences = false;
inline void hide(const void*, std::size_t) {}  // touching it is a fault from here on
inline void expose(const void*, std::size_t) {}
#endif

inline constexpr std::size_t kFenceBytes = kFences ? 64 : 0;  // behind each part; keeps the next one aligned

}  // namespace fastconv
