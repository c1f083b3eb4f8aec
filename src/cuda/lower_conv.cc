// Convolutions and linear layers.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/lower.h"
#include "fastconv/error.h"

namespace fastconv::cuda {
namespace {

void check_constant_weights(const Graph& graph, const Node& node) {
  if (!graph.has_constant_weights(node))
    fail(operator_name(node.op), ": weight and bias must be arrays on CUDA devices, not symbolic values");
}

std::string packed_form(const ConvPlan& plan) { return "packed for " + packed_layout(plan); }

}  // namespace

template <class T>
typename Lowering<T>::Choice Lowering<T>::choose(const ConvGeometry& geometry, index_t batch) const {
  const Precision precision = options_.precision;
  const std::size_t limit = options_.max_workspace.value_or(~std::size_t{0});
  std::optional<ConvAlgorithm> wanted = options_.algorithm;
  std::vector<Candidate> list, others;
  for (const CudaAlgorithmInfo& info : conv_algorithms(geometry, batch, precision, limits_, options_.accuracy)) {
    std::string why;
    if (!info.available) {
      why = info.reason;
    } else if (options_.algorithm && info.algorithm != *options_.algorithm) {
      why = std::string(algorithm_name(*options_.algorithm)) + " was asked for";
    } else if (info.workspace_bytes > limit && info.algorithm != ConvAlgorithm::implicit_gemm) {  // which can do without
      why = "takes " + std::to_string(info.workspace_bytes) + " bytes of workspace, over max_workspace";
    }
    const std::string name = algorithm_name(info.algorithm);
    if (!why.empty()) {
      others.push_back({name, false, std::move(why)});
    } else if (!list.empty()) {
      list.push_back({name, true, "the rule prefers " + list[0].algorithm});
    } else {
      if (!others.empty()) wanted = info.algorithm;
      list.push_back({name, true, info.reason});
    }
  }
  ConvPlan plan = plan_conv(geometry, batch, precision, limits_, wanted, options_.accuracy);
  if (plan.workspace_bytes > limit && plan.algorithm == ConvAlgorithm::implicit_gemm) {
    plan.split_k = 1;
    plan.workspace_bytes = 0;
    plan.reason += " (in one, as max_workspace asks)";
  }
  if (plan.workspace_bytes > limit)
    fail("max_workspace = ", limit, " bytes is too small for ", algorithm_name(plan.algorithm), ", which needs ", plan.workspace_bytes);
  list.insert(list.end(), others.begin(), others.end());
  return {std::move(plan), std::move(list)};
}

template <class T>
const void* Lowering<T>::packed(ValueId weight, const ConvPlan& plan) {
  return constants_.get(weight, packed_form(plan), [&] {
    const auto& scale = graph_[weight].as<op::Constant>()->scale;
    return pack_weights(plan, constant_data(weight), scale ? scale->data() : nullptr);
  });
}

template <class T>
int Lowering<T>::workspace(std::size_t bytes) {
  if (bytes == 0) return -1;
  const int buffer = buffers_.add_arena(bytes);
  buffers_.use(buffer);
  return buffer;
}

template <class T>
void Lowering<T>::run_conv(ValueId id, const Activation& activation, const Images& x, const Images& y, const std::optional<Images>& residual) {
  const Node& node = graph_[id];
  check_constant_weights(graph_, node);
  const Choice choice = choose(geometry_of(graph_, node), x.view.n);
  const ConvPlan& plan = choice.plan;
  const void* weights = packed(node.inputs[1], plan);
  Epilogue<T> epilogue;
  epilogue.bias = floats(node.input(2));
  epilogue.activation = activation;
  const int scratch = workspace(plan.workspace_bytes);
  const auto run = [=, plan = plan](void* const* b, cudaStream_t stream) {
    Epilogue<T> e = epilogue;
    if (residual) e.residual = residual->at(b);
    cuda::run_conv<T>(plan, x.at(b), weights, e, y.at(b), scratch < 0 ? nullptr : b[scratch], stream);
  };
  StepInfo& info = residual ? emit(id, run, x, y, *residual) : emit(id, run, x, y);
  if (residual) info.op += "+add";
  info.op += activation_suffix(activation);
  info.algorithm = algorithm_name(plan.algorithm);
  info.reason = plan.reason;
  info.error_class = plan.error_class;
  info.macs = plan.geometry.macs() * x.view.n;
  info.bytes += plan.packed_bytes;
  info.workspace = plan.workspace_bytes;
  info.value = id;
  info.considered = [list = choice.considered] { return list; };
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Conv2d& o) {
  const Node& node = graph_[id];
  const ValueId residual = node.input(3);
  const Images x = images(channels_last(node.inputs[0]), graph_.shape(node.inputs[0]));
  std::optional<Images> r;
  if (residual != kNone) {
    const Place& added = channels_last(residual);
    r = images(added, node.shape);
    if (&added == &places_[residual] && r->buffer != x.buffer) reuse(id, residual);
  }
  define(id, kChannelsLast);
  run_conv(id, o.activation, x, images(id), r);
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::Linear& o) {
  const Node& node = graph_[id];
  const ValueId residual = node.input(3);
  const Images x = pixels(node.inputs[0]);
  std::optional<Images> r;
  if (residual != kNone) {
    r = pixels(residual);
    if (r->buffer == places_[residual].buffer && r->buffer != x.buffer) reuse(id, residual);
  }
  define(id, logical_order(node.shape.size()));
  run_conv(id, o.activation, x, pixels(id), r);
}

template <class T>
void Lowering<T>::lower(ValueId id, const op::ConvTranspose2d& o) {
  const Node& node = graph_[id];
  const ValueId input = node.inputs[0], weight = node.inputs[1];
  check_constant_weights(graph_, node);
  const Images x = images(channels_last(input), graph_.shape(input));
  ConvTransposePlan plan = plan_conv_transpose(geometry_of(graph_, node), x.view.n, options_.precision, limits_, options_.accuracy);
  plan.workspace_bytes = 0;
  for (ConvTransposePlan::Phase& phase : plan.phases) {
    ConvPlan& p = phase.plan;
    if (options_.max_workspace && p.workspace_bytes > *options_.max_workspace) {
      if (p.algorithm != ConvAlgorithm::implicit_gemm)
        fail("max_workspace = ", *options_.max_workspace, " bytes is too small for a transposed convolution by ",
             algorithm_name(p.algorithm), ", which needs ", p.workspace_bytes);
      p.split_k = 1;
      p.workspace_bytes = 0;
    }
    plan.workspace_bytes = std::max(plan.workspace_bytes, p.workspace_bytes);
  }
  std::string form = "packed, transposed";
  for (const ConvTransposePlan::Phase& phase : plan.phases) form += ", " + packed_form(phase.plan);
  const void* weights = constants_.get(weight, form, [&] { return pack_weights(plan, constant_data(weight)); });
  define(id, kChannelsLast);
  const Images y = images(id);
  Epilogue<T> epilogue;
  epilogue.bias = floats(node.input(2));
  epilogue.activation = o.activation;
  const int scratch = workspace(plan.workspace_bytes);
  const auto run = [=](void* const* b, cudaStream_t stream) {
    cuda::run_conv_transpose<T>(plan, x.at(b), weights, epilogue, y.at(b), scratch < 0 ? nullptr : b[scratch], stream);
  };
  StepInfo& info = emit(id, run, x, y);
  info.op += activation_suffix(epilogue.activation);
  info.macs = plan.geometry.macs() * x.view.n;
  info.bytes += plan.packed_bytes;
  info.workspace = plan.workspace_bytes;
}

#define INSTANTIATE(T)                                 \
  template void Lowering<T>::lower(ValueId, const op::Conv2d&);          \
  template void Lowering<T>::lower(ValueId, const op::Linear&);          \
  template void Lowering<T>::lower(ValueId, const op::ConvTranspose2d&);
INSTANTIATE(float)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace fastconv::cuda
