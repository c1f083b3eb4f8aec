#include "cuda/depthwise.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstring>

#include "cuda/conv.h"

namespace fastconv::cuda {
namespace {

template <class T>
std::vector<std::byte> pack(const ConvGeometry& g, const float* weight, const double* scale) {
  std::vector<std::byte> packed(static_cast<std::size_t>(g.taps() * g.out_channels) * sizeof(T));
  for (index_t tap = 0; tap < g.taps(); ++tap)
    for (index_t c = 0; c < g.out_channels; ++c) {
      const double value = weight[c * g.taps() + tap];
      const T rounded = T(static_cast<float>(scale ? value * scale[c] : value));
      std::memcpy(packed.data() + static_cast<std::size_t>(tap * g.out_channels + c) * sizeof(T), &rounded, sizeof(T));
    }
  return packed;
}

}  // namespace

std::vector<std::byte> pack_depthwise(const ConvGeometry& geometry, Precision precision, const float* weight,
                                      const double* scale) {
  switch (precision) {
    case Precision::fp16: return pack<__half>(geometry, weight, scale);
    case Precision::bf16: return pack<__nv_bfloat16>(geometry, weight, scale);
    case Precision::fp32:
    case Precision::tf32: break;
  }
  return pack<float>(geometry, weight, scale);
}

// Channels first, in even parts of whole 32-byte sectors; then columns: of 28 outputs of 3x3
// neighbouring blocks both read 2 of 30. Rows are cut only as far as the device needs blocks, for
// each part reads kernel - stride rows again; where that is not enough, channels are cut, down to a
// sector.
DepthwiseTile depthwise_tile(index_t n, index_t out_h, index_t out_w, index_t channels, int kernel, int item_bytes) {
  constexpr index_t kWanted = 4 * 132, kEnough = 128;  // blocks: to balance a large device, and to use most of it
  constexpr index_t kLeastRows = 2, kLeastBytes = 32;
  const index_t lanes = depthwise_lanes(kernel), sector = 32 / item_bytes;
  const auto part = [](index_t whole, index_t most) { return ceil_div(whole, ceil_div(whole, most)); };
  const auto channel_tile = [&](index_t most) {
    const index_t limit = std::max(sector, most / sector * sector);
    return std::min({channels, limit, ceil_div(part(channels, limit), sector) * sector});
  };
  const index_t all_groups = ceil_div(out_w, kDepthwiseColumns);
  const index_t groups = part(all_groups, kDepthwiseGroups);
  index_t most = kDepthwiseVectors * lanes, tile = channel_tile(most), rows = out_h;
  const auto blocks = [&] { return n * ceil_div(out_h, rows) * ceil_div(all_groups, groups) * ceil_div(channels, tile); };
  rows = std::clamp(out_h / std::max<index_t>(1, ceil_div(kWanted, blocks())), std::min(kLeastRows, out_h), out_h);
  rows = part(out_h, rows);
  while (blocks() < kEnough && most * item_bytes > kLeastBytes) tile = channel_tile(most /= 2);
  return {static_cast<int>(rows), static_cast<int>(groups), static_cast<int>(tile)};
}

}  // namespace fastconv::cuda
