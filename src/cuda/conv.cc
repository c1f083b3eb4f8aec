// Which kernel computes a convolution, in which tiles, and why. The layout of the weights depends
// on the shape of one image alone, so that weights serve any batch; tiles, parts of the sum and the
// choice of wgmma depend on the batch as well. All of it is predicted from counts of operations and
// bytes; nothing was timed.
#include "cuda/conv.h"

#include <algorithm>
#include <cmath>

#include "conv/transpose.h"
#include "cuda/conv_gemm.h"
#include "cuda/tensor_map.h"
#include "fastconv/error.h"

namespace fastconv::cuda {
namespace {

constexpr const char* kAlgorithmNames[] = {"implicit_gemm", "depthwise", "winograd4", "wgmma"};
constexpr const char* kPrecisionNames[] = {"fp32", "tf32", "fp16", "bf16"};
constexpr index_t kLargest = index_t{1} << 30;

// Sums that are longer leave the bound of float32 with 3xTF32 on data of one sign
// (docs/accuracy.md).
constexpr index_t kLongestSplitSum = 4608;
constexpr std::size_t kWinogradWorkspace = std::size_t{256} << 20;  // of several images together
constexpr std::size_t kWinogradLargest = std::size_t{1} << 30;      // of one image

struct Verdict {
  bool available;
  double rank;  // the highest is chosen
  std::string reason;
};

index_t winograd_tiles(const ConvGeometry& g) { return ceil_div(g.out_h, kWinogradTile) * ceil_div(g.out_w, kWinogradTile); }
// Transformed input and output of one image.
std::size_t winograd_image_bytes(const ConvGeometry& g) {
  return static_cast<std::size_t>(kWinogradPositions * winograd_tiles(g) * (g.in_channels + g.out_channels)) * sizeof(float);
}

// fp32 from three TF32 products: tensor cores have at least 7.4 times the TF32 rate of FFMA (H200;
// A100: 8), so that three products each still take half the time, where tiles are filled.
bool wants_split_tf32(const ConvGeometry& g) {
  const index_t combined = combined_groups(g), channels = combined * g.group_in(), k = channels * g.taps();
  return channels % 4 == 0 && k >= 64 && k <= kLongestSplitSum && combined * g.group_out() >= 32;
}

// What decides between wgmma and mma.sync, to be corrected when both have been timed: on Hopper
// mma.sync reaches about 5/8 of wgmma's rate (Luo et al. 2024, "Benchmarking and dissecting the
// Nvidia Hopper GPU architecture via microbenchmarking").
constexpr double kMmaOfWgmma = 5 / 8.;

struct WgmmaTiling {
  int tile = 0;
  index_t blocks = 0;
  double filled = 0;  // of a block's products, those that are asked for
};
WgmmaTiling choose_wgmma_tiling(const ConvGeometry& g, index_t batch, int element_bytes, const Limits& limits) {
  const index_t elements = kSwizzleBytes / element_bytes, rows = batch * g.out_h * g.out_w;
  WgmmaTiling best;
  double least = 0;
  for (int t = 0; t < static_cast<int>(std::size(kWgmmaTiles)); ++t) {
    const GemmTile& tile = kWgmmaTiles[t];
    const index_t across = ceil_div(g.out_channels, tile.n), blocks = ceil_div(rows, tile.m) * across;
    const double clocks = static_cast<double>(ceil_div(blocks, limits.multiprocessors) * tile.n) / tile.efficiency;
    if (t > 0 && clocks >= least) continue;
    least = clocks;
    best = {t, blocks,
            static_cast<double>(g.in_channels * g.out_channels) /
                static_cast<double>(ceil_div(g.in_channels, elements) * elements * across * tile.n)};
  }
  return best;
}

Verdict judge_wgmma(const ConvGeometry& g, index_t batch, Precision precision, const Limits& limits) {
  if (!limits.wgmma) return {false, 0, "needs a device of compute capability 9.0, and a build for it (90a)"};
  if (precision == Precision::fp32) return {false, 0, "is for precision tf32, fp16 and bf16"};
  const int element_bytes = precision == Precision::tf32 ? 4 : 2;
  if (const char* limit = im2col_limit(g, element_bytes)) return {false, 0, limit};
  const WgmmaTiling tiling = choose_wgmma_tiling(g, batch, element_bytes, limits);
  if (tiling.blocks < limits.multiprocessors) return {true, 0, "too few tiles to fill the device (predicted)"};
  if (tiling.filled <= kMmaOfWgmma) return {true, 0, "too few channels to fill its tiles (predicted)"};
  return {true, 2, "TMA and wgmma, with tiles for all multiprocessors (predicted)"};
}

Verdict judge(const ConvGeometry& g, index_t batch, Precision precision, const Limits& limits, ConvAlgorithm algorithm, Accuracy accuracy) {
  switch (algorithm) {
    case ConvAlgorithm::implicit_gemm: return {true, 1, "serves any convolution"};
    case ConvAlgorithm::depthwise:
      if (g.groups != g.in_channels) return {false, 0, "needs groups == in_channels"};
      if (g.groups == 1) return {true, 0, "one channel only: nothing to share between the channels of a block"};
      return {true, 3, "each output channel reads one input channel: bound by memory"};
    case ConvAlgorithm::wgmma: return judge_wgmma(g, batch, precision, limits);
    case ConvAlgorithm::winograd4: break;
  }
  if (accuracy == Accuracy::exact) return {false, 0, "rounds more than accuracy='exact' allows"};
  if (precision != Precision::fp32) return {false, 0, "is for precision fp32 only: tensor cores do without"};
  if (g.kernel_h != 3 || g.kernel_w != 3) return {false, 0, "needs a 3x3 kernel"};
  if (g.stride_h != 1 || g.stride_w != 1) return {false, 0, "needs stride 1"};
  if (g.dilation_h != 1 || g.dilation_w != 1) return {false, 0, "needs dilation 1"};
  if (g.groups != 1) return {false, 0, "needs groups == 1"};
  if (winograd_image_bytes(g) > kWinogradLargest) return {false, 0, "its transformed image would pass 1 GiB"};
  // A quarter of the products, in FFMA, but 36 / 16 floats written and read for each input and
  // output: with 7 FFMA in the time of a byte (H200, from memory) that is 2.25 C + 250 against 9 C,
  // or 4.5 C where 3xTF32 serves.
  const index_t channels = std::min(g.in_channels, g.out_channels), enough = wants_split_tf32(g) ? 128 : 64;
  if (channels < enough) return {true, 0, "too few channels to pay for the transforms (predicted)"};
  if (winograd_tiles(g) < 49) return {true, 0, "too few tiles to fill its products (predicted)"};
  return {true, 2, "a quarter of the products, with enough channels and tiles to pay for the transforms (predicted)"};
}

const char* error_class(Precision precision, ConvAlgorithm algorithm, bool split) {
  if (precision != Precision::fp32) return kPrecisionNames[static_cast<int>(precision)];
  return algorithm == ConvAlgorithm::winograd4 ? "winograd4" : split ? "3xtf32" : "exact";
}

std::string tile_words(const GemmTile& tile) { return "; tiles of " + std::to_string(tile.m) + "x" + std::to_string(tile.n); }

struct Tiling {
  int tile = 0, split_k = 1;
  double clocks = 0;  // predicted
};

// Predicted clocks of the multiprocessor that gets most blocks. `may_split`: the sum may be
// divided.
Tiling choose_tiling(const GemmShape& shape, index_t rows, bool may_split, const Limits& limits) {
  const double rate = !shape.tensor_cores ? 128 : shape.element_bytes == 2 ? 1024 : shape.planes == 2 ? 512 / 3. : 512;
  const index_t elements = 64 / shape.element_bytes, k_tiles = shape.k_padded / elements;
  const bool narrow = shape.channels * shape.element_bytes % 16 != 0;
  Tiling best;
  for (int t = 0; t < kTiles; ++t) {
    if ((narrow && t != kNarrowTile) || (shape.planes == 2 && t == 0)) continue;
    const GemmTile& tile = (shape.tensor_cores ? kMmaTiles : kFp32Tiles)[t];
    const index_t blocks = ceil_div(rows, tile.m) * ceil_div(shape.n, tile.n) * shape.groups;
    // Two blocks for each multiprocessor, but at least four tiles of the sum for each block.
    const index_t enough = ceil_div(2 * limits.multiprocessors, blocks);
    const index_t most = may_split ? std::clamp<index_t>(std::min(enough, k_tiles / 4), 1, 32) : 1;
    for (const index_t parts : {index_t{1}, most}) {
      const double busiest = static_cast<double>(ceil_div(blocks * parts, limits.multiprocessors));
      const double steps = static_cast<double>(ceil_div(k_tiles, parts) * elements);
      // A lone block hides less of its latency; starting and storing cost a block about as much as
      // 64 steps of FFMA.
      const double filled = std::min(1.0, 0.6 + 0.4 * busiest / std::max(2, tile.resident));
      double clocks = busiest * tile.m * tile.n * (steps / (rate * tile.efficiency * filled) + 0.5);
      // Writing and reading parts at about 32 bytes a clock and multiprocessor, and another launch.
      if (parts > 1)
        clocks += 8.0 * static_cast<double>(parts * rows * shape.n * shape.groups) / (32.0 * limits.multiprocessors) + 1500;
      if (best.clocks == 0 || clocks < best.clocks) best = {t, static_cast<int>(parts), clocks};
    }
  }
  return best;
}

}  // namespace

const char* algorithm_name(ConvAlgorithm algorithm) { return kAlgorithmNames[static_cast<int>(algorithm)]; }

std::optional<ConvAlgorithm> parse_algorithm(const std::string& name) {
  for (int i = 0; i < static_cast<int>(std::size(kAlgorithmNames)); ++i)
    if (name == kAlgorithmNames[i]) return static_cast<ConvAlgorithm>(i);
  return std::nullopt;
}

ConvGeometry checked_geometry(const ConvGeometry& geometry) {
  ConvGeometry g = geometry;
  if (g.out_h == 1) g.stride_h = 1;
  if (g.out_w == 1) g.stride_w = 1;
  if (g.kernel_h == 1) g.dilation_h = 1;
  if (g.kernel_w == 1) g.dilation_w = 1;
  // The windows of all outputs lie within the padded image.
  const index_t sizes[] = {g.in_channels * g.taps(),
                           g.out_channels,
                           g.in_h,
                           g.in_w,
                           std::abs(g.pad_top),
                           std::abs(g.pad_left),
                           g.in_h + std::abs(g.pad_top) + std::abs(g.pad_bottom),
                           g.in_w + std::abs(g.pad_left) + std::abs(g.pad_right),
                           g.out_h * g.out_w};
  for (const index_t size : sizes)
    if (size >= kLargest) fail("a convolution on a CUDA device needs sizes below 2**30, but one is ", size);
  return g;
}

index_t combined_groups(const ConvGeometry& g) {
  index_t best = 1;
  for (index_t combined = 2; combined <= g.groups && combined * std::max(g.group_in(), g.group_out()) <= 32; ++combined)
    if (g.groups % combined == 0) best = combined;
  return best;
}

GemmShape gemm_shape(const ConvPlan& plan) {
  const ConvGeometry& g = plan.geometry;
  GemmShape shape{};
  shape.tensor_cores = plan.precision != Precision::fp32 || plan.split_tf32;
  shape.element_bytes = plan.precision == Precision::fp16 || plan.precision == Precision::bf16 ? 2 : 4;
  shape.planes = plan.split_tf32 ? 2 : 1;
  const bool winograd = plan.algorithm == ConvAlgorithm::winograd4;
  const index_t combined = combined_groups(g);
  shape.groups = winograd ? kWinogradPositions : g.groups / combined;
  shape.channels = winograd ? g.in_channels : combined * g.group_in();
  shape.n = combined * g.group_out();
  shape.k = shape.channels * (winograd ? 1 : g.taps());
  const index_t elements = 64 / shape.element_bytes;
  shape.k_padded = ceil_div(shape.k, elements) * elements;
  shape.n_padded = shape.tensor_cores ? shape.n : ceil_div(shape.n, 4) * 4;
  return shape;
}

index_t winograd_images(const ConvPlan& plan) {
  const std::size_t image = winograd_image_bytes(plan.geometry);
  return std::clamp<index_t>(static_cast<index_t>(kWinogradWorkspace / std::max<std::size_t>(image, 1)), 1, std::max<index_t>(plan.batch, 1));
}

ConvPlan plan_conv(const ConvGeometry& geometry, index_t batch, Precision precision, const Limits& limits,
                   std::optional<ConvAlgorithm> wanted, Accuracy accuracy) {
  ConvPlan plan;
  plan.geometry = checked_geometry(geometry);
  plan.batch = batch;
  plan.precision = precision;
  const ConvGeometry& g = plan.geometry;
  Verdict verdict = judge(g, batch, precision, limits, ConvAlgorithm::implicit_gemm, accuracy);
  if (wanted) {
    verdict = judge(g, batch, precision, limits, *wanted, accuracy);
    if (!verdict.available) fail("algorithm '", algorithm_name(*wanted), "' cannot serve this convolution on a CUDA device: ", verdict.reason);
    plan.algorithm = *wanted;
    verdict.reason = "asked for";
  } else {
    for (const ConvAlgorithm algorithm : kConvAlgorithms) {
      const Verdict other = judge(g, batch, precision, limits, algorithm, accuracy);
      if (!other.available || other.rank <= verdict.rank) continue;
      plan.algorithm = algorithm;
      verdict = other;
    }
  }
  plan.reason = verdict.reason;
  if (plan.algorithm == ConvAlgorithm::depthwise) {
    plan.packed_bytes = static_cast<std::size_t>(g.out_channels * g.taps()) * (precision == Precision::fp16 || precision == Precision::bf16 ? 2 : 4);
    plan.error_class = error_class(precision, plan.algorithm, false);
    return plan;
  }
  const bool winograd = plan.algorithm == ConvAlgorithm::winograd4;
  plan.split_tf32 = precision == Precision::fp32 && accuracy != Accuracy::exact && !winograd && wants_split_tf32(g);
  plan.error_class = error_class(precision, plan.algorithm, plan.split_tf32);
  const GemmShape shape = gemm_shape(plan);
  plan.packed_bytes = shape.bytes();
  if (plan.algorithm == ConvAlgorithm::wgmma) {
    plan.tile = choose_wgmma_tiling(g, batch, shape.element_bytes, limits).tile;
    plan.reason += tile_words(kWgmmaTiles[plan.tile]);
    return plan;
  }
  const index_t images = winograd ? winograd_images(plan) : batch;
  const index_t rows = winograd ? images * winograd_tiles(g) : images * g.out_h * g.out_w;
  if (rows > 0) {
    const Tiling tiling = choose_tiling(shape, rows, !winograd, limits);
    plan.tile = tiling.tile;
    plan.split_k = tiling.split_k;
  }
  if (winograd)
    plan.workspace_bytes = static_cast<std::size_t>(images) * winograd_image_bytes(g);
  else if (plan.split_k > 1)
    plan.workspace_bytes = static_cast<std::size_t>(plan.split_k * rows * g.out_channels) * sizeof(float);
  const GemmTile& tile = (shape.tensor_cores ? kMmaTiles : kFp32Tiles)[plan.tile];
  plan.reason += tile_words(tile);
  if (plan.split_tf32) plan.reason += ", each product from three of TF32";
  if (combined_groups(g) > 1) plan.reason += ", " + std::to_string(combined_groups(g)) + " groups at a time";
  if (plan.split_k > 1) plan.reason += ", sums in " + std::to_string(plan.split_k) + " parts to fill the device";
  return plan;
}

std::vector<CudaAlgorithmInfo> conv_algorithms(const ConvGeometry& geometry, index_t batch, Precision precision, const Limits& limits,
                                               Accuracy accuracy) {
  struct Ranked {
    double rank;
    CudaAlgorithmInfo info;
  };
  const ConvGeometry g = checked_geometry(geometry);
  std::vector<Ranked> all;
  for (const ConvAlgorithm algorithm : kConvAlgorithms) {
    const Verdict verdict = judge(g, batch, precision, limits, algorithm, accuracy);
    Ranked ranked{verdict.available ? verdict.rank : -1, {algorithm, verdict.available, verdict.reason, 0, ""}};
    if (verdict.available) {
      const ConvPlan plan = plan_conv(g, batch, precision, limits, algorithm, accuracy);
      ranked.info.workspace_bytes = plan.workspace_bytes;
      ranked.info.error_class = plan.error_class;
    }
    all.push_back(std::move(ranked));
  }
  std::stable_sort(all.begin(), all.end(), [](const Ranked& a, const Ranked& b) { return a.rank > b.rank; });
  std::vector<CudaAlgorithmInfo> infos;
  for (Ranked& ranked : all) infos.push_back(std::move(ranked.info));
  return infos;
}

ConvTransposePlan plan_conv_transpose(const ConvGeometry& geometry, index_t batch, Precision precision, const Limits& limits,
                                      Accuracy accuracy) {
  constexpr std::size_t kAlignment = 256;
  ConvTransposePlan plan;
  plan.geometry = geometry;
  for (TransposePhase& phase : transpose_phases(geometry)) {
    ConvTransposePlan::Phase part;
    part.plan = plan_conv(phase.dense, batch, precision, limits, std::nullopt, accuracy);
    part.row = phase.row;
    part.column = phase.column;
    part.taps = std::move(phase.taps);
    part.packed_offset = plan.packed_bytes;
    plan.packed_bytes += (part.plan.packed_bytes + kAlignment - 1) / kAlignment * kAlignment;
    plan.workspace_bytes = std::max(plan.workspace_bytes, part.plan.workspace_bytes);
    plan.phases.push_back(std::move(part));
  }
  return plan;
}

std::vector<std::byte> pack_weights(const ConvTransposePlan& plan, const float* weight) {
  std::vector<std::byte> packed(plan.packed_bytes);
  for (const ConvTransposePlan::Phase& phase : plan.phases) {
    const std::vector<float> turned = phase_weight(plan.geometry, phase.taps, weight);
    const std::vector<std::byte> part = pack_weights(phase.plan, turned.data(), nullptr);
    std::copy(part.begin(), part.end(), packed.begin() + static_cast<std::ptrdiff_t>(phase.packed_offset));
  }
  return packed;
}

}  // namespace fastconv::cuda
