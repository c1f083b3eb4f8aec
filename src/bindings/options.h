// Options that Python passes as words. Unknown words are Python's to refuse; here they are a
// mistake inside fastconv.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>
#include <string>

#include "fastconv/conv.h"
#include "fastconv/words.h"

namespace fastconv::bindings {

template <class Enum, std::size_t N>
Enum parse_word(const std::string& word, const char* what, const std::array<const char*, N>& names) {
  for (std::size_t i = 0; i < N; ++i)
    if (word == names[i]) return static_cast<Enum>(i);
  std::string list;
  for (const char* name : names) list += (list.empty() ? "" : ", ") + std::string(name);
  throw std::invalid_argument(std::string(what) + " must be one of " + list + ", got '" + word + "'");
}

inline Activation parse_activation(const std::string& word) {
  return parse_word<Activation::Kind>(word, "activation", Words<Activation>::names);
}

inline Algorithm parse_algorithm(const std::string& word) {
  return parse_word<Algorithm>(word, "algorithm",
                               std::array{"auto", "reference", "im2col", "direct", "depthwise", "strassen",
                                          "winograd", "winograd2", "winograd4", "winograd6"});
}

inline Accuracy parse_accuracy(const std::string& word) {
  return parse_word<Accuracy>(word, "accuracy", std::array{"fast", "exact", "fastest"});
}

// "same", "valid" or ((top, bottom), (left, right)).
inline Padding parse_padding(const pybind11::object& padding) {
  if (pybind11::isinstance<pybind11::str>(padding)) {
    const auto word = padding.cast<std::string>();
    return {parse_word<Padding::Mode>(word, "padding", std::array{"explicit", "same", "valid"}), 0, 0, 0, 0};
  }
  try {
    const auto p = padding.cast<std::array<std::array<index_t, 2>, 2>>();
    return {Padding::Mode::explicit_sizes, p[0][0], p[0][1], p[1][0], p[1][1]};
  } catch (const pybind11::cast_error&) {
    throw pybind11::type_error("padding must be ((top, bottom), (left, right)), got " +
                               pybind11::repr(padding).cast<std::string>());
  }
}

}  // namespace fastconv::bindings
