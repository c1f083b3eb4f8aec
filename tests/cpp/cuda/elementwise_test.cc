// Copies, activations, sums and products over all kinds of strides.
#include <algorithm>

#include "arrays.h"
#include "fastconv/ops.h"

using namespace fastconv;
using namespace fastconv::cuda;

namespace {

using Sizes = std::vector<index_t>;

// The elements that strides from `start` reach.
struct Layout {
  Sizes size, stride;
  index_t start = 0, count = 0;
};
Layout layout(const Sizes& size, const Sizes& stride) {
  Layout l{size, stride, 0, 1};
  for (std::size_t d = 0; d < size.size(); ++d) {
    const index_t reach = std::max<index_t>(size[d] - 1, 0) * stride[d];
    (reach < 0 ? l.start : l.count) += reach < 0 ? -reach : reach;
  }
  l.count += l.start;
  return l;
}

template <class From, class To>
void check_copy(const Layout& x, const Layout& y) {
  const auto values = normal<From>(x.count);
  const Array<From> from(values);
  const Array<To> to(y.count);
  copy<From, To>(strided<const From>(from.data() + x.start, x.size, x.stride), strided(to.data() + y.start, y.size, y.stride),
                 nullptr);
  std::vector<float> wanted(static_cast<std::size_t>(y.count), NAN);
  for_each_index(x.size, [&](const Sizes& i) {
    wanted[y.start + dot(i, y.stride)] = static_cast<float>(To(values[x.start + dot(i, x.stride)]));
  });
  const auto result = to.read();
  for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(close(result[i], wanted[i], 0));
}

void check_copies(const Layout& x, const Layout& y) {
  for_each_type([&]<class T>() {
    check_copy<T, T>(x, y);
    check_copy<float, T>(x, y);
    check_copy<T, float>(x, y);
  });
}

}  // namespace

TEST(copy_contiguous) {
  for (const index_t n : {0, 1, 7, 64, 4099}) check_copies(layout({n}, {1}), layout({n}, {1}));
  check_copies(layout({}, {}), layout({}, {}));
}

TEST(copy_between_nchw_and_nhwc) {
  for (const index_t c : {1, 3, 8, 21, 40})
    for (const index_t w : {1, 7, 13}) {
      const Sizes size{2, c, 5, w}, nchw{c * 5 * w, 5 * w, w, 1}, nhwc{c * 5 * w, 1, w * c, c};
      check_copies(layout(size, nchw), layout(size, nhwc));
      check_copies(layout(size, nhwc), layout(size, nchw));
    }
  check_copies(layout({3, 33, 65}, {33 * 65, 65, 1}), layout({3, 33, 65}, {33 * 70, 1, 35}));  // rows with a gap
}

TEST(copy_any_strides) {
  check_copies(layout({4, 6, 16}, {200, 24, 1}), layout({4, 6, 16}, {96, 16, 1}));     // a slice of channels
  check_copies(layout({4, 6, 16}, {96, 16, 1}), layout({4, 6, 16}, {200, 24, 1}));
  check_copies(layout({4, 6, 5}, {-30, 5, -1}), layout({4, 6, 5}, {30, 5, 1}));        // reversed
  check_copies(layout({4, 6, 5}, {0, 5, 1}), layout({4, 6, 5}, {30, 5, 1}));           // repeated
  check_copies(layout({8, 8, 8}, {0, 1, 0}), layout({8, 8, 8}, {64, 8, 1}));
  check_copies(layout({5, 7}, {14, 2}), layout({5, 7}, {7, 1}));                       // every second
  check_copies(layout({2, 3, 2, 3, 2, 2}, {72, 24, 12, 4, 2, 1}), layout({2, 3, 2, 3, 2, 2}, {72, 4, 1, 24, 12, 2}));
}

TEST(copies_of_masks) {
  for_each_type([]<class T>() {
    const index_t n = 2 * 40 * 5 * 13;
    const Sizes size{2, 40, 5, 13}, nchw{40 * 65, 65, 13, 1}, nhwc{40 * 65, 1, 13 * 40, 40}, reversed{-40 * 65, 65, 13, 1};
    for (const Layout& x : {layout({n}, {1}), layout({n - 1}, {1}), layout(size, nchw), layout(size, nhwc), layout(size, reversed)}) {
      const Layout y = layout(x.size, x.size.size() == 1 ? Sizes{1} : nchw);
      std::vector<float> numbers, bytes;
      for (index_t i = 0; i < x.count; ++i) {
        numbers.push_back(i * i % 7 == 0 ? 0.f : i * i % 7 == 1 ? -0x1p-10f : i * i % 7 == 2 ? INFINITY : 1.f);
        bytes.push_back(i * i % 7 == 0 ? 0.f : i * i % 7 == 1 ? 255.f : 1.f);
      }
      const Array<T> from_numbers(numbers), to_numbers(y.count);
      const Array<std::uint8_t> from_bytes(bytes), to_bytes(std::vector<float>(y.count, 9));
      copy<T, std::uint8_t>(strided<const T>(from_numbers.data() + x.start, x.size, x.stride),
                            strided(to_bytes.data() + y.start, y.size, y.stride), nullptr);
      copy<std::uint8_t, T>(strided<const std::uint8_t>(from_bytes.data() + x.start, x.size, x.stride),
                            strided(to_numbers.data() + y.start, y.size, y.stride), nullptr);
      const auto results = {to_bytes.read(), to_numbers.read()};
      for (const auto& result : results)
        for_each_index(x.size, [&](const Sizes& i) {
          CHECK(result[y.start + dot(i, y.stride)] == (bytes[x.start + dot(i, x.stride)] != 0 ? 1.f : 0.f));
        });
    }
  });
}

TEST(fill_gives_one_value) {
  for_each_type([]<class T>() {
    const Array<T> y(60);
    fill(strided(y.data() + 1, {3, 4, 4}, {20, 5, 1}), 2.5f, nullptr);
    const auto result = y.read();
    for (index_t i = 0; i < 60; ++i) {
      const index_t at = i - 1;
      CHECK(close(result[i], at >= 0 && at % 5 < 4 ? 2.5 : NAN, 0));
    }
  });
}

TEST(activations_are_their_formulas) {
  const auto clamp = [](double v) { return std::clamp(v, 0.0, 6.0); };
  for_each_type([&]<class T>() {
    for (int k = 0; k <= Activation::prelu; ++k) {
      const auto kind = static_cast<Activation::Kind>(k);
      std::vector<float> values = normal<T>(519);
      for (float& v : values) v = static_cast<float>(T(3 * v));
      values[5] = NAN;
      values[6] = INFINITY;
      const Array<T> x(values);
      const auto flat = strided(x.data(), {519}, {1});
      activate<T>({kind, 0.25, 1.5}, strided<const T>(x.data(), {519}, {1}), flat, nullptr);  // in place
      const auto result = x.read();
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double v = values[i];
        double wanted = v;
        switch (kind) {
          case Activation::none: break;
          case Activation::relu: wanted = v < 0 ? 0 : v; break;
          case Activation::relu6: wanted = std::isnan(v) ? v : clamp(v); break;
          case Activation::clip: wanted = std::isnan(v) ? v : std::clamp(v, 0.25, 1.5); break;
          case Activation::leaky_relu:
          case Activation::prelu: wanted = v < 0 ? 0.25 * v : v; break;
          case Activation::gelu: wanted = 0.5 * v * std::erfc(-v / std::sqrt(2.0)); break;
          case Activation::gelu_tanh:
            wanted = 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
            break;
          case Activation::silu: wanted = v / (1 + std::exp(-v)); break;
          case Activation::hardswish: wanted = std::isnan(v) ? v : v * clamp(v + 3) / 6; break;
          case Activation::hardsigmoid: wanted = std::isnan(v) ? v : clamp(v + 3) / 6; break;
          case Activation::sigmoid: wanted = 1 / (1 + std::exp(-v)); break;
          case Activation::tanh: wanted = std::tanh(v); break;
          case Activation::mish: wanted = v * std::tanh(std::log1p(std::exp(v))); break;
        }
        CHECK(close(result[i], wanted, 16 * 0x1p-24 + kRounding<T>));
      }
    }
  });
}

TEST(binary_broadcasts) {
  struct Operands {
    Sizes size, y, a, b;
  };
  const Operands cases[] = {
      {{2, 16, 3, 5}, {240, 1, 80, 16}, {240, 1, 80, 16}, {16, 1, 0, 0}},  // a gate of channels, NHWC
      {{2, 16, 3, 5}, {240, 1, 80, 16}, {0, 0, 5, 1}, {240, 1, 80, 16}},   // of pixels
      {{2, 7, 3, 5}, {105, 15, 5, 1}, {105, 15, 5, 1}, {0, 1, 0, 0}},      // NCHW
      {{6, 8}, {8, 1}, {8, 1}, {0, 0}},                                    // a scalar
      {{3, 33}, {33, 1}, {33, 1}, {1, 3}},
      {{0, 4}, {4, 1}, {4, 1}, {4, 1}},
  };
  for_each_type([&]<class T>() {
    for (const Operands& c : cases)
      for (const Instruction kind : {Instruction::add, Instruction::multiply})
        for (const bool in_place : {false, true}) {
          const Layout a = layout(c.size, c.a), b = layout(c.size, c.b), y = layout(c.size, c.y);
          if (in_place && c.a != c.y) continue;
          const auto p = normal<T>(a.count, 1), q = normal<T>(b.count, 2);
          const Array<T> first(p), second(q), out(y.count);
          const Array<T>& to = in_place ? first : out;
          const Strided<const T> x[] = {strided<const T>(first.data(), c.size, c.a), strided<const T>(second.data(), c.size, c.b)};
          cuda::pointwise<T>(kind, x, strided(to.data(), c.size, c.y), nullptr);
          const auto result = to.read();
          for_each_index(c.size, [&](const Sizes& i) {
            const double u = p[dot(i, c.a)], v = q[dot(i, c.b)];
            CHECK(close(result[dot(i, c.y)], kind == Instruction::add ? u + v : u * v, 0x1p-23 + kRounding<T>));
          });
        }
  });
}

TEST(scale_shift_along_any_axis) {
  for_each_type([]<class T>() {
    const Sizes size{2, 24, 3, 4};
    for (const Sizes& stride : {Sizes{288, 12, 4, 1}, Sizes{288, 1, 96, 24}})
      for (int axis = 0; axis < 4; ++axis) {
        const auto x = normal<T>(576, 1), scale = normal<float>(size[axis], 2), shift = normal<float>(size[axis], 3);
        const Array<T> from(x), y(576);
        const Array<float> s(scale), b(shift);
        scale_shift<T>(strided<const T>(from.data(), size, stride), s.data(), b.data(), axis, Activation::relu,
                       strided(y.data(), size, stride), nullptr);
        const auto result = y.read();
        for_each_index(size, [&](const Sizes& i) {
          const index_t at = dot(i, stride);
          CHECK(close(result[at], std::max(0.0, double(x[at]) * scale[i[axis]] + shift[i[axis]]), 0x1p-22 + kRounding<T>));
        });
      }
  });
}

TEST(instructions_are_those_of_the_cpu) {
  constexpr index_t kCount = 517;
  for_each_type([&]<class T>() {
    for (int i = 0; i < kInstructions; ++i) {
      const auto instruction = static_cast<Instruction>(i);
      if (activation_of(instruction)) continue;  // which are operators of their own
      const PointwiseProgram program = PointwiseProgram::of(instruction);
      std::vector<Array<T>> arrays;
      std::vector<std::vector<float>> floats;
      std::vector<std::vector<std::uint8_t>> masks;
      std::vector<void*> on_cpu;
      for (int k = 0; k < program.inputs; ++k) {
        std::vector<float>& values = floats.emplace_back(normal<T>(kCount + k));
        values.erase(values.begin(), values.begin() + k);  // others than the operand before
        values[5 + k] = NAN;
        values[9] = 0;
        values[11] = static_cast<float>(T(-54321));
        values[13] = static_cast<float>(T(3e38f));  // of 16 bits infinite, or all but 8 bits zero
        std::vector<std::uint8_t>& bytes = masks.emplace_back(kCount);
        const bool is_mask = program.input_is_mask(k);
        for (index_t j = 0; is_mask && j < kCount; ++j) values[j] = bytes[j] = values[j] > 0;
        arrays.emplace_back(values);
        on_cpu.push_back(is_mask ? static_cast<void*>(bytes.data()) : values.data());
      }
      const Array<T> y(kCount);
      std::vector<float> wanted(kCount);
      std::vector<std::uint8_t> wanted_mask(kCount);
      on_cpu.push_back(program.result_is_mask() ? static_cast<void*>(wanted_mask.data()) : wanted.data());
      fastconv::pointwise<float>(program, {kCount}, std::vector<Shape>(on_cpu.size(), {1}))(on_cpu.data());
      if (program.result_is_mask()) wanted.assign(wanted_mask.begin(), wanted_mask.end());
      Strided<const T> x[3];
      for (int k = 0; k < program.inputs; ++k) x[k] = strided<const T>(arrays[k].data(), {kCount}, {1});
      cuda::pointwise<T>(instruction, x, strided(y.data(), {kCount}, {1}), nullptr);
      const auto result = y.read();
      for (index_t j = 0; j < kCount; ++j) {
        const float rounded = static_cast<float>(T(wanted[j]));  // which may overflow
        CHECK(close(result[j], std::isinf(rounded) ? rounded : wanted[j], 16 * 0x1p-24 + kRounding<T>));
      }
    }
  });
}
