// A test case is TEST(name) { CHECK(...); }; main.cc runs them all.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

struct TestCase {
  const char* name;
  void (*run)();
};
inline std::vector<TestCase>& test_cases() {
  static std::vector<TestCase> cases;
  return cases;
}
struct TestRegistration {
  TestRegistration(const char* name, void (*run)()) { test_cases().push_back({name, run}); }
};

#define TEST(name)                                          \
  static void test_##name();                                \
  static const TestRegistration register_##name(#name, test_##name); \
  static void test_##name()

#define CHECK(condition)                                                                                   \
  do {                                                                                                     \
    if (!(condition))                                                                                      \
      throw std::runtime_error(std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": " #condition); \
  } while (false)

#define CHECK_THROWS(expression, type) \
  do {                                 \
    bool thrown = false;               \
    try {                              \
      expression;                      \
    } catch (const type&) {            \
      thrown = true;                   \
    }                                  \
    CHECK(thrown && #expression);      \
  } while (false)
