// Convolutions on CUDA devices: the choice of a kernel (on the host, testable without a device),
// packed weights, launches.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "cuda/runtime.h"
#include "cuda/tensor.h"
#include "fastconv/conv.h"

namespace fastconv::cuda {

enum class ConvAlgorithm : uint8_t { implicit_gemm, depthwise, winograd4, wgmma };
inline constexpr ConvAlgorithm kConvAlgorithms[] = {ConvAlgorithm::implicit_gemm, ConvAlgorithm::depthwise, ConvAlgorithm::winograd4,
                                                    ConvAlgorithm::wgmma};
const char* algorithm_name(ConvAlgorithm algorithm);  // "implicit_gemm", ...
std::optional<ConvAlgorithm> parse_algorithm(const std::string& name);

// Everything that is decided about one convolution, for one batch size.
struct ConvPlan {
  ConvGeometry geometry;
  index_t batch = 0;
  Precision precision = Precision::fp32;
  ConvAlgorithm algorithm = ConvAlgorithm::implicit_gemm;
  int tile = 0;     // number in the algorithm's table of tiles
  int split_k = 1;  // parts of the reduction, summed in a fixed order
  bool split_tf32 = false;            // fp32 from three TF32 products (3xTF32)
  std::size_t packed_bytes = 0;       // of the weights as the kernel reads them
  std::size_t workspace_bytes = 0;    // device scratch of one run
  std::string reason;                 // why this
  std::string error_class = "exact";  // or what rounds more: "winograd4", "tf32", "fp16", "bf16"
};

// Throws std::invalid_argument that says why where `wanted` cannot serve. With Accuracy::exact,
// neither Winograd nor 3xTF32.
ConvPlan plan_conv(const ConvGeometry& geometry, index_t batch, Precision precision, const Limits& limits,
                   std::optional<ConvAlgorithm> wanted = std::nullopt, Accuracy accuracy = Accuracy::fast);

struct CudaAlgorithmInfo {
  ConvAlgorithm algorithm;
  bool available;
  std::string reason;  // why it cannot serve, or what speaks for it
  std::size_t workspace_bytes;
  std::string error_class;
};
// Those that can serve first, in the order of preference.
std::vector<CudaAlgorithmInfo> conv_algorithms(const ConvGeometry& geometry, index_t batch, Precision precision,
                                               const Limits& limits, Accuracy accuracy = Accuracy::fast);

// Name of the layout that pack_weights gives: weights packed for one plan serve all of that layout.
std::string packed_layout(const ConvPlan& plan);
// On the host: what the kernel of `plan` reads, from contiguous (out, in / groups, kernel_h,
// kernel_w) weights. `scale` is a factor for each output channel, or null. The layout does not
// depend on the batch.
std::vector<std::byte> pack_weights(const ConvPlan& plan, const float* weight, const double* scale);

// T is float for fp32 and tf32, else the 16-bit type. `packed` and `workspace` are device memory.
template <class T>
void run_conv(const ConvPlan& plan, const Nhwc<const T>& x, const void* packed, const Epilogue<T>& epilogue,
              const Nhwc<T>& y, void* workspace, cudaStream_t stream);

// A transposed convolution as one convolution for each phase of its stride: each writes every
// stride-th row and column.
struct ConvTransposePlan {
  struct Phase {
    ConvPlan plan;
    index_t row = 0, column = 0;       // of its first output
    std::vector<index_t> taps;         // which kernel taps (kh * kernel_w + kw) it uses, in its own order
    std::size_t packed_offset = 0;
  };
  ConvGeometry geometry;  // of the convolution whose gradient this is, as conv_transpose_geometry gives it
  std::vector<Phase> phases;
  std::size_t packed_bytes = 0, workspace_bytes = 0;
};
ConvTransposePlan plan_conv_transpose(const ConvGeometry& geometry, index_t batch, Precision precision, const Limits& limits,
                                      Accuracy accuracy = Accuracy::fast);
// From (in, out / groups, kernel_h, kernel_w) weights.
std::vector<std::byte> pack_weights(const ConvTransposePlan& plan, const float* weight);
template <class T>
void run_conv_transpose(const ConvTransposePlan& plan, const Nhwc<const T>& x, const void* packed,
                        const Epilogue<T>& epilogue, const Nhwc<T>& y, void* workspace, cudaStream_t stream);

// ---- Depthwise (kernels/depthwise.cu): groups == in_channels, any multiplier ----

// Weights as [tap][channel] of T.
std::vector<std::byte> pack_depthwise(const ConvGeometry& geometry, Precision precision, const float* weight,
                                      const double* scale);
template <class T>
void depthwise_conv2d(const ConvGeometry& geometry, const Nhwc<const T>& x, const T* packed, const Epilogue<T>& epilogue,
                      const Nhwc<T>& y, cudaStream_t stream);

}  // namespace fastconv::cuda
