#include <stdexcept>

#include "fastconv/conv.h"

namespace fastconv {

template <class T>
struct Conv2d<T>::Impl {
  ConvGeometry geometry;
  std::string reason;
};
template <class T>
Conv2d<T>::Conv2d(const ConvGeometry& geometry, const ConvOptions&, const T*, const T*) : impl_(new Impl{geometry, ""}) {}
template <class T>
Conv2d<T>::~Conv2d() = default;
template <class T>
Conv2d<T>::Conv2d(Conv2d&&) noexcept = default;
template <class T>
Conv2d<T>& Conv2d<T>::operator=(Conv2d&&) noexcept = default;
template <class T>
const ConvGeometry& Conv2d<T>::geometry() const {
  return impl_->geometry;
}
template <class T>
void Conv2d<T>::run(const TensorView<const T>&, const TensorView<const T>*, const TensorView<T>&) const {}
template class Conv2d<float>;
template class Conv2d<double>;

}  // namespace fastconv
