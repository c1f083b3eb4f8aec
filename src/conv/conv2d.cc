// Convolutions with weights: a plan, its packed weights and what runs them.
#include "conv/engine.h"
#include "conv/probe.h"
#include "fastconv/error.h"
#ifdef FASTCONV_TEST_SLOWDOWN
#include "conv/slowdown.h"
#endif

namespace fastconv {
template <class T>
Conv2d<T>::Conv2d(ConvPlan plan, const T* weight, const T* bias, const Packing& packing, const T* slopes)
    : plan_(std::move(plan)), engine_(make_engine<T>(plan_.task, plan_.algorithm)) {
  if (!weight) return;
  engine_->pack(weight, bias, slopes, packing.arena.get());
  while (packing.fall_back && !plan_.task.one_call && engine_->probe(weight) > kProbeLimit) {
    std::string reason = std::string("with these weights the rounding error of ") + algorithm_name(plan_.algorithm) + " would be too large";
    plan_ = plan_conv(plan_.task, plan_.algorithm == Algorithm::winograd4 ? Algorithm::winograd2 : Algorithm::direct);
    plan_.reason = std::move(reason);
    engine_ = make_engine<T>(plan_.task, plan_.algorithm);
    engine_->pack(weight, bias, slopes, packing.arena.get());
  }
}

template <class T>
Conv2d<T>::Conv2d(const Conv2d& other, ConvPlan plan) : plan_(std::move(plan)), engine_(other.engine_->resized(plan_.task)) {
  if (plan_.algorithm == other.plan_.algorithm) return;
  ConvPlan taken = plan_conv(plan_.task, other.plan_.algorithm);
  taken.reason = other.plan_.reason;
  plan_ = std::move(taken);
}
template <class T>
Conv2d<T>::~Conv2d() = default;
template <class T>
Conv2d<T>::Conv2d(Conv2d&&) noexcept = default;
template <class T>
Conv2d<T>& Conv2d<T>::operator=(Conv2d&&) noexcept = default;

template <class T>
void Conv2d<T>::run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const {
  const ConvGeometry& g = geometry();
  if (x.c != g.in_channels || x.h != g.in_h || x.w != g.in_w)
    fail("x must have shape ", to_string({x.n, g.in_channels, g.in_h, g.in_w}), ", got ", to_string({x.n, x.c, x.h, x.w}));
  if (out.n != x.n || out.c != g.out_channels || out.h != g.out_h || out.w != g.out_w)
    fail("out must have shape ", to_string({x.n, g.out_channels, g.out_h, g.out_w}), ", got ",
         to_string({out.n, out.c, out.h, out.w}));
  if (residual && (residual->n != out.n || residual->c != out.c || residual->h != out.h || residual->w != out.w))
    fail("residual must have the output's shape ", to_string({out.n, out.c, out.h, out.w}), ", got ",
         to_string({residual->n, residual->c, residual->h, residual->w}));
  if (x.n == 0) return;
#ifdef FASTCONV_TEST_SLOWDOWN
  const Slowdown until_it_returns(plan_.algorithm);
#endif
  engine_->run(x, residual, out);
}

template class Conv2d<float>;
template class Conv2d<double>;

}  // namespace fastconv
