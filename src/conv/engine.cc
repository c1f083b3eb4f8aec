#include "conv/engine.h"

#include "kernels/pack/pack.h"

namespace fastconv {
namespace {

template <class T>
SharedArray<T> padded(const T* values, index_t channels) {
  SharedArray<T> padded(static_cast<std::size_t>(channels + 2 * pack_kernels<T>().lanes));
  for (index_t i = 0; i < static_cast<index_t>(padded.size()); ++i) padded.data()[i] = values && i < channels ? values[i] : T(0);
  return padded;
}

}  // namespace

template <class T>
void ConvEngine<T>::pack(const T* weight, const T* bias, const T* slopes, Arena* arena) {
  bias_ = padded(bias, task_.geometry.out_channels);
  if (slopes) slopes_ = padded(slopes, task_.geometry.out_channels);
  prepare();
  if (borrows()) {
    borrowed_ = weight;
    return;
  }
  packed_ = SharedArray<T>(static_cast<std::size_t>(packed_size()), arena);
  pack_weights(weight, packed_.data());
}

template <class T>
std::unique_ptr<ConvEngine<T>> ConvEngine<T>::resized(const ConvTask& task) const {
  std::unique_ptr<ConvEngine> engine = clone();
  engine->task_ = task;
  engine->fit_image();
  return engine;
}

template <class T>
void ConvEngine<T>::forget_epilogue() {
  task_.activation = Activation::none;
  slopes_ = {};
  bias_ = padded<T>(nullptr, task_.geometry.out_channels);
}

template <class T>
std::unique_ptr<ConvEngine<T>> make_engine(const ConvTask& task, Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::reference: return make_reference<T>(task);
    case Algorithm::im2col: return make_im2col<T>(task);
    case Algorithm::depthwise: return make_depthwise<T>(task);
    case Algorithm::strassen: return make_strassen<T>(task);
    case Algorithm::winograd2: return make_winograd<T>(task, 2);
    case Algorithm::winograd4: return make_winograd<T>(task, 4);
    case Algorithm::winograd6: return make_winograd<T>(task, 6);
    default: return make_direct<T>(task);
  }
}

template class ConvEngine<float>;
template class ConvEngine<double>;
template std::unique_ptr<ConvEngine<float>> make_engine(const ConvTask&, Algorithm);
template std::unique_ptr<ConvEngine<double>> make_engine(const ConvTask&, Algorithm);

}  // namespace fastconv
