// Chooses the algorithm, and says why.
#include "conv/engine.h"
#include "fastconv/error.h"
#include "kernels/pack/pack.h"

namespace fastconv {

template <class T>
ConvEngine<T>::ConvEngine(const ConvGeometry& geometry, const ConvOptions& options, const T* bias)
    : geometry_(geometry), options_(options), bias_(static_cast<std::size_t>(geometry.out_channels + 2 * pack_kernels<T>().lanes)) {
  const index_t channels = geometry.out_channels;
  for (index_t i = 0; i < static_cast<index_t>(bias_.size()); ++i) bias_.data()[i] = bias && i < channels ? bias[i] : T(0);
}
template class ConvEngine<float>;
template class ConvEngine<double>;

template <class T>
struct Conv2d<T>::Impl {
  ConvGeometry geometry;
  Algorithm algorithm;
  std::string reason;
  std::unique_ptr<ConvEngine<T>> engine;
};

template <class T>
Conv2d<T>::Conv2d(const ConvGeometry& geometry, const ConvOptions& options, const T* weight, const T* bias)
    : impl_(new Impl{geometry, Algorithm::reference, "", make_reference<T>(geometry, options, weight, bias)}) {}
template <class T>
Conv2d<T>::~Conv2d() = default;
template <class T>
Conv2d<T>::Conv2d(Conv2d&&) noexcept = default;
template <class T>
Conv2d<T>& Conv2d<T>::operator=(Conv2d&&) noexcept = default;

template <class T>
void Conv2d<T>::run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const {
  const ConvGeometry& g = impl_->geometry;
  if (x.c != g.in_channels || x.h != g.in_h || x.w != g.in_w)
    fail("x must have shape ", to_string({x.n, g.in_channels, g.in_h, g.in_w}), ", got ", to_string({x.n, x.c, x.h, x.w}));
  if (out.n != x.n || out.c != g.out_channels || out.h != g.out_h || out.w != g.out_w)
    fail("out must have shape ", to_string({x.n, g.out_channels, g.out_h, g.out_w}), ", got ",
         to_string({out.n, out.c, out.h, out.w}));
  if (residual && (residual->n != out.n || residual->c != out.c || residual->h != out.h || residual->w != out.w))
    fail("residual must have the output's shape ", to_string({out.n, out.c, out.h, out.w}), ", got ",
         to_string({residual->n, residual->c, residual->h, residual->w}));
  if (x.n > 0) impl_->engine->run(x, residual, out);
}

template <class T>
const ConvGeometry& Conv2d<T>::geometry() const {
  return impl_->geometry;
}
template <class T>
Algorithm Conv2d<T>::algorithm() const {
  return impl_->algorithm;
}
template <class T>
const std::string& Conv2d<T>::reason() const {
  return impl_->reason;
}
template <class T>
std::size_t Conv2d<T>::packed_bytes() const {
  return impl_->engine->packed_bytes();
}
template <class T>
std::size_t Conv2d<T>::workspace_bytes() const {
  return impl_->engine->workspace_bytes();
}

template class Conv2d<float>;
template class Conv2d<double>;

index_t channel_block(DType dtype) {
  return dtype == DType::f32 ? pack_kernels<float>().lanes : pack_kernels<double>().lanes;
}

}  // namespace fastconv
