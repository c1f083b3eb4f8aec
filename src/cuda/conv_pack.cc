// Weights as the kernels read them, made on the host.
#include <cstring>

#include "cuda/conv_gemm.h"
#include "cuda/float_bits.h"
#include "kernels/winograd/matrices.h"

namespace fastconv::cuda {
namespace {

// weight(n, k) of combined group `group` lies at that row and column of its product; zero between
// groups that are combined.
class Weights {
 public:
  Weights(const ConvGeometry& geometry, const float* weight, const double* scale)
      : g_(geometry), combined_(combined_groups(geometry)), weight_(weight), scale_(scale) {}

  float at(index_t group, index_t n, index_t tap, index_t channel) const {
    if (n / g_.group_out() != channel / g_.group_in()) return 0.f;
    const index_t out = group * combined_ * g_.group_out() + n;
    const float w = weight_[(out * g_.group_in() + channel % g_.group_in()) * g_.taps() + tap];
    return scale_ ? static_cast<float>(w * scale_[out]) : w;
  }

 private:
  const ConvGeometry& g_;
  index_t combined_;
  const float* weight_;
  const double* scale_;
};

// G g G^T in double.
void transform(const float* weight, double scale, float* u, index_t position_elements) {
  constexpr auto m = winograd_matrices<kWinogradTile>();
  constexpr int kSide = m.N;
  double rows[kSide][3];
  for (int i = 0; i < kSide; ++i)
    for (int c = 0; c < 3; ++c)
      rows[i][c] = (m.g[i][0] * weight[c] + m.g[i][1] * weight[3 + c] + m.g[i][2] * weight[6 + c]) * scale;
  for (int i = 0; i < kSide; ++i)
    for (int j = 0; j < kSide; ++j)
      u[(i * kSide + j) * position_elements] =
          static_cast<float>(rows[i][0] * m.g[j][0] + rows[i][1] * m.g[j][1] + rows[i][2] * m.g[j][2]);
}

void store(Precision precision, float value, std::byte* to) {
  if (precision == Precision::fp16 || precision == Precision::bf16) {
    const std::uint16_t bits = precision == Precision::fp16 ? to_fp16_bits(value) : to_bf16_bits(value);
    std::memcpy(to, &bits, sizeof bits);
  } else {
    std::memcpy(to, &value, sizeof value);
  }
}

}  // namespace

std::string packed_layout(const ConvPlan& plan) {
  const ConvAlgorithm layout = plan.algorithm == ConvAlgorithm::wgmma ? ConvAlgorithm::implicit_gemm : plan.algorithm;
  return std::string(algorithm_name(layout)) + (plan.split_tf32 ? " in TF32 parts" : "");
}

std::vector<std::byte> pack_weights(const ConvPlan& plan, const float* weight, const double* scale) {
  const ConvGeometry& g = plan.geometry;
  if (plan.algorithm == ConvAlgorithm::depthwise) return pack_depthwise(g, plan.precision, weight, scale);
  const GemmShape shape = gemm_shape(plan);
  std::vector<std::byte> packed(shape.bytes());  // zeros where padded
  if (plan.algorithm == ConvAlgorithm::winograd4) {
    float* const u = reinterpret_cast<float*>(packed.data());
    for (index_t n = 0; n < shape.n; ++n)
      for (index_t c = 0; c < shape.channels; ++c)
        transform(weight + (n * shape.channels + c) * 9, scale ? scale[n] : 1.0, u + c * shape.n_padded + n, shape.group_elements());
    return packed;
  }
  const Weights weights(g, weight, scale);
  std::byte* to = packed.data();
  for (index_t group = 0; group < shape.groups; ++group, to += shape.group_elements() * shape.element_bytes)
    for (index_t n = 0; n < shape.n; ++n)
      for (index_t k = 0; k < shape.k; ++k) {
        const float w = weights.at(group, n, k / shape.channels, k % shape.channels);
        if (!shape.tensor_cores) {
          store(plan.precision, w, to + (k * shape.n_padded + n) * shape.element_bytes);
          continue;
        }
        const float high = shape.element_bytes == 4 ? round_to_tf32(w) : w;
        store(plan.precision, high, to + (n * shape.k_padded + k) * shape.element_bytes);
        if (shape.planes == 2)
          store(plan.precision, round_to_tf32(w - high), to + ((shape.n_padded + n) * shape.k_padded + k) * shape.element_bytes);
      }
  return packed;
}

}  // namespace fastconv::cuda
