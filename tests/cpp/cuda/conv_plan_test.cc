// Of CUDA convolutions, what runs on the host: index arithmetic, conversions, the choice of
// kernels, packed weights.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "cuda/conv.h"
#include "cuda/conv_gemm.h"
#include "cuda/float_bits.h"
#include "cuda/kernels/conv_index.h"
#include "cuda/tensor_map.h"
#include "random.h"
#include "test.h"

using namespace fastconv;
using namespace fastconv::cuda;

namespace {

ConvGeometry square(index_t in, index_t out, index_t size, index_t kernel, index_t stride = 1, index_t groups = 1) {
  const Padding padding{Padding::Mode::explicit_sizes, kernel / 2, kernel / 2, kernel / 2, kernel / 2};
  return conv_geometry({1, in, size, size}, {out, in / groups, kernel, kernel}, {stride, stride}, padding, {1, 1}, groups);
}

// Value of IEEE-like bits with `mantissa` bits of fraction and `exponent` bits of exponent, in
// double.
double value_of(std::uint16_t bits, int exponent, int mantissa) {
  const int e = bits >> mantissa & ((1 << exponent) - 1), bias = (1 << (exponent - 1)) - 1, f = bits & ((1 << mantissa) - 1);
  const double size = e ? std::ldexp(1.0 + std::ldexp(f, -mantissa), e - bias) : std::ldexp(f, 1 - bias - mantissa);
  return bits & 0x8000 ? -size : size;
}

// Every value of a 16-bit format, the middle between each two neighbours and the floats beside it.
template <class Round>
void check_rounding(Round round, int exponent, int mantissa) {
  const int infinity = ((1 << exponent) - 1) << mantissa;
  for (int sign = 0; sign <= 0x8000; sign += 0x8000)
    for (int bits = 0; bits < infinity; ++bits) {
      const auto a = static_cast<std::uint16_t>(sign | bits), b = static_cast<std::uint16_t>(sign | (bits + 1));
      const double low = value_of(a, exponent, mantissa);
      const double high = bits + 1 == infinity ? 2 * low - value_of(static_cast<std::uint16_t>(a - 1), exponent, mantissa)
                                               : value_of(b, exponent, mantissa);
      const float exact = static_cast<float>(low), middle = static_cast<float>((low + high) / 2);
      CHECK(round(exact) == a);
      if (!std::isfinite(middle) || middle != (low + high) / 2) continue;  // finer than float
      CHECK(round(middle) == (bits % 2 ? b : a));
      CHECK(round(std::nextafter(middle, static_cast<float>(low))) == a);
      CHECK(round(std::nextafter(middle, sign ? -INFINITY : INFINITY)) == b);
    }
  CHECK(round(INFINITY) == infinity && round(-INFINITY) == (0x8000 | infinity));
  CHECK((round(std::numeric_limits<float>::quiet_NaN()) & 0x7fff) > infinity);
  CHECK((round(std::bit_cast<float>(0x7f800001u)) & 0x7fff) > infinity);
}

}  // namespace

TEST(conv_float_bits) {
  check_rounding(to_fp16_bits, 5, 10);
  check_rounding(to_bf16_bits, 8, 7);
  CHECK(to_fp16_bits(1e6f) == 0x7c00 && to_fp16_bits(1e-9f) == 0 && to_fp16_bits(-1e-9f) == 0x8000);
  for (const float x : {1.f, 3.f, 1e-30f, 1e30f})
    for (int step = 0; step < 4; ++step) {
      const float unit = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0xff800000u) / 1024;
      const float low = round_to_tf32(x) + static_cast<float>(step) * unit;
      CHECK(round_to_tf32(low) == low);
      CHECK(round_to_tf32(low + unit / 2) == low + unit);  // ties away from zero
      CHECK(round_to_tf32(-low - unit / 2) == -low - unit);
      CHECK(round_to_tf32(std::nextafter(low + unit / 2, 0.f)) == low);
    }
  CHECK(std::isinf(round_to_tf32(INFINITY)) && std::isnan(round_to_tf32(std::bit_cast<float>(0x7fffffffu))));
  // High and low parts leave an error of at most 2^-23.
  Random random(1);
  for (int i = 0; i < 100000; ++i) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(0x3f800000 + random.below(1 << 23)));
    const float high = round_to_tf32(x), low = round_to_tf32(x - high);
    CHECK(std::abs(double(x) - high - low) <= std::ldexp(x, -23));
  }
}

TEST(conv_fast_divide) {
  Random random(2);
  constexpr int kMax = std::numeric_limits<int>::max();
  std::vector<int> divisors{1, 2, 3, 5, 7, 31, 32, 33, 640, 641, 65535, 65537, 1 << 30, kMax - 1, kMax};
  for (int i = 0; i < 200; ++i) divisors.push_back(1 + static_cast<int>(random.below(random.coin() ? 5000 : kMax)));
  for (const int divisor : divisors) {
    const FastDivide by(divisor);
    std::vector<int> values{0, 1, divisor - 1, divisor, kMax, kMax - 1, kMax / divisor * divisor, kMax / divisor * divisor - 1};
    for (int i = 0; i < 500; ++i) values.push_back(static_cast<int>(random.below(kMax)));
    for (const int n : values) {
      CHECK(by.quotient(n) == n / divisor);
      CHECK(by.quotient(static_cast<std::uint32_t>(n)) == static_cast<std::uint32_t>(n / divisor));
      CHECK(by.remainder(n, by.quotient(n)) == n % divisor);
    }
  }
}

TEST(conv_index) {
  for (int tiles = 0; tiles < 40; ++tiles)
    for (int parts = 1; parts < 12; ++parts) {
      int end = 0;
      for (int part = 0; part < parts; ++part) {
        const TileRange range = part_range(tiles, parts, part);
        CHECK(range.begin == end && range.end - range.begin >= tiles / parts && range.end - range.begin <= tiles / parts + 1);
        end = range.end;
      }
      CHECK(end == tiles);
    }
  ConvIndex index;
  index.tiles_m = FastDivide(5);
  index.tiles_n = FastDivide(3);
  index.groups = FastDivide(7);
  index.channels = FastDivide(3);
  index.kernel_w = FastDivide(7);
  index.dilation_h = 2;
  index.dilation_w = 3;
  index.out_w = FastDivide(6);
  index.out_pixels = FastDivide(6 * 4);
  unsigned block = 0;
  for (int part = 0; part < 2; ++part)
    for (int group = 0; group < 7; ++group)
      for (int m = 0; m < 5; ++m)
        for (int n = 0; n < 3; ++n) {
          const BlockTile tile = index.block_tile(block++);
          CHECK(tile.part == part && tile.group == group && tile.m == m && tile.n == n);
        }
  for (int step = 0, h = 0; h < 5; ++h)
    for (int w = 0; w < 7; ++w)
      for (int channel = 0; channel < 3; ++channel) {
        const Tap tap = index.tap(step++);
        CHECK(tap.h == 2 * h && tap.w == 3 * w && tap.channel == channel);
      }
  for (int row = 0, n = 0; n < 3; ++n)
    for (int h = 0; h < 4; ++h)
      for (int w = 0; w < 6; ++w) {
        const Pixel pixel = index.pixel(row++);
        CHECK(pixel.n == n && pixel.h == h && pixel.w == w);
      }
  // Eight rows of one chunk: all 32 banks; and every chunk of a tile has a place of its own.
  std::set<int> places;
  for (int row = 0; row < 64; ++row)
    for (int chunk = 0; chunk < kRowChunks; ++chunk) places.insert(chunk_offset(row, chunk));
  CHECK(places.size() == 64 * kRowChunks && *places.rbegin() == 63 * kRowBytes + 3 * kChunkBytes);
  for (int row = 0; row < 64; row += 4)  // the FFMA kernel's four rows, ldmatrix's eight
    for (int chunk = 0; chunk < kRowChunks; ++chunk) {
      std::set<int> banks;
      for (int i = 0; i < 8; ++i) banks.insert(chunk_offset((row & ~7) + i, chunk) % 128);
      CHECK(banks.size() == 8);
    }
}

TEST(conv_plan) {
  const Limits limits;
  const auto plan = [&](const ConvGeometry& g, Precision precision = Precision::fp32, index_t batch = 1) {
    return plan_conv(g, batch, precision, limits);
  };
  CHECK(plan(square(64, 64, 56, 1)).algorithm == ConvAlgorithm::implicit_gemm);
  CHECK(plan(square(64, 64, 56, 1)).split_tf32 && plan(square(64, 64, 56, 1)).error_class == "3xtf32");
  CHECK(!plan(square(3, 64, 224, 7, 2)).split_tf32 && plan(square(3, 64, 224, 7, 2)).error_class == "exact");
  CHECK(plan(square(32, 32, 56, 3, 1, 32)).algorithm == ConvAlgorithm::depthwise);
  CHECK(plan(square(128, 128, 28, 3)).algorithm == ConvAlgorithm::winograd4);
  CHECK(plan(square(128, 128, 28, 3), Precision::tf32).algorithm == ConvAlgorithm::implicit_gemm);
  CHECK(plan(square(512, 512, 7, 3)).algorithm == ConvAlgorithm::implicit_gemm);
  CHECK_THROWS(plan_conv(square(8, 8, 9, 5), 1, Precision::fp32, limits, ConvAlgorithm::winograd4), std::invalid_argument);
  CHECK_THROWS(plan_conv(square(8, 8, 9, 5), 1, Precision::fp32, limits, ConvAlgorithm::depthwise), std::invalid_argument);
  ConvGeometry huge = square(8, 8, 9, 1);
  huge.in_h = huge.out_h = index_t{1} << 31;
  CHECK_THROWS(plan(huge), std::invalid_argument);

  // 256 channels at 14x14: too few blocks without split-K.
  const cuda::ConvPlan small = plan(square(256, 256, 14, 3), Precision::tf32);
  CHECK(small.split_k > 1 && small.workspace_bytes == std::size_t(small.split_k) * 14 * 14 * 256 * 4);
  CHECK(plan(square(256, 256, 14, 3), Precision::tf32, 64).split_k == 1);

  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16})
    for (const ConvGeometry& g : {square(3, 64, 56, 7, 2), square(64, 64, 56, 3), square(128, 160, 28, 3), square(32, 32, 9, 3, 1, 8),
                                  square(24, 24, 9, 3, 1, 24), square(17, 5, 9, 1)}) {
      const auto infos = conv_algorithms(g, 1, precision, limits);
      const cuda::ConvPlan one = plan(g, precision), many = plan(g, precision, 37);
      CHECK(infos.size() == std::size(kConvAlgorithms) && infos[0].available && infos[0].algorithm == one.algorithm && !one.reason.empty());
      CHECK(infos[0].error_class == one.error_class && infos[0].workspace_bytes == one.workspace_bytes);
      CHECK(std::is_sorted(infos.begin(), infos.end(), [](const auto& a, const auto& b) { return a.available > b.available; }));
      for (const auto& info : infos) CHECK(parse_algorithm(algorithm_name(info.algorithm)) == info.algorithm);
      Random random(3);
      const auto weight = random.integers<float>(g.out_channels * g.group_in() * g.taps());
      const auto packed = pack_weights(one, weight.data(), nullptr);
      CHECK(packed.size() == one.packed_bytes && packed == pack_weights(many, weight.data(), nullptr));
      const std::vector<double> scale(static_cast<std::size_t>(g.out_channels), 2.0);
      auto doubled = weight;
      for (float& w : doubled) w *= 2;
      CHECK(pack_weights(one, weight.data(), scale.data()) == pack_weights(one, doubled.data(), nullptr));
    }
  CHECK(!parse_algorithm("im2col"));
  const cuda::ConvPlan empty = plan(square(8, 8, 9, 3), Precision::fp16, 0);
  CHECK(empty.split_k == 1 && empty.workspace_bytes == 0);
}

TEST(conv_plan_wgmma) {
  Limits limits;
  limits.major = 9;
  limits.wgmma = true;
  limits.multiprocessors = 132;
  const auto chosen = [&](const ConvGeometry& g, Precision precision, index_t batch) {
    return plan_conv(g, batch, precision, limits).algorithm == ConvAlgorithm::wgmma;
  };
  const auto refused = [&](const ConvGeometry& g, Precision precision, const char* why) {
    for (const auto& info : conv_algorithms(g, 32, precision, limits))
      if (info.algorithm == ConvAlgorithm::wgmma) return !info.available && info.reason.find(why) != std::string::npos;
    return false;
  };
  const ConvGeometry layer = square(64, 64, 56, 3);
  for (const Precision precision : {Precision::tf32, Precision::fp16, Precision::bf16}) {
    CHECK(chosen(layer, precision, 32) && !chosen(layer, precision, 1));
    const cuda::ConvPlan large = plan_conv(layer, 32, precision, limits), small = plan_conv(layer, 1, precision, limits);
    CHECK(large.split_k == 1 && large.workspace_bytes == 0 && kWgmmaTiles[large.tile].n == 64);
    // One set of weights serves both, and devices without wgmma.
    Random random(4);
    const auto weight = random.integers<float>(64 * 64 * 9);
    CHECK(packed_layout(large) == packed_layout(small) && pack_weights(large, weight.data(), nullptr) == pack_weights(small, weight.data(), nullptr));
    CHECK(kWgmmaTiles[plan_conv(square(256, 512, 28, 1), 32, precision, limits).tile].n == 128);
    CHECK(!chosen(square(precision == Precision::tf32 ? 16 : 32, 64, 56, 3), precision, 32));  // half of each 128 bytes
    CHECK(!chosen(square(64, 24, 56, 3), precision, 32));
    CHECK(plan_conv(layer, 0, precision, limits, ConvAlgorithm::wgmma).algorithm == ConvAlgorithm::wgmma);
  }
  CHECK(chosen(square(128, 32, 112, 1), Precision::fp16, 32) == false && chosen(square(96, 128, 28, 3, 2), Precision::fp16, 128));
  CHECK(refused(layer, Precision::fp32, "precision tf32, fp16 and bf16"));
  CHECK(refused(square(64, 64, 56, 3, 1, 2), Precision::fp16, "groups == 1"));
  CHECK(refused(square(68, 64, 56, 3), Precision::fp16, "multiple of 16 bytes") && !refused(square(68, 64, 56, 3), Precision::tf32, "16 bytes"));
  CHECK(refused(square(64, 64, 56, 3, 9), Precision::fp16, "strides of at most 8"));
  limits.wgmma = false;
  CHECK(refused(layer, Precision::fp16, "compute capability 9.0") && !chosen(layer, Precision::fp16, 32));
  CHECK_THROWS(plan_conv(layer, 32, Precision::fp16, limits, ConvAlgorithm::wgmma), std::invalid_argument);
}

TEST(conv_im2col_box) {
  const Im2colBox same = im2col_box(square(8, 8, 56, 3)), strided = im2col_box(square(8, 8, 224, 7, 2));
  CHECK(same.lower[0] == -1 && same.lower[1] == -1 && same.upper[0] == -1 && same.upper[1] == -1);
  CHECK(strided.lower[0] == -3 && strided.upper[0] == -4);  // from -3 to 219, the last pixel is 223
  const auto limit = [](index_t size, index_t kernel, index_t padding, index_t dilation) {
    const ConvGeometry g = conv_geometry({1, 8, 5, size}, {8, 8, 1, kernel}, {1, 1}, {Padding::Mode::explicit_sizes, 0, 0, padding, padding},
                                         {1, dilation}, 1);
    const char* why = im2col_limit(g, 2);
    return std::string(why ? why : "");
  };
  CHECK(limit(300, 257, 128, 1).find("256 rows and columns") != std::string::npos && limit(300, 256, 128, 1) == "");
  CHECK(limit(300, 2, 0, 129).find("128 pixels") != std::string::npos && limit(300, 2, 0, 128) == "");
  CHECK(limit(9, 200, 129, 1).find("128 pixels") != std::string::npos && limit(9, 200, 128, 1) == "");
}

TEST(conv_combined_groups) {
  CHECK(combined_groups(square(128, 128, 9, 3, 1, 32)) == 8);
  CHECK(combined_groups(square(128, 64, 9, 3, 1, 2)) == 1);
  CHECK(combined_groups(square(21, 21, 9, 3, 1, 7)) == 7);
  CHECK(combined_groups(square(64, 64, 9, 3)) == 1);
}
