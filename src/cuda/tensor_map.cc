#include "cuda/tensor_map.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <string>
#include <type_traits>

namespace fastconv::cuda {
namespace {

// The driver's function of CUDA 12.0: asked for by name, so that nothing links with the driver.
template <class F>
F* driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found), name);
  if (found != cudaDriverEntryPointSuccess || !function) throw Error(std::string(name) + ": this CUDA driver has no such function");
  return reinterpret_cast<F*>(function);
}

void check_map(CUresult status, const char* name) {
  if (status != CUDA_SUCCESS) throw Error(std::string(name) + ": failed with status " + std::to_string(static_cast<int>(status)));
}

template <class T>
inline constexpr CUtensorMapDataType kDataType =
    std::is_same_v<T, float> ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : CU_TENSOR_MAP_DATA_TYPE_UINT16;

cuuint64_t bytes(index_t elements, std::size_t size) { return static_cast<cuuint64_t>(elements) * size; }

}  // namespace

Im2colBox im2col_box(const ConvGeometry& g) {
  return {{-g.pad_left, -g.pad_top},
          {(g.out_w - 1) * g.stride_w - g.pad_left - (g.in_w - 1), (g.out_h - 1) * g.stride_h - g.pad_top - (g.in_h - 1)}};
}

// CUDA Driver API, cuTensorMapEncodeIm2col, and PTX ISA, "im2col mode", for images of two
// dimensions.
const char* im2col_limit(const ConvGeometry& g, int element_bytes) {
  if (g.groups != 1) return "needs groups == 1";
  if (g.in_channels * element_bytes % 16 != 0) return "needs pixels of a multiple of 16 bytes";
  if (g.stride_h > 8 || g.stride_w > 8) return "needs strides of at most 8";
  if ((g.kernel_h - 1) * g.dilation_h > 255 || (g.kernel_w - 1) * g.dilation_w > 255) return "needs windows of at most 256 rows and columns";
  const Im2colBox box = im2col_box(g);
  for (const index_t corner : {box.lower[0], box.lower[1], box.upper[0], box.upper[1]})
    if (corner < -128 || corner > 127) return "needs windows that begin within 128 pixels of the image's corners";
  return nullptr;
}

template <class T>
CUtensorMap im2col_map(const ConvGeometry& g, const Nhwc<const T>& x, int pixels) {
  static auto* const encode = driver_function<decltype(cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(x.c), static_cast<cuuint64_t>(x.w), static_cast<cuuint64_t>(x.h),
                              static_cast<cuuint64_t>(x.n)};
  const cuuint64_t strides[] = {bytes(x.sw, sizeof(T)), bytes(x.sh, sizeof(T)), bytes(x.sn, sizeof(T))};
  const cuuint32_t steps[] = {1, static_cast<cuuint32_t>(g.stride_w), static_cast<cuuint32_t>(g.stride_h), 1};
  const Im2colBox box = im2col_box(g);
  // Width first, as CUTLASS has them (conv/collective/detail.hpp); cuda.h speaks of offsets of {D,
  // H, W}.
  const int lower[] = {static_cast<int>(box.lower[0]), static_cast<int>(box.lower[1])};
  const int upper[] = {static_cast<int>(box.upper[0]), static_cast<int>(box.upper[1])};
  CUtensorMap map;
  check_map(encode(&map, kDataType<T>, 4, const_cast<T*>(x.data), sizes, strides, lower, upper, kSwizzleBytes / sizeof(T),
                   static_cast<cuuint32_t>(pixels), steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                   CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
            "cuTensorMapEncodeIm2col");
  return map;
}

template <class T>
CUtensorMap weight_map(const T* weight, index_t channels, index_t taps, index_t outputs, index_t stride, int rows) {
  static auto* const encode = driver_function<decltype(cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(channels), static_cast<cuuint64_t>(taps), static_cast<cuuint64_t>(outputs)};
  const cuuint64_t strides[] = {bytes(channels, sizeof(T)), bytes(stride, sizeof(T))};
  const cuuint32_t box[] = {kSwizzleBytes / sizeof(T), 1, static_cast<cuuint32_t>(rows)}, steps[] = {1, 1, 1};
  CUtensorMap map;
  check_map(encode(&map, kDataType<T>, 3, const_cast<T*>(weight), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                   CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
            "cuTensorMapEncodeTiled");
  return map;
}

template CUtensorMap im2col_map(const ConvGeometry&, const Nhwc<const float>&, int);
template CUtensorMap im2col_map(const ConvGeometry&, const Nhwc<const __half>&, int);
template CUtensorMap im2col_map(const ConvGeometry&, const Nhwc<const __nv_bfloat16>&, int);
template CUtensorMap weight_map(const float*, index_t, index_t, index_t, index_t, int);
template CUtensorMap weight_map(const __half*, index_t, index_t, index_t, index_t, int);
template CUtensorMap weight_map(const __nv_bfloat16*, index_t, index_t, index_t, index_t, int);

}  // namespace fastconv::cuda
