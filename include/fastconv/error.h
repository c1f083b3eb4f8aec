// Errors that the user made: they become ValueError in Python.
#pragma once

#include <sstream>
#include <stdexcept>

namespace fastconv {

// Throws std::invalid_argument with the arguments written one after the other.
template <class... Args>
[[noreturn]] void fail(const Args&... args) {
  std::ostringstream message;
  (message << ... << args);
  throw std::invalid_argument(message.str());
}

}  // namespace fastconv
