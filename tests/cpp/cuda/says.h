// CHECK_THROWS for errors whose message matters.
#pragma once

#include <stdexcept>
#include <string>

template <class Error, class F>
void check_says(F call, const char* text) {
  try {
    call();
  } catch (const Error& error) {
    const std::string message = error.what();
    if (message.find(text) == std::string::npos) throw std::runtime_error("says: " + message);
    return;
  }
  throw std::runtime_error(std::string("did not throw: ") + text);
}
