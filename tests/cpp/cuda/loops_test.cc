// The arithmetic that decides how kernels walk over arrays: no device.
#include "cuda/loops.h"

#include <vector>

#include "cuda/depthwise.h"
#include "test.h"

using namespace fastconv;
using namespace fastconv::cuda;

TEST(loops_collapse) {
  {  // contiguous
    const index_t size[] = {2, 3, 4}, stride[] = {12, 4, 1};
    const Loops<2> loops = collapse<2>(3, size, {stride, stride});
    CHECK(loops.rank == 1 && loops.size[0] == 24 && loops.stride[1][0] == 1);
  }
  {  // NCHW -> NHWC: pixels and channels
    const index_t size[] = {2, 5, 3, 4}, x[] = {60, 12, 4, 1}, y[] = {60, 1, 20, 5};
    const Loops<2> loops = collapse<2>(4, size, {y, x});
    CHECK(loops.rank == 3);
    CHECK(loops.size[0] == 5 && loops.stride[0][0] == 1 && loops.stride[1][0] == 12);
    CHECK(loops.size[1] == 12 && loops.stride[0][1] == 5 && loops.stride[1][1] == 1);
    const Loops<2> rest = loops.without(1).without(0);
    CHECK(rest.rank == 1 && rest.size[0] == 2 && rest.stride[0][0] == 60);
  }
  {  // (N, C, 1, 1) onto (N, C, H, W) in memory as NHWC: three loops, the gate's repeats over pixels
    const index_t size[] = {2, 8, 3, 3}, y[] = {72, 1, 24, 8}, gate[] = {8, 1, 0, 0};
    const Loops<3> loops = collapse<3>(4, size, {y, y, gate});
    CHECK(loops.rank == 3 && loops.size[1] == 9 && loops.stride[2][1] == 0 && loops.stride[2][2] == 8);
    alignas(16) float memory[4];
    CHECK(vectorizable<3>(loops, 4, {memory, memory, memory}, {4, 4, 4}));
    CHECK(!vectorizable<3>(loops, 4, {memory, memory, memory + 1}, {4, 4, 4}));
    CHECK(vectorized(loops, 4).size[0] == 2 && vectorized(loops, 4).stride[0][0] == 4);
  }
  {  // one element, and none
    const index_t ones[] = {1, 1}, none[] = {3, 0}, stride[] = {7, 7};
    CHECK(collapse<1>(2, ones, {stride}).count() == 1 && collapse<1>(0, ones, {stride}).count() == 1);
    CHECK(collapse<1>(2, none, {stride}).count() == 0);
  }
}

TEST(loops_split_into_parts) {
  const index_t size[] = {3, 5, 7}, a[] = {100, 9, 1}, b[] = {1, -3, 40};
  const Loops<2> loops = collapse<2>(3, size, {a, b});
  std::vector<int> seen(400);
  int parts = 0;
  for_parts(
      loops,
      [&](const Loops<2>& part, const index_t(&offset)[2]) {
        ++parts;
        const Steps<2> steps(part);
        CHECK(steps.count < 10);
        for (std::uint32_t i = 0; i < steps.count; ++i) {
          index_t at[2];
          steps.offsets(i, at);
          const index_t first = offset[0] + at[0];
          ++seen[static_cast<std::size_t>(first)];
          CHECK(offset[1] + at[1] == first / 100 - 3 * (first % 100 / 9) + 40 * (first % 100 % 9));
        }
      },
      10);
  CHECK(parts > 10);
  int count = 0;
  for (const int s : seen) {
    CHECK(s <= 1);
    count += s;
  }
  CHECK(count == 105);
}

TEST(depthwise_tiles_fill_the_device) {
  struct Layer {
    index_t channels, size;
    int kernel;
  };
  for (const Layer& l : {Layer{144, 56, 3}, {384, 14, 3}, {960, 7, 3}, {96, 56, 7}, {768, 7, 7}, {240, 28, 5}, {672, 14, 5}})
    for (const int bytes : {2, 4}) {
      const DepthwiseTile t = depthwise_tile(1, l.size, l.size, l.channels, l.kernel, bytes);
      const index_t blocks = ceil_div(l.size, t.rows) * ceil_div(l.size, t.groups * kDepthwiseColumns) *
                             ceil_div(l.channels, t.channels);
      CHECK(blocks >= 100);
    }
  for (const index_t n : {1, 2, 7, 64})
    for (const index_t size : {1, 2, 5, 7, 33, 224})
      for (const index_t channels : {1, 2, 3, 24, 58, 100, 1280})
        for (const int kernel : {3, 5, 7})
          for (const int bytes : {2, 4}) {
            const int lanes = depthwise_lanes(kernel);
            if (channels % lanes != 0) continue;
            const DepthwiseTile t = depthwise_tile(n, size, size, channels, kernel, bytes);
            CHECK(t.rows >= 1 && t.rows <= size && t.groups >= 1 && t.channels >= 1 && t.channels <= channels);
            CHECK(t.channels % lanes == 0 && t.threads(lanes) >= 1 && t.threads(lanes) <= kDepthwiseThreads);
            if (t.channels < channels) CHECK(t.channels * bytes % 32 == 0);
            // Four rows of the ring fit into the shared memory of any device.
            CHECK(4 * ((t.groups * kDepthwiseColumns - 1) * 2 + kernel) * t.channels * bytes <= 96 * 1024);
          }
  // Where there are many images nothing is read twice but columns.
  CHECK(depthwise_tile(256, 56, 56, 144, 3, 4).rows == 56);
}
