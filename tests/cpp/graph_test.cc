// Properties of graphs that Python cannot see.
#include "fastconv/graph.h"

#include <cmath>
#include <limits>

#include "graph/passes.h"
#include "test.h"

using namespace fastconv;

namespace {

std::shared_ptr<const void> numbers(index_t count, float value) {
  auto owner = std::make_shared<std::vector<float>>(count, value);
  return {owner, owner->data()};
}

ValueId conv(Graph& graph, ValueId x, index_t out_channels) {
  const Shape weight{out_channels, graph.shape(x)[1], 1, 1};
  return graph.add(op::Conv2d{}, {x, graph.add_constant(weight, DType::f32, numbers(checked_size(weight), 1))});
}

int count(const Graph& graph, const std::string& name) {
  int found = 0;
  for (ValueId id = 0; id < graph.size(); ++id) found += name == operator_name(graph[id].op);
  return found;
}

}  // namespace

TEST(affine_maps_fold_into_weights) {
  Graph graph;
  const ValueId x = graph.add_input({1, 2, 4, 4}, DType::f32);
  ValueId y = conv(graph, x, 3);
  const ValueId three = graph.add_constant({3}, DType::f32, numbers(3, 3)), half = graph.add_constant({3, 1, 1}, DType::f32, numbers(3, 0.5f));
  y = graph.add(op::BatchNorm{0}, {y, three, graph.add_constant({3}, DType::f32, numbers(3, 4))});  // (y - 3) / 2
  y = graph.add(op::Pointwise{PointwiseProgram::of(Instruction::multiply)}, {half, y});
  y = graph.add(op::Pointwise{}, {y, graph.add_constant({}, DType::f32, numbers(1, 1))});
  graph.set_outputs({y});
  const Graph g = optimize(graph);
  CHECK(count(g, "conv2d") == 1 && count(g, "constant") == 2 && g.size() == 4);
  const Node& node = g[g.outputs()[0]];
  const auto constant = [&](int i) { return *g[node.inputs[i]].as<op::Constant>(); };
  const auto first = [&](int i) { return *static_cast<const float*>(constant(i).data.get()); };
  CHECK(first(1) == 1 && *constant(1).scale == std::vector(3, 0.25));  // 1 / 2 * 0.5
  CHECK(first(2) == -0.75f + 1.0f);                                    // -3 / 2 * 0.5 + 1
}

TEST(averages_of_pointwise_convolutions_are_taken_first) {
  const auto first_operator = [](const op::Pool& pool, bool activated = false, bool tapped = false) {
    Graph graph;
    const ValueId x = graph.add_input({1, 2, 4, 4}, DType::f32), mixed = conv(graph, x, 3);
    const ValueId y = graph.add(pool, {activated ? graph.add(op::Activate{}, {mixed}) : mixed});
    graph.set_outputs(tapped ? std::vector{y, mixed} : std::vector{y});
    const Graph g = optimize(graph);
    CHECK(g.shape(g.outputs()[0]) == graph.shape(y));
    for (ValueId id = 0; id < g.size(); ++id)
      if (!g[id].inputs.empty()) return std::string(operator_name(g[id].op));
    return std::string();
  };
  const op::Pool halves{op::Pool::Kind::average, {2, 2}, {2, 2}};
  CHECK(first_operator(halves) == "avg_pool2d");
  CHECK(first_operator(halves, true) == "conv2d");
  CHECK(first_operator(halves, false, true) == "conv2d");
  CHECK(first_operator({op::Pool::Kind::max, {2, 2}, {2, 2}}) == "conv2d");
  CHECK(first_operator({op::Pool::Kind::average, {3, 3}, {2, 2}, {1, 1}}) == "conv2d");         // zeros count
  CHECK(first_operator({op::Pool::Kind::average, {3, 3}, {1, 1}, {0, 0}}) == "avg_pool2d");     // 4 pixels of 16
  CHECK(first_operator({op::Pool::Kind::average, {2, 2}, {1, 1}, {0, 0}}) == "conv2d");         // 9 of 16
}

TEST(graphs_with_other_scales_differ) {
  const auto data = numbers(2, 1);
  const auto graph = [&](std::shared_ptr<const std::vector<double>> scale) {
    Graph g;
    g.add_constant({2}, DType::f32, data, std::move(scale));
    return g;
  };
  const auto scale = [](double first) { return std::make_shared<const std::vector<double>>(std::vector{first, 1.0}); };
  CHECK(graph(scale(2)).same_but_sizes(graph(scale(2))) && graph(nullptr).same_but_sizes(graph(nullptr)));
  CHECK(!graph(scale(2)).same_but_sizes(graph(scale(3))) && !graph(scale(2)).same_but_sizes(graph(nullptr)));
  CHECK(!graph(nullptr).same_but_sizes(graph(scale(2))));
}

TEST(networks_for_other_sizes_have_the_same_nodes) {
  const auto ones = numbers(16, 1), sixteen = numbers(256, 1);
  const auto network = [&](index_t batch, index_t side, index_t stride) {
    Graph graph;
    const ValueId x = graph.add_input({batch, 16, side, side}, DType::f32);
    const auto conv = [&](ValueId value, index_t by) {
      return graph.add(op::Conv2d{{by, by}, {}, {1, 1}, 1, Activation::none}, {value, graph.add_constant({16, 16, 1, 1}, DType::f32, sixteen)});
    };
    const ValueId vector = graph.add_constant({16}, DType::f32, ones);
    ValueId y = graph.add(op::Activate{Activation::relu}, {conv(x, stride)});
    y = graph.add(op::BatchNorm{}, {conv(y, 1), vector, vector});
    y = graph.add(op::Reshape{{batch, checked_size(graph.shape(y)) / batch}}, {y});
    graph.set_outputs({graph.add(op::Slice{{0, 0}, {batch, 8}, {1, 1}}, {y})});
    return optimize(graph);
  };
  const Graph graph = network(2, 4, 1);
  CHECK(graph.same_but_sizes(network(5, 4, 1)) && graph.same_but_sizes(network(2, 9, 1)));
  CHECK(!graph.same_but_sizes(network(2, 4, 2)));
}

TEST(shapes_that_do_not_fit_are_refused) {
  Graph graph;
  const ValueId x = graph.add_input({1, 2, 4, 4}, DType::f32);
  CHECK_THROWS(graph.add(op::Reshape{{1, 3}}, {x}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::Permute{{0, 1, 1, 2}}, {x}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::Slice{{0, 0, 0, 0}, {1, 2, 4, 5}, {1, 1, 1, 1}}, {x}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::Slice{{0, 0, 0, 0}, {1, 2, 4, 4}, {1, 1, 1, 0}}, {x}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::Reduce{ReduceKind::mean, {4}, false}, {x}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::ChannelShuffle{3}, {x}), std::invalid_argument);
  const ValueId values = graph.add_input({2}, DType::f32);
  CHECK_THROWS(graph.add(op::BatchNorm{}, {x, values, values}), std::invalid_argument);  // no arrays
  CHECK_THROWS(graph.add(op::Matmul{}, {x, graph.add_input({3, 4}, DType::f32)}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::Linear{}, {x, graph.add_constant({2, 3}, DType::f32, numbers(6, 1))}), std::invalid_argument);
}

TEST(sizes_that_overflow_and_inputs_that_lack_are_refused) {
  constexpr index_t kHuge = index_t{1} << 62, kLeast = std::numeric_limits<index_t>::min();
  Graph graph;
  const ValueId x = graph.add_input({1, 4, 4, 4}, DType::f32), empty = graph.add_input({0, kHuge / 16, 1, 1}, DType::f32);
  const ValueId vector = graph.add_constant({4}, DType::f32, numbers(4, 1));
  for (const index_t factor : {index_t{0}, index_t{-1}, index_t{1} << 31, index_t{1} << 32, kHuge, kLeast})
    CHECK_THROWS(graph.add(op::PixelShuffle{factor}, {x}), std::invalid_argument);
  for (const index_t factor : {index_t{0}, index_t{-1}, index_t{3}, kHuge, kLeast})
    CHECK_THROWS(graph.add(op::PixelUnshuffle{factor}, {x}), std::invalid_argument);
  for (const index_t index : {index_t{-1}, index_t{4}, kHuge, kLeast}) {
    CHECK_THROWS(graph.add(op::Take{1, {0, index}}, {x}), std::invalid_argument);
    CHECK_THROWS(graph.add(op::ScatterAdd{1, {0, 1, 2, index}}, {x, x}), std::invalid_argument);
  }
  for (const index_t times : {kHuge, kLeast, index_t{-1}})
    CHECK_THROWS(graph.add(op::Tile{{1, times, 1, 1}}, {x}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::Tile{{1, 1, 1}}, {x}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::Take{4, {0}}, {x}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::ScatterAdd{1, {0, 1, 2}}, {x, x}), std::invalid_argument);
  for (const index_t n : {kHuge, kLeast}) {
    CHECK_THROWS(graph.add(op::Pad{op::Pad::Mode::constant, {0, 0, n, 0}, {0, 0, n, 0}, 0}, {x}), std::invalid_argument);
    CHECK_THROWS(graph.add(op::Slice{{0, 0, 0, n}, {1, 4, 4, 4}, {1, 1, 1, n > 0 ? -1 : 1}}, {x}), std::invalid_argument);
    CHECK_THROWS(graph.add(op::Interpolate{{}, {n, n}}, {x}), std::invalid_argument);
    CHECK_THROWS(graph.add(op::AdaptivePool{{}, {n, n}}, {x}), std::invalid_argument);
  }
  CHECK_THROWS(graph.add(op::Concat{1}, std::vector<ValueId>(40, empty)), std::invalid_argument);
  for (const Interpolation& how :
       {Interpolation{.scale = {NAN, 0}}, Interpolation{.antialias = true}, Interpolation{.cubic_coeff_a = NAN},
        Interpolation{.mode = Interpolation::Mode::bilinear, .exclude_outside = true}})
    CHECK_THROWS(graph.add(op::Interpolate{how, {2, 2}}, {x}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::Conv2d{}, {x}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::BatchNorm{}, {x, vector}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::ScaleShift{1}, {x, kNone, vector}), std::invalid_argument);
  CHECK_THROWS(graph.add(op::Activate{}, {x + 100}), std::invalid_argument);
  CHECK_THROWS(graph.set_outputs({x + 100}), std::invalid_argument);
  // The last element of a slice with a huge step is its first.
  CHECK(graph.shape(graph.add(op::Slice{{0, 0, 0, 1}, {1, 4, 4, 4}, {1, 1, 1, kHuge}}, {x})) == (Shape{1, 4, 4, 1}));
  CHECK(graph.shape(graph.add(op::Slice{{0, 0, 0, 3}, {1, 4, 4, -1}, {1, 1, 1, kLeast}}, {x})) == (Shape{1, 4, 4, 1}));
}
