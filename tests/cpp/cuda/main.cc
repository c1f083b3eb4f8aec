#include <cstdlib>
#include <cstring>

#include "test.h"

// Runs all cases, or those whose name contains the first argument; in the emulation
// (tests/emulation/) from the first thread to the last, and then, in another process, from the last
// to the first.
int main(int argc, char** argv) {
  setenv("FASTCONV_EMULATION_CAPABILITY", "9.0", 0);  // which has all kernels
  int passed = 0, failed = 0;
  for (const TestCase& test : test_cases()) {
    if (argc > 1 && !std::strstr(test.name, argv[1])) continue;
    try {
      test.run();
      ++passed;
    } catch (const std::exception& error) {
      std::printf("FAILED %s: %s\n", test.name, error.what());
      ++failed;
    }
  }
  const bool reverse = std::getenv("FASTCONV_EMULATION_REVERSE") != nullptr;
  std::printf("CUDA%s: %d passed, %d failed\n", reverse ? ", reverse" : "", passed, failed);
  std::fflush(stdout);
  bool good = failed == 0;
  if (!reverse) {
    std::string command = "FASTCONV_EMULATION_REVERSE=1";
    for (int i = 0; i < argc; ++i) command += " '" + std::string(argv[i]) + "'";
    good &= std::system(command.c_str()) == 0;
  }
  return !good;
}
