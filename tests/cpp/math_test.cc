// The vector functions of simd/math.h, compiled here as the baseline kernels are, against libm in
// long double; and the activations made of them on every instruction set.
#include <cmath>
#include <limits>
#include <random>

#include "kernels/activation/activation.h"
#include "test.h"

#define FASTCONV_ISA test_isa
#define FASTCONV_VECTOR_BYTES 16
#include "simd/math.h"
#include "simd/sine.h"
#undef FASTCONV_ISA

using namespace fastconv;

namespace {

// The largest error of `f` at the points, in units in the last place of T; results below `least`
// count as `least`.
template <class T, class F, class G>
double max_ulp(const std::vector<T>& points, F f, G reference, T least = std::numeric_limits<T>::min()) {
  double worst = 0;
  for (const T x : points) {
    const long double expected = reference(static_cast<long double>(x));
    int exponent;
    std::frexp(std::max<long double>(std::fabs(expected), least), &exponent);
    const long double ulp = std::ldexp(1.0L, exponent - std::numeric_limits<T>::digits);
    worst = std::max(worst, static_cast<double>(std::fabs(static_cast<long double>(f(x)) - expected) / ulp));
  }
  return worst;
}

template <class T>
std::vector<T> random_points(T low, T high, int count = 200000) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<T> distribution(low, high);
  std::vector<T> points(count);
  for (T& x : points) x = distribution(random);
  return points;
}

template <class T>
std::vector<T> positive_points(int count = 200000) {  // of all magnitudes, subnormal ones included
  using L = std::numeric_limits<T>;
  std::vector<T> points = random_points<T>(T(std::log2(L::denorm_min())), T(L::max_exponent) - T(0.01), count);
  for (T& x : points) x = std::exp2(x);
  for (const T x : random_points<T>(T(0.5), T(2), count)) points.push_back(x);
  return points;
}

template <class T, class F>
auto scalar(F f) {
  return [f](T x) { return f(test_isa::broadcast(x))[0]; };
}

template <class T>
void check_functions() {
  using namespace test_isa;
  const auto exp_of = scalar<T>([](Vec<T> x) { return test_isa::exp<T>(x); });
  const auto log_of = scalar<T>([](Vec<T> x) { return test_isa::log<T>(x); });
  const T lowest = MathConstants<T>::exp_low, highest = MathConstants<T>::exp_high;
  CHECK(max_ulp(random_points<T>(lowest, highest - T(1)), exp_of, [](long double x) { return std::exp(x); }) < 1.5);
  CHECK(max_ulp(positive_points<T>(), log_of, [](long double x) { return std::log(x); }) < 2);
  CHECK(max_ulp(random_points<T>(T(0.1), T(20)), scalar<T>([](Vec<T> x) { return power<T>(x, T(0.75)); }),
                [](long double x) { return std::pow(x, 0.75L); }) < 5);
  CHECK(max_ulp(random_points<T>(T(-80), T(80)), scalar<T>([](Vec<T> x) { return test_isa::sigmoid<T>(x); }),
                [](long double x) { return 1 / (1 + std::exp(-x)); }) < 2.5);
  for (const T range : {T(1e-6), T(0.5), T(30)})
    CHECK(max_ulp(random_points<T>(-range, range), scalar<T>([](Vec<T> x) { return test_isa::tanh<T>(x); }),
                  [](long double x) { return std::tanh(x); }) < 3.5);
  for (const T range : {T(1e-6), T(0.5), T(3), T(80)}) {
    const std::vector<T> points = random_points<T>(-range, range);
    CHECK(max_ulp(points, scalar<T>([](Vec<T> x) { return test_isa::expm1<T>(x); }), [](long double x) { return std::expm1(x); }) < 2.5);
    CHECK(max_ulp(points, scalar<T>([](Vec<T> x) { return test_isa::erf<T>(x); }), [](long double x) { return std::erf(x); }) < 4);
    const auto log1p_of = scalar<T>([](Vec<T> x) { return test_isa::log1p<T>(x); });
    CHECK(max_ulp(random_points<T>(std::max(-range, T(-0.999)), range), log1p_of, [](long double x) { return std::log1p(x); }) < 3);
  }
  CHECK(max_ulp(positive_points<T>(), scalar<T>([](Vec<T> x) { return test_isa::log1p<T>(x); }),
                [](long double x) { return std::log1p(x); }) < 3);
  for (const T range : {T(1e-3), T(4), T(1000), T(65536), T(1e7)}) {
    const std::vector<T> points = random_points<T>(-range, range);
    CHECK(max_ulp(points, scalar<T>([](Vec<T> x) { return test_isa::sin<T>(x); }), [](long double x) { return std::sin(x); }) < (sizeof(T) == 4 ? 1.6 : 1.2));
    CHECK(max_ulp(points, scalar<T>([](Vec<T> x) { return test_isa::cos<T>(x); }), [](long double x) { return std::cos(x); }) < (sizeof(T) == 4 ? 1.6 : 1.2));
  }
  // Near multiples of pi/2.
  for (int n = 1; n < 30000; n += 7) {
    const T x = static_cast<T>(n * std::acos(0.0L));
    const std::vector<T> points{x, std::nextafter(x, T(0)), std::nextafter(x, 2 * x), -x};
    CHECK(max_ulp(points, scalar<T>([](Vec<T> v) { return test_isa::sin<T>(v); }), [](long double v) { return std::sin(v); }) < (sizeof(T) == 4 ? 1.6 : 1.2));
    CHECK(max_ulp(points, scalar<T>([](Vec<T> v) { return test_isa::cos<T>(v); }), [](long double v) { return std::cos(v); }) < (sizeof(T) == 4 ? 1.6 : 1.2));
  }
  const auto cdf = scalar<T>([](Vec<T> x) { return normal_cdf<T>(x); });
  const auto exact_cdf = [](long double x) { return std::erfc(-x / std::sqrt(2.0L)) / 2; };
  if (sizeof(T) == 8) CHECK(max_ulp(random_points<T>(T(-12), T(12)), cdf, exact_cdf) < 6);
  for (const T x : random_points<T>(T(-12), T(12))) CHECK(std::abs(cdf(x) - exact_cdf(x)) < 2.5 * std::numeric_limits<T>::epsilon());

  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  CHECK(exp_of(infinity) == infinity && exp_of(-infinity) == 0 && std::isnan(exp_of(nan)) && exp_of(0) == 1);
  CHECK(exp_of(highest + 1000) == infinity && exp_of(lowest - 1000) == 0);
  CHECK(log_of(0) == -infinity && log_of(infinity) == infinity && log_of(1) == 0);
  CHECK(std::isnan(log_of(-1)) && std::isnan(log_of(-infinity)) && std::isnan(log_of(nan)));
}

template <class T, class Kernels>
void check_activations(const Kernels& kernels) {
  const auto call = [&](Activation activation) {
    return [&kernels, activation](T x) {
      T y;
      kernels.apply(activation.kind, &x, &y, 1, T(activation.a), T(activation.b));
      return y;
    };
  };
  const auto logistic = [](long double x) { return 1 / (1 + std::exp(-x)); };
  const std::vector<T> points = random_points<T>(T(-12), T(12), 50000);
  CHECK(max_ulp(points, call(Activation::sigmoid), logistic) < 3);
  CHECK(max_ulp(points, call(Activation::silu), [&](long double x) { return x * logistic(x); }) < 3);
  CHECK(max_ulp(points, call(Activation::tanh), [](long double x) { return std::tanh(x); }) < 3.5);
  const auto mish = [](long double x) { return x * std::tanh(std::log1p(std::exp(x))); };
  CHECK(max_ulp(points, call(Activation::mish), mish) < 6);
  const auto gelu_tanh = [&](long double x) {
    return x * logistic(2 * std::sqrt(2 / std::acos(-1.0L)) * (x + 0.044715L * x * x * x));
  };
  CHECK(max_ulp(random_points<T>(T(-1), T(12), 50000), call(Activation::gelu_tanh), gelu_tanh) < 4);
  CHECK(max_ulp(points, call(Activation::gelu_tanh), gelu_tanh, T(0.1)) < 8);  // exp magnifies its argument's error

  // Of all magnitudes and both signs. Where exp overflows, results are zero instead of |x| times a
  // subnormal number.
  std::vector<T> all = random_points<T>(T(-1), T(1), 50000);
  for (const T x : positive_points<T>(20000)) all.insert(all.end(), {x, -x});
  const T least = std::ldexp(std::numeric_limits<T>::min(), std::numeric_limits<T>::digits + 12);
  const auto clamp6 = [](long double x) { return std::min(std::max(x + 3, 0.0L), 6.0L) / 6; };
  CHECK(max_ulp(all, call(Activation::leaky_relu), [](long double x) { return x > 0 ? x : x * T(0.01); }) <= 0.5);
  CHECK(max_ulp(all, call(Activation::hardsigmoid), clamp6) < 2);
  CHECK(max_ulp(all, call(Activation::hardswish), [&](long double x) { return x * clamp6(x); }) < 2.5);
  CHECK(max_ulp(all, call(Activation::sigmoid), logistic, least) < 3);
  CHECK(max_ulp(all, call(Activation::silu), [&](long double x) { return x * logistic(x); }, least) < 3);
  CHECK(max_ulp(all, call(Activation::mish), mish, least) < 6);
  CHECK(max_ulp(all, call(Activation::tanh), [](long double x) { return std::tanh(x); }) < 3.5);
  for (const std::vector<T>& some : {points, all})
    for (const T x : some) {
      const long double error = call(Activation::gelu)(x) - x * std::erfc(-x / std::sqrt(2.0L)) / 2;
      CHECK(std::abs(error) <= 2.5 * std::numeric_limits<T>::epsilon() * std::abs(x) + std::numeric_limits<T>::denorm_min());
    }
  CHECK(max_ulp(all, call(Activation::gelu_tanh), gelu_tanh, T(0.1)) < 8);

  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T largest = std::numeric_limits<T>::max(), smallest = std::numeric_limits<T>::denorm_min();
  for (const Activation a : {Activation::gelu, Activation::gelu_tanh, Activation::silu, Activation::hardswish, Activation::mish}) {
    CHECK(call(a)(infinity) == infinity && std::isnan(call(a)(-infinity)) && std::isnan(call(a)(nan)));
    CHECK(call(a)(largest) == largest && call(a)(-largest) == 0 && call(a)(0) == 0);
    CHECK(std::fabs(call(a)(smallest)) <= smallest && std::fabs(call(a)(-smallest)) <= smallest);
  }
  for (const Activation a : {Activation::sigmoid, Activation::hardsigmoid})
    CHECK(call(a)(infinity) == 1 && call(a)(-infinity) == 0 && call(a)(0) == T(0.5) && std::isnan(call(a)(nan)));
  const auto tanh = call(Activation::tanh);
  CHECK(tanh(infinity) == 1 && tanh(-infinity) == -1 && std::isnan(tanh(nan)) && std::signbit(tanh(T(-0.0))));
  CHECK(tanh(smallest) == smallest && tanh(-smallest) == -smallest);

  const auto clip = call({Activation::clip, -1, 2}), crossed = call({Activation::clip, 2, -1}), zero = call({Activation::clip, 0, 1});
  CHECK(clip(T(-1.5)) == -1 && clip(T(0.5)) == T(0.5) && clip(infinity) == 2 && clip(-infinity) == -1 && std::isnan(clip(nan)));
  CHECK(crossed(0) == -1 && crossed(infinity) == -1 && std::isnan(crossed(nan)) && !std::signbit(zero(T(-0.0))));
  const auto turned = call({Activation::leaky_relu, -2}), endless = call({Activation::leaky_relu, std::numeric_limits<double>::infinity()});
  CHECK(turned(-3) == 6 && turned(3) == 3 && endless(0) == 0 && endless(-1) == -infinity && std::isnan(turned(nan)));

  // Pixels of any number of channels; what lies behind them stays.
  for (const index_t channels : {1, 3, 8, 19, 37}) {
    const index_t pixels = 3;
    std::vector<T> x(points.begin(), points.begin() + pixels * channels), slopes(points.end() - channels, points.end());
    std::vector<T> y = x;
    y.push_back(T(77));
    kernels.prelu(y.data(), pixels, channels, slopes.data());
    CHECK(y.back() == T(77));
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(y[i] == (x[i] < 0 ? x[i] * slopes[i % slopes.size()] : x[i]));
  }

  // Every length, in place and not, gives what single elements give.
  for (int length = 0; length < 70; ++length) {
    std::vector<T> x(points.begin(), points.begin() + length), y(length + 1, T(77));
    kernels.apply(Activation::gelu, x.data(), y.data(), length, T(0), T(0));
    CHECK(y[length] == T(77));
    for (int i = 0; i < length; ++i) CHECK(y[i] == call(Activation::gelu)(x[i]));
    kernels.apply(Activation::gelu, x.data(), x.data(), length, T(0), T(0));
    y.pop_back();
    CHECK(x == y);
  }
}

}  // namespace

TEST(vector_math_is_accurate) {
  check_functions<float>();
  check_functions<double>();
}

TEST(activations_are_accurate_on_every_isa) {
  check_activations<float>(baseline::activation_kernels<float>());
  check_activations<double>(baseline::activation_kernels<double>());
#ifdef FASTCONV_X86_ISAS
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::avx2) {
      check_activations<float>(avx2::activation_kernels<float>());
      check_activations<double>(avx2::activation_kernels<double>());
    }
    if (isa == Isa::avx512) {
      check_activations<float>(avx512::activation_kernels<float>());
      check_activations<double>(avx512::activation_kernels<double>());
    }
  }
#endif
}
