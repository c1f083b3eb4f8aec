// Products of a value and a constant matrix become linear layers, whose weights are packed once,
// and into which the passes after this one fold what follows.
#include <algorithm>
#include <vector>

#include "graph/passes.h"

namespace fastconv {
namespace {

bool is_layer(const Graph& graph, const Node& node) {
  if (!node.as<op::Matmul>() || graph.is_constant(node.inputs[0]) || !graph.is_constant(node.inputs[1])) return false;
  const Shape &x = graph.shape(node.inputs[0]), &matrix = graph.shape(node.inputs[1]);
  const auto has_zero = [](auto begin, auto end) { return std::find(begin, end, 0) != end; };
  if (x.size() > 4 || matrix.size() != 2 || has_zero(matrix.begin(), matrix.end())) return false;
  if (x.size() > 1 && has_zero(x.begin() + 1, x.end())) return false;  // whatever the batch
  return node.dtype == DType::f32 || node.dtype == DType::f64;
}

// The matrix (k, n) as weights (n, k).
template <class T>
ValueId transposed(const Graph& from, ValueId matrix, Graph& to) {
  const index_t k = from.shape(matrix)[0], n = from.shape(matrix)[1];
  const T* b = static_cast<const T*>(from[matrix].as<op::Constant>()->data.get());
  auto weight = std::make_shared<std::vector<T>>(static_cast<std::size_t>(k * n));
  constexpr index_t kBlock = 64 / sizeof(T);  // lines are written to as a whole
  for (index_t first = 0; first < k; first += kBlock)
    for (index_t j = 0; j < n; ++j)
      for (index_t i = first; i < std::min(first + kBlock, k); ++i) (*weight)[j * k + i] = b[i * n + j];
  const ValueId id = to.add_constant({n, k}, from.dtype(matrix), std::shared_ptr<const void>(weight, weight->data()));
  to.set_name(id, from[matrix].name);
  return id;
}

}  // namespace

Graph products_to_linear(Graph graph) {
  if (!any_node(graph, [&](const Node& node) { return is_layer(graph, node); })) return graph;
  Rewriter r(graph);
  return r.run([&](ValueId id) {
    const Node& node = graph[id];
    if (!is_layer(graph, node)) return kNone;
    const ValueId matrix = node.inputs[1];
    const ValueId weight = node.dtype == DType::f32 ? transposed<float>(graph, matrix, r.out) : transposed<double>(graph, matrix, r.out);
    return r.out.add(op::Linear{}, {r.mapped(node.inputs[0]), weight, kNone, kNone}, node.name);
  });
}

}  // namespace fastconv
