// Padding and cropping of any axes.
#include <algorithm>

#include "cuda/kernels/lanes.cuh"
#include "cuda/loops.h"
#include "cuda/ops.h"

namespace fastconv::cuda {
namespace {

constexpr int kThreads = 128;

// Axes of y, the innermost first. An axis of y that is x's too, without padding, is joined with
// such a neighbour.
struct Axes {
  int rank = 0;
  index_t count = 1;  // of steps: elements, or vectors along the first axis
  index_t size[kMaxRank], x_size[kMaxRank], before[kMaxRank], x_stride[kMaxRank], y_stride[kMaxRank];
  FastDivide divider[kMaxRank];

  bool untouched(int d) const { return before[d] == 0 && x_size[d] == size[d]; }
};

template <class T, int kLanes>
__global__ void __launch_bounds__(kThreads) pad_kernel(PadMode mode, float value, Axes axes, const T* x, T* y) {
  const index_t step = index_t{blockIdx.x} * kThreads + threadIdx.x;
  if (step >= axes.count) return;
  const bool small = axes.count < index_t{1} << 31;
  bool inside = true;
  index_t from = 0, to = 0, left = step;
  for (int d = 0; d < axes.rank; ++d) {
    const index_t rest = small ? static_cast<index_t>(axes.divider[d].quotient(static_cast<std::uint32_t>(left))) : left / axes.size[d];
    const index_t i = left - rest * axes.size[d], last = axes.x_size[d] - 1;
    index_t at = i - axes.before[d];
    left = rest;
    if (mode == PadMode::constant)
      inside = inside && at >= 0 && at <= last;
    else if (mode == PadMode::reflect)
      at = at < 0 ? -at : at > last ? 2 * last - at : at;
    else
      at = at < 0 ? 0 : at > last ? last : at;
    from += at * axes.x_stride[d];
    to += i * axes.y_stride[d];
  }
  float out[kLanes];
  if (inside)
    load(x + from, out);
  else
    set(out, value);
  store(y + to, out);
}

template <class T, int kLanes>
void run(PadMode mode, float value, const Axes& axes, const T* x, T* y, cudaStream_t stream) {
  launch("pad", pad_kernel<T, kLanes>, dim3(static_cast<unsigned>((axes.count + kThreads - 1) / kThreads)), dim3(kThreads), 0,
         stream, mode, value, axes, x, y);
}

}  // namespace

template <class T>
void pad(PadMode mode, float value, const index_t* before, const Strided<const T>& x, const Strided<T>& y, cudaStream_t stream) {
  int order[kMaxRank];
  for (int d = 0; d < y.rank; ++d) order[d] = y.rank - 1 - d;
  const auto length = [&](int d) { return y.stride[d] < 0 ? -y.stride[d] : y.stride[d]; };
  std::stable_sort(order, order + y.rank, [&](int a, int b) { return length(a) < length(b); });
  Axes axes;
  for (int i = 0; i < y.rank; ++i) {
    const int d = order[i], r = axes.rank, inner = r - 1;
    axes.size[r] = y.size[d];
    axes.x_size[r] = x.size[d];
    axes.before[r] = before[d];
    axes.x_stride[r] = x.stride[d];
    axes.y_stride[r] = y.stride[d];
    axes.count *= y.size[d];
    if (r > 0 && axes.untouched(r) && axes.untouched(inner) && x.stride[d] == axes.x_stride[inner] * axes.size[inner] &&
        y.stride[d] == axes.y_stride[inner] * axes.size[inner]) {
      axes.size[inner] *= y.size[d];
      axes.x_size[inner] = axes.size[inner];
    } else {
      ++axes.rank;
    }
  }
  if (axes.count == 0) return;
  constexpr int kLanes = kFullLanes<T>;
  bool full = axes.rank > 0 && axes.untouched(0) && axes.size[0] % kLanes == 0 && axes.x_stride[0] == 1 &&
              axes.y_stride[0] == 1 && aligned(x.data, 16) && aligned(y.data, 16);
  for (int d = 1; d < axes.rank; ++d) full = full && axes.x_stride[d] % kLanes == 0 && axes.y_stride[d] % kLanes == 0;
  if (full) {
    axes.count /= kLanes;
    axes.x_size[0] = axes.size[0] /= kLanes;
    axes.x_stride[0] = axes.y_stride[0] = kLanes;
  }
  for (int d = 0; d < axes.rank; ++d) axes.divider[d] = FastDivide(axes.size[d]);
  (full ? run<T, kLanes> : run<T, 1>)(mode, value, axes, x.data, y.data, stream);
}

#define FASTCONV_INSTANTIATE(T)                                                                                       \
  template void pad<T>(PadMode, float, const index_t*, const Strided<const T>&, const Strided<T>&, cudaStream_t);
FASTCONV_INSTANTIATE(float)
FASTCONV_INSTANTIATE(__half)
FASTCONV_INSTANTIATE(__nv_bfloat16)
#undef FASTCONV_INSTANTIATE

}  // namespace fastconv::cuda
