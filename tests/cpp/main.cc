#include <cstdlib>
#include <cstring>

#include "fastconv/cpu.h"
#include "test.h"

namespace {

bool run(const char* filter) {
  int passed = 0, failed = 0;
  for (const TestCase& test : test_cases()) {
    if (filter && !std::strstr(test.name, filter)) continue;
    try {
      test.run();
      ++passed;
    } catch (const std::exception& error) {
      std::printf("FAILED %s: %s\n", test.name, error.what());
      ++failed;
    }
  }
  std::printf("%s: %d passed, %d failed\n", fastconv::isa_name(fastconv::active_isa()), passed, failed);
  std::fflush(stdout);
  return failed == 0;
}

}  // namespace

// Runs all cases, or those whose name contains the first argument: on the instruction set that
// FASTCONV_ISA names, or else on every one that this CPU has, each in a process of its own.
int main(int argc, char** argv) {
  bool good = run(argc > 1 ? argv[1] : nullptr);
  if (std::getenv("FASTCONV_ISA")) return !good;
  for (const fastconv::Isa isa : fastconv::supported_isas()) {
    if (isa == fastconv::active_isa()) continue;
    std::string command = "FASTCONV_ISA=" + std::string(fastconv::isa_name(isa));
    for (int i = 0; i < argc; ++i) command += " '" + std::string(argv[i]) + "'";
    good &= std::system(command.c_str()) == 0;
  }
  return !good;
}
