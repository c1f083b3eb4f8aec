#include <cstring>

#include "test.h"

// Runs all cases, or those whose name contains the first argument.
int main(int argc, char** argv) {
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
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
