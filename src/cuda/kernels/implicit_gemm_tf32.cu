#include "cuda/kernels/implicit_gemm_mma.cuh"

namespace fastconv::cuda {

void launch_gemm_tf32(GemmArguments<float> a, int tile, bool wide, bool split, cudaStream_t stream) {
  if (split)
    launch_mma<SplitTf32>("implicit_gemm_3xtf32", a, tile, wide, stream);
  else
    launch_mma<Tf32>("implicit_gemm_tf32", a, tile, wide, stream);
}

}  // namespace fastconv::cuda
