// The words for enumerations, in their order: what Python passes, graphs print and messages list.
#pragma once

#include <array>
#include <string>

#include "fastconv/types.h"

namespace fastconv {

template <class Enum>
struct Words;  // has `names`

template <>
struct Words<Activation::Kind> {
#define ROW(name, definition) #name,
  static constexpr auto names = std::to_array<const char*>({FASTCONV_NAMED_ACTIVATIONS(ROW)});
#undef ROW
};
template <>
struct Words<Activation> : Words<Activation::Kind> {};

template <>
struct Words<DType> {  // NumPy's
  static constexpr std::array names{"float32", "float64", "float16", "bfloat16", "int8", "uint8", "int32", "int64", "bool"};
};

template <class Enum>
const char* word(Enum value) {
  return Words<Enum>::names[static_cast<std::size_t>(value)];
}

template <class Enum>
std::string all_words() {
  std::string list;
  for (const char* name : Words<Enum>::names) list += (list.empty() ? "" : ", ") + std::string(name);
  return list;
}

}  // namespace fastconv
