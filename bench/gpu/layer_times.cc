// Times convolution kernels alone: launches in one captured graph, between two events. Reads lines,
// answers each with one:
//
//   layer PRECISION N C H W O KH KW SH SW PH PW DH DW GROUPS CALLS [ALGORITHM]
//                 ->  SETS, bytes of all sets, the algorithms that could serve, and the one that does, with its reason
//   time REPLAYS  ->  seconds of one call, on average
//
// Calls take turns among as many sets of input, weights and output as do not fit the L2 cache
// together. No bias, no activation.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cuda/conv.h"
#include "cuda/stream.h"

namespace fastconv::cuda {
namespace {

constexpr int kDevice = 0;

class Layer {
 public:
  virtual ~Layer() = default;
  virtual std::string describe() const = 0;
  virtual double time(int replays) = 0;
};

std::vector<float> normal(index_t count, double deviation) {
  std::mt19937 random(1);
  std::normal_distribution<float> distribution(0, static_cast<float>(deviation));
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = distribution(random);
  return values;
}

template <class T>
class LayerOf final : public Layer {
 public:
  LayerOf(const ConvGeometry& g, index_t batch, Precision precision, int calls, std::optional<ConvAlgorithm> algorithm)
      : calls_(calls), plan_(plan_conv(g, batch, precision, device_limits(kDevice), algorithm)) {
    const index_t taps_in = g.group_in() * g.taps();
    const std::vector<float> weight = normal(g.out_channels * taps_in, 1 / std::sqrt(static_cast<double>(taps_in)));
    const std::vector<std::byte> packed = pack_weights(plan_, weight.data(), nullptr);
    std::vector<T> x;
    const std::vector<float> image = normal(g.in_channels * g.in_h * g.in_w, 1);
    for (index_t n = 0; n < batch; ++n)
      for (const float v : image) x.push_back(T(v));
    const index_t outputs = batch * g.out_channels * g.out_h * g.out_w;
    const std::size_t set_bytes = (x.size() + static_cast<std::size_t>(outputs)) * sizeof(T) + packed.size();
    const std::size_t wanted = 3 * device_limits(kDevice).l2_bytes / set_bytes + 1;
    const int sets = static_cast<int>(std::min<std::size_t>(wanted, static_cast<std::size_t>(calls)));
    bytes_ = static_cast<std::size_t>(sets) * set_bytes;
    for (int i = 0; i < sets; ++i) {
      sets_.push_back({Memory(x.size() * sizeof(T), kDevice, stream_), Memory(packed.size(), kDevice, stream_),
                       Memory(static_cast<std::size_t>(outputs) * sizeof(T), kDevice, stream_)});
      copy_to_device(sets_.back().x.template as<>(), x.data(), x.size() * sizeof(T), stream_);
      copy_to_device(sets_.back().weights.template as<>(), packed.data(), packed.size(), stream_);
    }
    if (plan_.workspace_bytes) workspace_ = Memory(plan_.workspace_bytes, kDevice, stream_);
    run(0);  // loads the kernel
    graph_.capture(stream_, [&] {
      for (int i = 0; i < calls; ++i) run(i);
    });
    time(1);
  }

  std::string describe() const override {
    std::string serving;
    for (const CudaAlgorithmInfo& info : conv_algorithms(plan_.geometry, plan_.batch, plan_.precision, device_limits(kDevice)))
      if (info.available) serving += (serving.empty() ? "" : ",") + std::string(algorithm_name(info.algorithm));
    return std::to_string(sets_.size()) + " " + std::to_string(bytes_) + " " + serving + " " + algorithm_name(plan_.algorithm) + ": " +
           plan_.reason;
  }

  double time(int replays) override {
    start_.record(stream_);
    for (int i = 0; i < replays; ++i) graph_.launch(stream_);
    end_.record(stream_);
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start_, end_), "cudaEventElapsedTime");
    return 1e-3 * milliseconds / replays / calls_;
  }

 private:
  struct Set {
    Memory x, weights, y;
  };

  void run(int call) {
    const ConvGeometry& g = plan_.geometry;
    const Set& set = sets_[static_cast<std::size_t>(call) % sets_.size()];
    run_conv<T>(plan_, nhwc_view(set.x.template as<const T>(), plan_.batch, g.in_h, g.in_w, g.in_channels), set.weights.template as<>(), {},
                nhwc_view(set.y.template as<T>(), plan_.batch, g.out_h, g.out_w, g.out_channels), workspace_.template as<>(), stream_);
  }

  const int calls_;
  const ConvPlan plan_;
  std::size_t bytes_ = 0;
  Stream stream_;
  Event start_{cudaEventDefault}, end_{cudaEventDefault};
  std::vector<Set> sets_;
  Memory workspace_;
  CapturedGraph graph_;
};

std::unique_ptr<Layer> read_layer(std::istream& line) {
  std::string precision;
  Shape x(4), weight(4);
  std::array<index_t, 2> stride{}, padding{}, dilation{};
  index_t groups = 0;
  int calls = 0;
  line >> precision >> x[0] >> x[1] >> x[2] >> x[3] >> weight[0] >> weight[2] >> weight[3] >> stride[0] >> stride[1] >> padding[0] >>
      padding[1] >> dilation[0] >> dilation[1] >> groups >> calls;
  if (!line || groups < 1 || calls < 1) throw std::invalid_argument("not a layer");
  std::string name;
  line >> name;
  const auto algorithm = parse_algorithm(name);  // none: the rule's
  weight[1] = x[1] / groups;
  const Padding sides{Padding::Mode::explicit_sizes, padding[0], padding[0], padding[1], padding[1]};
  const ConvGeometry g = conv_geometry(x, weight, stride, sides, dilation, groups);
  if (precision == "fp32") return std::make_unique<LayerOf<float>>(g, x[0], Precision::fp32, calls, algorithm);
  if (precision == "tf32") return std::make_unique<LayerOf<float>>(g, x[0], Precision::tf32, calls, algorithm);
  if (precision == "fp16") return std::make_unique<LayerOf<__half>>(g, x[0], Precision::fp16, calls, algorithm);
  if (precision == "bf16") return std::make_unique<LayerOf<__nv_bfloat16>>(g, x[0], Precision::bf16, calls, algorithm);
  throw std::invalid_argument("not a precision");
}

void serve() {
  const DeviceGuard guard(kDevice);
  std::unique_ptr<Layer> layer;
  std::string text, word;
  while (std::getline(std::cin, text)) {
    std::istringstream line(text);
    line >> word;
    if (word == "layer") {
      layer.reset();
      layer = read_layer(line);
      std::cout << layer->describe() << std::endl;
    } else {
      int replays = 1;
      line >> replays;
      std::cout << layer->time(replays) << std::endl;
    }
  }
}

}  // namespace
}  // namespace fastconv::cuda

int main() {
  try {
    fastconv::cuda::serve();
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
