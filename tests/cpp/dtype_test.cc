// Dtypes of values: their sizes, how graphs infer them, and that moves keep every bit.
#include <cstring>
#include <numeric>

#include "core/fence.h"
#include "fastconv/graph.h"
#include "fastconv/network.h"
#include "fastconv/words.h"
#include "test.h"

using namespace fastconv;

namespace {

constexpr DType kAll[] = {DType::f32, DType::f64, DType::f16, DType::bf16,   DType::i8,
                          DType::u8,  DType::i32, DType::i64, DType::boolean};

template <class T>
concept Element = requires { DTypeOf<T>::value; };

template <class T>
constexpr bool is_element_of(DType dtype) {
  return dtype_of<T> == dtype && sizeof(T) == item_size(dtype);
}
static_assert(is_element_of<float>(DType::f32) && is_element_of<double>(DType::f64) && is_element_of<bool>(DType::boolean));
static_assert(is_element_of<float16>(DType::f16) && is_element_of<bfloat16>(DType::bf16));
static_assert(is_element_of<std::int8_t>(DType::i8) && is_element_of<std::uint8_t>(DType::u8));
static_assert(is_element_of<std::int32_t>(DType::i32) && is_element_of<std::int64_t>(DType::i64));
static_assert(!Element<std::uint16_t> && !Element<std::uint32_t> && !Element<char> && !Element<long double>);

using Bytes = std::vector<unsigned char>;

Bytes counted(std::size_t count) {
  Bytes bytes(count);
  std::iota(bytes.begin(), bytes.end(), static_cast<unsigned char>(201));
  return bytes;
}

std::shared_ptr<const void> shared(Bytes bytes) {
  auto owner = std::make_shared<Bytes>(std::move(bytes));
  return {owner, owner->data()};
}

std::string what(const auto& thrower) {
  try {
    thrower();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST(dtypes_have_numpys_names) {
  CHECK(all_words<DType>() == "float32, float64, float16, bfloat16, int8, uint8, int32, int64, bool");
  for (std::size_t i = 0; i < std::size(kAll); ++i) CHECK(static_cast<std::size_t>(kAll[i]) == i);
}

TEST(values_of_each_dtype_are_moved_as_they_are) {
  for (const DType dtype : kAll) {
    const std::size_t item = item_size(dtype);
    const Bytes x = counted(12 * item), c = counted(4 * item);
    Graph graph;
    const ValueId input = graph.add_input({3, 4}, dtype);
    const ValueId constant = graph.add_constant({1, 4}, dtype, shared(c));
    const ValueId joined = graph.add(op::Concat{0}, {constant, input, constant});                      // (5, 4)
    const ValueId sliced = graph.add(op::Slice{{4, 0}, {0, 4}, {-2, 1}}, {joined});                    // rows 4 and 2
    const ValueId flat = graph.add(op::Reshape{{8}}, {sliced});
    const ValueId column = graph.add(op::Slice{{0, 1}, {3, 2}, {1, 1}}, {input});                      // (3, 1)
    graph.set_outputs({flat, column});
    for (ValueId id = 0; id < graph.size(); ++id) CHECK(graph.dtype(id) == dtype);
    Bytes y(8 * item), z(3 * item), expected, expected_column;
    expected.insert(expected.end(), c.begin(), c.end());
    expected.insert(expected.end(), x.begin() + 4 * item, x.begin() + 8 * item);
    for (int row = 0; row < 3; ++row)
      expected_column.insert(expected_column.end(), x.begin() + (4 * row + 1) * item, x.begin() + (4 * row + 2) * item);
    const auto network = compile_network(graph, {});
    CHECK(network->arena_bytes() >= 20 * item && network->arena_bytes() <= 20 * item + 8 * item + 2 * (64 + kFenceBytes));
    network->run({x.data()}, {y.data(), z.data()}, {});
    CHECK(y == expected && z == expected_column);
  }
}

TEST(results_have_the_dtype_of_the_inputs) {
  Graph graph;
  const ValueId a = graph.add_input({1, 2}, DType::i32), b = graph.add_input({1, 2}, DType::f32);
  CHECK(graph.dtype(graph.add(op::Pointwise{}, {a, a})) == DType::i32);
  CHECK(what([&] { graph.add(op::Pointwise{PointwiseProgram::of(Instruction::multiply)}, {a, b}); }) ==
        "multiply: the inputs must have one dtype, but inputs[0] is int32 and inputs[1] is float32");
  CHECK(what([&] { graph.add(op::Concat{0}, {b, a, b}); }) ==
        "concat: the inputs must have one dtype, but arrays[0] is float32 and arrays[1] is int32");
  const ValueId vector = graph.add_constant({2}, DType::f32, shared(Bytes(8)));
  const ValueId other = graph.add_constant({2}, DType::f16, shared(Bytes(4)));
  CHECK(what([&] { graph.add(op::BatchNorm{}, {b, vector, vector, kNone, other}); }) ==
        "batch_norm: the inputs must have one dtype, but x is float32 and bias is float16");
  CHECK(what([&] { graph.add(op::Concat{0}, {}); }) != "");
}

TEST(passes_keep_dtypes) {
  Graph graph;
  const Shape image{1, 2, 3, 3};
  const ValueId x = graph.add_input(image, DType::i8), weight = graph.add_constant({2, 2, 1, 1}, DType::i8, shared(Bytes(4)));
  const ValueId two = graph.add_constant({2, 1, 1}, DType::i8, shared(Bytes(2, 2)));
  ValueId y = graph.add(op::Conv2d{}, {x, weight});
  y = graph.add(op::Pointwise{PointwiseProgram::of(Instruction::multiply)}, {y, two});  // integers do not fold
  y = graph.add(op::Permute{{0, 2, 3, 1}}, {graph.add(op::Activate{}, {y})});
  y = graph.add(op::Pointwise{}, {y, graph.add_constant({2}, DType::i8, shared(Bytes(2)))});
  graph.set_outputs({y});
  const Graph g = optimize(graph);
  int products = 0;
  for (ValueId id = 0; id < g.size(); ++id) {
    CHECK(g.dtype(id) == DType::i8);
    products += std::string(operator_name(g[id].op)) == "multiply";
  }
  CHECK(products == 1);
  CHECK(what([&] { compile_network(graph, {}); }) == "conv2d has no kernel for int8 on the CPU");
}
