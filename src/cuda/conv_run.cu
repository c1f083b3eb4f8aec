// Convolutions as plans decide them, on device memory.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cuda/kernels/implicit_gemm.h"

namespace fastconv::cuda {
namespace {

template <class T>
bool aligned(const Nhwc<T>& x) {
  constexpr index_t kElements = 16 / sizeof(T);
  return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && x.sn % kElements == 0 && x.sh % kElements == 0 && x.sw % kElements == 0;
}

template <class T>
Nhwc<T> images(Nhwc<T> x, index_t first, index_t count) {
  if (x.data) x.data += first * x.sn;
  x.n = static_cast<int>(count);
  return x;
}

// Rows of the product and thread blocks are counted in 31 bits.
index_t images_a_launch(const GemmShape& shape, index_t image_rows, int parts) {
  constexpr index_t kLargest = index_t{1} << 30;
  const index_t blocks_a_row_tile = ceil_div(shape.n, 32) * shape.groups * parts;
  return std::max<index_t>(std::min(kLargest, kLargest / blocks_a_row_tile * 64) / image_rows, 1);
}

template <class T>
void multiply(const ConvPlan& plan, const GemmShape& shape, GemmArguments<T>& a, cudaStream_t stream) {
  constexpr index_t kElements = 16 / sizeof(T);
  a.index.n = static_cast<int>(shape.n);
  a.index.k = static_cast<int>(shape.k);
  a.index.parts = plan.split_k;
  a.index.k_tiles = static_cast<int>(shape.k_padded * shape.element_bytes / kRowBytes);
  a.index.channels = FastDivide(static_cast<int>(shape.channels));
  a.index.groups = FastDivide(static_cast<int>(shape.groups));
  a.weight_group = shape.group_elements();
  a.weight_stride = static_cast<int>(shape.tensor_cores ? shape.k_padded : shape.n_padded);
  const bool wide = aligned(a.x) && shape.channels % kElements == 0 && a.x_group % kElements == 0;
  a.vectors = aligned(a.y) && shape.n % kElements == 0 && a.y_group % kElements == 0 &&
              (!a.epilogue.residual.data || aligned(a.epilogue.residual));
  if (plan.algorithm == ConvAlgorithm::wgmma && aligned(a.x))
    launch_gemm_wgmma(plan.geometry, a, plan.tile, stream);
  else if constexpr (!std::is_same_v<T, float>)
    launch_gemm_16bit(a, plan.tile, wide, stream);
  else if (shape.tensor_cores)
    launch_gemm_tf32(a, plan.tile, wide, plan.split_tf32, stream);
  else
    launch_gemm_fp32(a, plan.tile, wide, stream);
}

template <class T>
void run_implicit_gemm(const ConvPlan& plan, const Nhwc<const T>& x, const void* packed, const Epilogue<T>& epilogue, const Nhwc<T>& y,
                       void* workspace, cudaStream_t stream) {
  const ConvGeometry& g = plan.geometry;
  const GemmShape shape = gemm_shape(plan);
  GemmArguments<T> a{};
  a.weight = static_cast<const T*>(packed);
  a.x_group = shape.channels;
  a.y_group = shape.n;
  a.partial = static_cast<float*>(workspace);
  a.index.in_h = static_cast<int>(g.in_h);
  a.index.in_w = static_cast<int>(g.in_w);
  a.index.stride_h = static_cast<int>(g.stride_h);
  a.index.stride_w = static_cast<int>(g.stride_w);
  a.index.pad_top = static_cast<int>(g.pad_top);
  a.index.pad_left = static_cast<int>(g.pad_left);
  a.index.dilation_h = static_cast<int>(g.dilation_h);
  a.index.dilation_w = static_cast<int>(g.dilation_w);
  a.index.pointwise = g.taps() == 1;
  a.index.kernel_w = FastDivide(static_cast<int>(g.kernel_w));
  a.index.out_w = FastDivide(static_cast<int>(g.out_w));
  a.index.out_pixels = FastDivide(static_cast<int>(g.out_h * g.out_w));
  const index_t step = images_a_launch(shape, g.out_h * g.out_w, plan.split_k);
  for (index_t n = 0; n < x.n; n += step) {
    const index_t count = std::min(step, x.n - n);
    a.index.m = static_cast<int>(count * g.out_h * g.out_w);
    a.x = images(x, n, count);
    a.y = images(y, n, count);
    a.epilogue = epilogue;
    a.epilogue.residual = images(epilogue.residual, n, count);
    multiply(plan, shape, a, stream);
  }
}

void run_winograd(const ConvPlan& plan, const Nhwc<const float>& x, const void* packed, const Epilogue<float>& epilogue,
                  const Nhwc<float>& y, void* workspace, cudaStream_t stream) {
  const ConvGeometry& g = plan.geometry;
  const GemmShape shape = gemm_shape(plan);
  const index_t step = winograd_images(plan);
  for (index_t n = 0; n < x.n; n += step) {
    const index_t count = std::min(step, x.n - n);
    const WinogradShape tiles{g, count, ceil_div(g.out_h, kWinogradTile), ceil_div(g.out_w, kWinogradTile)};
    float* const v = static_cast<float*>(workspace);
    float* const m = v + kWinogradPositions * tiles.tiles() * g.in_channels;
    launch_winograd_input(tiles, images(x, n, count), v, stream);
    // Each position's tiles are the pixels of a 1x1 convolution.
    GemmArguments<float> a{};
    a.weight = static_cast<const float*>(packed);
    a.x = nhwc_view<const float>(v, 1, 1, tiles.tiles(), g.in_channels);
    a.y = nhwc_view(m, 1, 1, tiles.tiles(), g.out_channels);
    a.x_group = tiles.tiles() * g.in_channels;
    a.y_group = tiles.tiles() * g.out_channels;
    a.index.m = static_cast<int>(tiles.tiles());
    a.index.in_h = 1;
    a.index.in_w = a.index.m;
    a.index.pointwise = true;
    a.index.out_w = a.index.out_pixels = FastDivide(a.index.m);
    multiply(plan, shape, a, stream);
    Epilogue<float> rest = epilogue;
    rest.residual = images(epilogue.residual, n, count);
    launch_winograd_output(tiles, m, rest, images(y, n, count), stream);
  }
}

}  // namespace

template <class T>
void run_conv(const ConvPlan& plan, const Nhwc<const T>& x, const void* packed, const Epilogue<T>& epilogue, const Nhwc<T>& y,
              void* workspace, cudaStream_t stream) {
  if (y.n == 0 || y.h == 0 || y.w == 0 || y.c == 0) return;
  switch (plan.algorithm) {
    case ConvAlgorithm::implicit_gemm:
    case ConvAlgorithm::wgmma: return run_implicit_gemm(plan, x, packed, epilogue, y, workspace, stream);
    case ConvAlgorithm::depthwise: return depthwise_conv2d(plan.geometry, x, static_cast<const T*>(packed), epilogue, y, stream);
    case ConvAlgorithm::winograd4:
      if constexpr (std::is_same_v<T, float>) run_winograd(plan, x, packed, epilogue, y, workspace, stream);
  }
}

template <class T>
void run_conv_transpose(const ConvTransposePlan& plan, const Nhwc<const T>& x, const void* packed, const Epilogue<T>& epilogue,
                        const Nhwc<T>& y, void* workspace, cudaStream_t stream) {
  for (const ConvTransposePlan::Phase& phase : plan.phases) {
    const auto part = [&](auto image) {
      if (!image.data) return image;
      image.data += phase.row * image.sh + phase.column * image.sw;
      image.h = static_cast<int>(phase.plan.geometry.out_h);
      image.w = static_cast<int>(phase.plan.geometry.out_w);
      image.sh *= plan.geometry.stride_h;
      image.sw *= plan.geometry.stride_w;
      return image;
    };
    Epilogue<T> phase_epilogue = epilogue;
    phase_epilogue.residual = part(epilogue.residual);
    run_conv(phase.plan, x, static_cast<const std::byte*>(packed) + phase.packed_offset, phase_epilogue, part(y), workspace, stream);
  }
}

template void run_conv(const ConvPlan&, const Nhwc<const float>&, const void*, const Epilogue<float>&, const Nhwc<float>&, void*,
                       cudaStream_t);
template void run_conv(const ConvPlan&, const Nhwc<const __half>&, const void*, const Epilogue<__half>&, const Nhwc<__half>&, void*,
                       cudaStream_t);
template void run_conv(const ConvPlan&, const Nhwc<const __nv_bfloat16>&, const void*, const Epilogue<__nv_bfloat16>&,
                       const Nhwc<__nv_bfloat16>&, void*, cudaStream_t);
template void run_conv_transpose(const ConvTransposePlan&, const Nhwc<const float>&, const void*, const Epilogue<float>&,
                                 const Nhwc<float>&, void*, cudaStream_t);
template void run_conv_transpose(const ConvTransposePlan&, const Nhwc<const __half>&, const void*, const Epilogue<__half>&,
                                 const Nhwc<__half>&, void*, cudaStream_t);
template void run_conv_transpose(const ConvTransposePlan&, const Nhwc<const __nv_bfloat16>&, const void*,
                                 const Epilogue<__nv_bfloat16>&, const Nhwc<__nv_bfloat16>&, void*, cudaStream_t);

}  // namespace fastconv::cuda
