// What both back ends decide of memory.
#include "core/fence.h"
#include "cpu/layouts.h"
#include "fastconv/memory.h"
#include "plan/concat_homes.h"
#include "plan/memory_plan.h"
#include "plan/places.h"
#include "plan/pool.h"
#include "test.h"

using namespace fastconv;

namespace {

// A small generator, for the same numbers everywhere.
struct Random {
  unsigned state = 1;
  int below(int n) {
    state = state * 1664525u + 1013904223u;
    return static_cast<int>((state >> 16) % static_cast<unsigned>(n));
  }
};

bool meet(std::size_t begin, std::size_t size, std::size_t other_begin, std::size_t other_size) {
  return begin < other_begin + other_size && other_begin < begin + size;
}

ValueId conv(Graph& graph, ValueId x, index_t out_channels) {
  const Shape weight{out_channels, graph.shape(x)[1], 1, 1};
  auto ones = std::make_shared<std::vector<float>>(checked_size(weight), 1.0f);
  return graph.add(op::Conv2d{}, {x, graph.add_constant(weight, DType::f32, {ones, ones->data()})});
}

struct Place {
  int buffer = -1;
  index_t offset = 0;
};

}  // namespace

TEST(buffers_in_use_at_once_do_not_overlap) {
  Random random;
  for (int round = 0; round < 200; ++round) {
    std::vector<Lifetime> buffers;
    std::size_t sum = 0, busiest = 0;
    const int steps = 1 + random.below(30);
    for (int i = 0; i < 1 + random.below(40); ++i) {
      const int first = random.below(steps);
      buffers.push_back({static_cast<std::size_t>(random.below(1000)), first, first + random.below(steps - first)});
      sum += (buffers.back().bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
    const MemoryPlan plan = plan_memory(buffers);
    for (int step = 0; step < steps; ++step) {
      std::size_t live = 0;
      for (const Lifetime& b : buffers)
        if (b.first <= step && step <= b.last) live += b.bytes;
      busiest = std::max(busiest, live);
    }
    CHECK(plan.bytes <= sum && plan.bytes >= busiest);
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      CHECK(plan.offsets[i] % kAlignment == 0);
      CHECK(plan.offsets[i] + buffers[i].bytes <= plan.bytes);
      for (std::size_t j = 0; j < i; ++j)
        if (buffers[i].first <= buffers[j].last && buffers[j].first <= buffers[i].last)
          CHECK(!meet(plan.offsets[i], buffers[i].bytes, plan.offsets[j], buffers[j].bytes));
    }
  }
}

TEST(a_chain_takes_two_buffers) {
  std::vector<Lifetime> chain;
  for (int i = 0; i < 10; ++i) chain.push_back({640, i, i + 1});
  CHECK(plan_memory(chain).bytes == 2 * 640);
}

TEST(features_live_in_the_last_concatenation) {
  Graph graph;
  const index_t c = channel_block(DType::f32);
  const ValueId x = graph.add_input({2, c, 4, 4}, DType::f32);
  const ValueId a = conv(graph, x, c), b = conv(graph, a, 2 * c);
  const ValueId ab = graph.add(op::Concat{1}, {a, b});
  const ValueId d = conv(graph, ab, c + 1);
  const ValueId abd = graph.add(op::Concat{1}, {a, b, d});
  graph.set_outputs({conv(graph, abd, 1)});
  const std::vector<bool> blocked = choose_blocked(graph);
  const auto homes = concat_homes(graph, blocked, writes_blocks(graph, blocked));
  CHECK(homes[a].parent == abd && homes[a].channel == 0);
  CHECK(homes[b].parent == abd && homes[b].channel == c);
  CHECK(homes[d].parent == abd && homes[d].channel == 3 * c);
  CHECK(homes[ab].parent == abd && homes[ab].channel == 0);  // a part of the larger one, not copied
  CHECK(homes[abd].parent == kNone);
}

TEST(a_value_takes_the_place_of_one_that_nobody_needs) {
  Graph graph;
  const ValueId x = graph.add_input({1, 2, 3, 3}, DType::f32), a = graph.add(op::Activate{}, {x}), b = graph.add(op::Activate{}, {a});
  const ValueId c = graph.add(op::Pointwise{}, {a, b}), smaller = graph.add(op::Reduce{ReduceKind::mean, {1}, true}, {c});
  graph.set_outputs({smaller});
  Buffers buffers(graph);
  Places<Place, bool> places(graph, buffers, std::vector<Home>(graph.size()));
  places.put(x, {buffers.add({Buffer::Kind::input})});
  CHECK(!places.reuse(a, x));  // the caller's array
  places.put(a, {buffers.add_arena(72)});
  CHECK(!places.reuse(b, a));  // c reads a
  places.put(b, {buffers.add_arena(72)});
  CHECK(places.reuse(c, a) && places[c].buffer == places[a].buffer);
  CHECK(!places.reuse(c, b));        // has a place
  CHECK(!places.reuse(smaller, c));  // of another shape
  buffers.need_until(b, smaller);
  CHECK(buffers.is_free_at(places[b].buffer, smaller) && !buffers.is_free_at(places[b].buffer, c));
}

TEST(parts_of_a_concatenation_lie_in_it) {
  Graph graph;
  const ValueId x = graph.add_input({1, 2, 3, 3}, DType::f32), a = graph.add(op::Activate{}, {x}), b = graph.add(op::Activate{}, {x});
  const ValueId both = graph.add(op::Concat{1}, {a, b});
  graph.set_outputs({both});
  Buffers buffers(graph);
  Places<Place, bool> places(graph, buffers, {{}, {both, 0}, {both, 2}, {}});
  const auto make = [&](ValueId) -> Place { return {buffers.add_arena(144), 5}; };
  const auto part = [](Place whole, index_t channel, ValueId) -> Place { return {whole.buffer, whole.offset + 9 * channel}; };
  places.define(b, make, part);
  const Place home = places[both];
  CHECK(places.has(both) && home.offset == 5 && places[b].buffer == home.buffer && places[b].offset == 23);
  places.define(a, make, part);
  places.define(both, make, part);
  CHECK(places[a].offset == 5 && places[both].offset == 5);
  CHECK(places.is_there(b, {home.buffer, 23}) && !places.is_there(b, {home.buffer, 5}) && !places.is_there(x, home));
  CHECK(!places.reuse(a, x));
}

TEST(arenas_are_shared_by_buffers_that_are_in_use_at_different_steps) {
  Graph graph;
  graph.add_input({1}, DType::f32);
  Buffers buffers(graph);
  const int input = buffers.add({Buffer::Kind::input, 0}), output = buffers.add({Buffer::Kind::output, 0});
  int chain[4];
  for (int step = 0; step < 4; ++step) {
    chain[step] = buffers.add_arena(64);
    if (step > 0) buffers.use(chain[step - 1]);
    buffers.use(chain[step]);
    buffers.end_step();
  }
  const auto data = std::make_shared<const int>(1);
  const int constant = buffers.add_constant(data);
  const BufferPlan plan = std::move(buffers).plan();
  CHECK(plan.arena_bytes == 2 * (64 + kFenceBytes) && plan.offsets[chain[0]] != plan.offsets[chain[1]]);
  char arena[2 * (64 + kFenceBytes)];
  float x = 0, y = 0;
  const std::vector<void*> at = plan.addresses(arena, {&x}, {&y});
  CHECK(at[input] == &x && at[output] == &y && at[constant] == data.get());
  for (const int buffer : chain) CHECK(at[buffer] == arena + plan.offsets[buffer]);
}

TEST(a_pool_keeps_a_few_and_gives_what_fits) {
  Pool<AlignedArray<char>> pool;
  const auto take = [&](std::size_t bytes) {
    return pool.take([&](const AlignedArray<char>& kept) { return kept.size() >= bytes; });
  };
  CHECK(take(1).size() == 0);
  pool.give_back(AlignedArray<char>(10));
  pool.give_back(AlignedArray<char>(20));
  CHECK(take(15).size() == 20);
  CHECK(take(15).size() == 0);  // and the one that was too small made room
  CHECK(take(1).size() == 0);
  for (int i = 0; i < 6; ++i) pool.give_back(AlignedArray<char>(10));
  for (int i = 0; i < 4; ++i) CHECK(take(1).size() == 10);
  CHECK(take(1).size() == 0);
}
