// From a kernel family to the instruction set in use.
//
// A family is a struct of function pointers, `template <class T> struct XKernels`, declared in its
// header together with
//   FASTCONV_DECLARE_KERNELS(XKernels, x_kernels)
// and defined once in its source, which is compiled per ISA, with
//   FASTCONV_DEFINE_KERNELS(XKernels, x_kernels, <expression giving XKernels<T>>)
// Everyone else calls `x_kernels<float>()`.
#pragma once

#include "fastconv/types.h"

#define FASTCONV_DECLARE_IN_ISA(isa, Table, getter) \
  namespace isa {                                   \
  template <class T>                                \
  const Table<T>& getter();                         \
  extern template const Table<float>& getter<float>();   \
  extern template const Table<double>& getter<double>(); \
  }

#if defined(FASTCONV_ISA)  // inside a kernel file
#define FASTCONV_DECLARE_KERNELS(Table, getter) FASTCONV_DECLARE_IN_ISA(FASTCONV_ISA, Table, getter)
#elif defined(FASTCONV_X86_ISAS)
#include "fastconv/cpu.h"
#define FASTCONV_DECLARE_KERNELS(Table, getter)       \
  FASTCONV_DECLARE_IN_ISA(baseline, Table, getter)    \
  FASTCONV_DECLARE_IN_ISA(avx2, Table, getter)        \
  FASTCONV_DECLARE_IN_ISA(avx512, Table, getter)      \
  template <class T>                                  \
  inline const Table<T>& getter() {                   \
    switch (active_isa()) {                           \
      case Isa::avx512: return avx512::getter<T>();   \
      case Isa::avx2: return avx2::getter<T>();       \
      case Isa::baseline: break;                      \
    }                                                 \
    return baseline::getter<T>();                     \
  }
#else
#define FASTCONV_DECLARE_KERNELS(Table, getter)    \
  FASTCONV_DECLARE_IN_ISA(baseline, Table, getter) \
  template <class T>                               \
  inline const Table<T>& getter() {                \
    return baseline::getter<T>();                  \
  }
#endif

#define FASTCONV_DEFINE_KERNELS(Table, getter, ...)   \
  namespace fastconv::FASTCONV_ISA {                  \
  template <class T>                                  \
  const Table<T>& getter() {                          \
    static constexpr Table<T> table = __VA_ARGS__;    \
    return table;                                     \
  }                                                   \
  template const Table<float>& getter<float>();       \
  template const Table<double>& getter<double>();     \
  }
