// The oracle: the definition of a convolution as plain loops, accumulated in double. Padding is
// zeros that take part in the arithmetic (0 * inf is NaN), as it is in every other algorithm here.
#include <algorithm>
#include <cmath>

#include "conv/engine.h"
#include "fastconv/thread_pool.h"

namespace fastconv {
namespace {

double activate(Activation::Kind kind, double x, double a, double b) {
  using T = double;
  using std::erfc, std::exp, std::tanh;
  const auto clamp = [](double v, double low, double high) { return v < low ? low : v > high ? high : v; };
  switch (kind) {
#define ROW(name, definition) \
  case Activation::name: return definition;
    FASTCONV_ACTIVATIONS(ROW)
#undef ROW
  }
  return x;
}

template <class T>
class Reference final : public ConvEngine<T> {
 public:
  explicit Reference(const ConvTask& task) : ConvEngine<T>(task) {}

  void run(const TensorView<const T>& x, const TensorView<const T>* residual, const TensorView<T>& out) const override {
    const ConvGeometry& g = this->task_.geometry;
    const Epilogue<T> epilogue = this->epilogue();
    const Activation& activation = epilogue.activation;
    parallel_for(out.n * g.out_channels, [&](index_t task) {
      const index_t n = task / g.out_channels, oc = task % g.out_channels;
      const index_t first = oc / g.group_out() * g.group_in();
      const double slope = epilogue.slopes ? double(epilogue.slopes[oc]) : activation.a;
      for (index_t oy = 0; oy < g.out_h; ++oy)
        for (index_t ox = 0; ox < g.out_w; ++ox) {
          double sum = 0;
          const T* w = this->weights() + oc * g.group_in() * g.taps();
          for (index_t c = 0; c < g.group_in(); ++c) {
            const T* plane = x.channel(n, first + c);
            for (index_t ky = 0; ky < g.kernel_h; ++ky)
              for (index_t kx = 0; kx < g.kernel_w; ++kx, ++w) {
                const index_t iy = oy * g.stride_h + ky * g.dilation_h - g.pad_top;
                const index_t ix = ox * g.stride_w + kx * g.dilation_w - g.pad_left;
                const bool inside = iy >= 0 && iy < g.in_h && ix >= 0 && ix < g.in_w;
                sum += double(inside ? plane[iy * x.sh + ix * x.sw] : T(0)) * double(*w);
              }
          }
          sum += double(this->bias_.data()[oc]);
          if (residual) sum += double(residual->channel(n, oc)[oy * residual->sh + ox * residual->sw]);
          out.channel(n, oc)[oy * out.sh + ox * out.sw] = T(activate(activation.kind, sum, slope, activation.b));
        }
    });
  }
  std::size_t workspace_bytes() const override { return 0; }

 private:
  std::unique_ptr<ConvEngine<T>> clone() const override { return std::make_unique<Reference>(*this); }
  index_t packed_size() const override {
    const ConvGeometry& g = this->task_.geometry;
    return g.out_channels * g.group_in() * g.taps();
  }
  void pack_weights(const T* weight, T* packed) override { std::copy_n(weight, packed_size(), packed); }
};

}  // namespace

template <class T>
std::unique_ptr<ConvEngine<T>> make_reference(const ConvTask& task) {
  return std::make_unique<Reference<T>>(task);
}
template std::unique_ptr<ConvEngine<float>> make_reference(const ConvTask&);
template std::unique_ptr<ConvEngine<double>> make_reference(const ConvTask&);

}  // namespace fastconv
