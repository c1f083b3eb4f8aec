// A graph made ready to run on a CUDA device.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "cuda/conv.h"
#include "cuda/tensor.h"
#include "fastconv/error.h"
#include "fastconv/network.h"

namespace fastconv::cuda {

struct CudaOptions {
  Precision precision = Precision::fp32;
  Accuracy accuracy = Accuracy::fast;
  std::optional<std::size_t> max_workspace;  // device scratch bytes that an operator may take
  std::optional<ConvAlgorithm> algorithm;    // of all convolutions; by default the rule decides
  int device = 0;
  // Whether the graph's constants stay when they are on the device: with_graph needs them where
  // another size takes another algorithm.
  bool keep_constants = true;
  bool is_optimized = false;  // the graph has been through all passes: with_graph counts on its values' numbers
};

class CudaNetwork : public Network {
 public:
  // Inputs and outputs in the memory of the device, of the graph's shapes and dtypes. Returns once
  // all is in the queue of `stream`.
  virtual void run_on_device(const std::vector<Strided<const void>>& inputs, const std::vector<Strided<void>>& outputs,
                             cudaStream_t stream) const = 0;
  virtual int device() const = 0;
};

// As fastconv::compile_network; the graph is of float32 and masks, and so are the network's inputs
// and outputs at any precision. Throws Unavailable where there is no such device.
std::shared_ptr<CudaNetwork> compile_network(const Graph& recorded, const CudaOptions& options);

// Throws std::invalid_argument where the rank is more than a kernel can take.
template <class T>
Strided<T> strided(T* data, const Shape& shape, const Shape& strides) {
  if (shape.size() > static_cast<std::size_t>(kMaxRank))
    fail("device='cuda' takes arrays of up to ", kMaxRank, " dimensions, got one of shape ", to_string(shape));
  Strided<T> a{data, static_cast<int>(shape.size())};
  std::copy(shape.begin(), shape.end(), a.size);
  std::copy(strides.begin(), strides.end(), a.stride);
  return a;
}

// For tests: whether every run first fills its arena with NaN.
void set_poison_arenas(bool poison);

}  // namespace fastconv::cuda
