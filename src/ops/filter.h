// Resizing by filters of any number of taps, which are the same for all rows and for all columns.
#pragma once

#include "fastconv/ops.h"

namespace fastconv {

template <class T>
void filter(const InterpolationFilter& rows, const InterpolationFilter& columns, const TensorView<const T>& x,
            const TensorView<T>& y);

}  // namespace fastconv
