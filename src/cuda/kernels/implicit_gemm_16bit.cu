#include "cuda/kernels/implicit_gemm_mma.cuh"

namespace fastconv::cuda {

template <class T>
void launch_gemm_16bit(GemmArguments<T> a, int tile, bool wide, cudaStream_t stream) {
  launch_mma<Bits16<T>>(std::is_same_v<T, __half> ? "implicit_gemm_fp16" : "implicit_gemm_bf16", a, tile, wide, stream);
}

template void launch_gemm_16bit(GemmArguments<__half>, int, bool, cudaStream_t);
template void launch_gemm_16bit(GemmArguments<__nv_bfloat16>, int, bool, cudaStream_t);

}  // namespace fastconv::cuda
