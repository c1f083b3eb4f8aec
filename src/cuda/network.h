// A graph made ready to run on a CUDA device.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "cuda/conv.h"
#include "cuda/tensor.h"
#include "fastconv/network.h"

namespace fastconv::cuda {

struct CudaOptions {
  Precision precision = Precision::fp32;
  Accuracy accuracy = Accuracy::fast;
  std::optional<std::size_t> max_workspace;  // device scratch bytes that an operator may take
  std::optional<ConvAlgorithm> algorithm;    // of all convolutions; by default the rule decides
  int device = 0;
  // Whether the graph's constants stay when they are on the device: with_batch needs them where another batch size takes
  // another algorithm.
  bool keep_constants = true;
};

class CudaNetwork : public Network {
 public:
  // inputs and outputs as run() takes them, but in the memory of the device. Returns once all is in the queue of `stream`.
  virtual void run_on_device(const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
                             cudaStream_t stream) const = 0;
  virtual int device() const = 0;
};

// As fastconv::compile_network; the graph is of float32, and so are the network's inputs and outputs at any precision.
// Throws Unavailable where there is no such device.
std::shared_ptr<CudaNetwork> compile_network(const Graph& recorded, const CudaOptions& options);

// For tests: whether every run first fills its arena with NaN.
void set_poison_arenas(bool poison);

}  // namespace fastconv::cuda
