#include "fastconv/tensor.h"

#include "fastconv/error.h"

namespace fastconv {

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

index_t checked_size(const Shape& shape, std::size_t item_bytes) {
  // A size of zero elsewhere must not hide an overflow: NumPy refuses such shapes as well.
  index_t bytes = static_cast<index_t>(item_bytes);
  bool empty = false;
  for (const index_t size : shape) {
    if (size < 0) fail("negative size in shape ", to_string(shape));
    if (size && __builtin_mul_overflow(bytes, size, &bytes))
      fail("an array of shape ", to_string(shape), " passes the address range");
    empty |= size == 0;
  }
  return empty ? 0 : bytes / static_cast<index_t>(item_bytes);
}

index_t checked_sum(index_t a, index_t b) {
  index_t sum;
  if (__builtin_add_overflow(a, b, &sum)) fail("a size of ", a, " + ", b, " passes the address range");
  return sum;
}

}  // namespace fastconv
