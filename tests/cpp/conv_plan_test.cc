// Plans of convolutions: data that is made without weights, and what packs and runs them.
#include "fastconv/conv.h"
#include "random.h"
#include "test.h"

using namespace fastconv;

namespace {

ConvGeometry geometry(index_t channels, index_t size, index_t kernel, index_t groups = 1) {
  const index_t pad = kernel / 2;
  return conv_geometry({1, channels, size, size}, {channels, channels / groups, kernel, kernel}, {1, 1},
                       {Padding::Mode::explicit_sizes, pad, pad, pad, pad}, {1, 1}, groups);
}

// All bytes of packed weights that a plan promises are those of the engine that it is made for.
template <class T>
void check_promises(const ConvPlan& plan, Random& random) {
  const ConvGeometry& g = plan.task.geometry;
  const std::vector<T> weight = random.integers<T>(g.out_channels * g.group_in() * g.taps());
  const auto arena = std::make_shared<Arena>();
  const Conv2d<T> conv(plan, weight.data(), nullptr, {/*fall_back=*/false, arena});
  CHECK(conv.plan() == plan);
}

}  // namespace

TEST(conv_plan_is_made_without_weights) {
  Random random(1);
  for (const index_t groups : {index_t{1}, index_t{4}, index_t{64}})
    for (const index_t kernel : {1, 3, 5})
      for (const Algorithm a : {Algorithm::automatic, Algorithm::reference, Algorithm::im2col, Algorithm::direct}) {
        const ConvGeometry g = geometry(64, 12, kernel, groups);
        const ConvPlan plan = plan_conv({g}, a);
        CHECK(plan.algorithm != Algorithm::automatic);
        CHECK(a == Algorithm::automatic || plan.algorithm == a);
        CHECK(!plan.reason.empty());
        CHECK(plan.packed_bytes >= static_cast<std::size_t>(g.out_channels * g.group_in() * g.taps()) * sizeof(float));
        CHECK(plan == plan_conv({g}, a));
        check_promises<float>(plan, random);
        check_promises<double>(plan_conv({g, DType::f64}, a), random);
      }
}

TEST(conv_plan_for_one_call_keeps_no_weights) {
  const ConvGeometry g = geometry(64, 28, 3);
  ConvTask once{g};
  once.one_call = true;
  for (const Algorithm a : {Algorithm::im2col, Algorithm::direct, Algorithm::winograd4}) {
    CHECK(plan_conv({g}, a).packed_bytes > 0);
    CHECK(plan_conv(once, a).packed_bytes == 0);
  }
}

TEST(conv_plans_compare) {
  const ConvPlan plan = plan_conv({geometry(64, 56, 3)}), other_size = plan_conv({geometry(64, 64, 3)});
  const ConvPlan small = plan_conv({geometry(64, 7, 3)});
  CHECK(plan != other_size);
  CHECK(packs_alike(plan, other_size));
  CHECK(plan.algorithm != small.algorithm);  // another tile of Winograd
  CHECK(!packs_alike(plan, small));
  CHECK(!packs_alike(plan, plan_conv({geometry(64, 56, 3)}, Algorithm::direct)));
  CHECK(!packs_alike(plan, plan_conv({geometry(64, 56, 3), DType::f64})));
  CHECK(!packs_alike(plan, plan_conv({geometry(64, 56, 3), DType::f32, Activation::relu})));
}

TEST(conv_plan_as_text) {
  const std::string text = describe(plan_conv({geometry(64, 56, 3)}));
  CHECK(text.starts_with("winograd4 (3x3, stride 1, 16 channels or more): 64x56x56 -> 64x56x56, kernel 3x3, stride 1,1, "
                         "padding 1,1,1,1, dilation 1,1, groups 1, float32, channel blocks; "));
  CHECK(text.ends_with(" of workspace"));
}

TEST(conv2d_shares_packed_weights_with_other_sizes) {
  Random random(2);
  const ConvPlan plan = plan_conv({geometry(32, 12, 3)}, Algorithm::direct), other = plan_conv({geometry(32, 9, 3)}, Algorithm::direct);
  const auto weight = random.integers<float>(32 * 32 * 9), bias = random.integers<float>(32), x = random.integers<float>(32 * 9 * 9);
  const Conv2d<float> first(plan, weight.data(), bias.data()), fresh(other, weight.data(), bias.data());
  const Conv2d<float> shared(first, other);
  CHECK(shared.plan() == other);
  std::vector<float> expected(32 * 9 * 9), y(expected.size());
  fresh.run(nchw_view(x.data(), 1, 32, 9, 9), nullptr, nchw_view(expected.data(), 1, 32, 9, 9));
  shared.run(nchw_view(x.data(), 1, 32, 9, 9), nullptr, nchw_view(y.data(), 1, 32, 9, 9));
  CHECK(y == expected);
}

TEST(conv2d_falls_back_where_weights_round_too_much) {
  // Weights that cancel in a Winograd transform of one row: huge ones that others never see.
  ConvPlan plan = plan_conv({geometry(16, 28, 3)}, Algorithm::winograd4);
  std::vector<float> weight(16 * 16 * 9, 1e-6f);
  for (std::size_t i = 0; i < weight.size(); i += 9) weight[i] = i / 9 % 16 == 0 ? 1e6f : -1e6f / 15;
  const Conv2d<float> stays(plan, weight.data(), nullptr, {/*fall_back=*/false});
  CHECK(stays.plan() == plan);
  const Conv2d<float> falls(plan, weight.data(), nullptr);
  CHECK(falls.plan().algorithm != plan.algorithm);
  CHECK(falls.plan().reason.starts_with("with these weights the rounding error of winograd"));
  const Conv2d<float> other(falls, plan_conv({geometry(16, 32, 3)}, Algorithm::winograd4));
  CHECK(other.plan().algorithm == falls.plan().algorithm);
  CHECK(other.plan().reason == falls.plan().reason);
  CHECK(other.plan().task.geometry.in_h == 32);
}

TEST(conv_transpose_plan_is_data) {
  const auto plan_of = [](index_t size, index_t kernel) {
    return plan_conv_transpose({conv_transpose_geometry({1, 32, size, size}, {32, 16, kernel, kernel}, {2, 2}, {1, 1}, {0, 0}, {1, 1}, 1)});
  };
  const ConvTransposePlan plan = plan_of(12, 4);
  CHECK(plan == plan_of(12, 4));
  CHECK(plan.phases.size() == 4);
  for (const auto& phase : plan.phases) CHECK(phase.taps.size() == 4);
  CHECK(plan.packed_bytes >= 32 * 16 * 16 * sizeof(float));
  CHECK(plan != plan_of(14, 4));
  CHECK(packs_alike(plan, plan_of(14, 4)));
  CHECK(!packs_alike(plan, plan_of(12, 3)));
}

TEST(conv_transpose_for_one_call_transforms_no_weights) {
  ConvTask task{conv_transpose_geometry({1, 64, 28, 28}, {64, 64, 4, 4}, {2, 2}, {1, 1}, {0, 0}, {1, 1}, 1)};
  CHECK(plan_conv_transpose(task).is_winograd());
  task.one_call = true;
  const ConvTransposePlan plan = plan_conv_transpose(task);
  CHECK(plan.phases.size() == 4);
  for (const auto& phase : plan.phases) CHECK(!phase.dense.task.one_call);
}
