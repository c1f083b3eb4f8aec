// CHECK_THROWS for errors whose message matters.
#pragma once

#include <stdexcept>
#include <string>

template <class Error, class F>
void check_says(F call, const char* text) {
  try {
    call();
  } catch (const Error& error) {
    if (std::string(error.what()).find(text) == std::string::npos) throw std::runtime_error(std::string("says: ") + error.what());
    return;
  }
  throw std::runtime_error(std::string("did not throw: ") + text);
}
