#include "fastconv/conv.h"
#include "fastconv/error.h"

namespace fastconv {
namespace {

// Sizes above this have no use and would let sums and products of a few of them pass 64 bits.
constexpr index_t kMaxSize = index_t{1} << 40;

void check_common(const Shape& x, const Shape& weight, std::array<index_t, 2> stride, std::array<index_t, 2> dilation,
                  index_t groups) {
  if (x.size() != 4) fail("x must have shape (N, C, H, W), got ", to_string(x));
  if (weight.size() != 4)
    fail("weight must have 4 dimensions (out_channels, in_channels / groups, kernel_h, kernel_w), got shape ",
         to_string(weight));
  for (const index_t s : stride)
    if (s < 1 || s > kMaxSize) fail("stride must be from 1 to 2**40, got (", stride[0], ", ", stride[1], ")");
  for (const index_t d : dilation)
    if (d < 1 || d > kMaxSize) fail("dilation must be from 1 to 2**40, got (", dilation[0], ", ", dilation[1], ")");
  if (groups < 1) fail("groups must be at least 1, got ", groups);
  for (const index_t size : weight)
    if (size < 1) fail("weight has an empty dimension: shape ", to_string(weight));
  if (x[1] < 1 || x[2] < 1 || x[3] < 1)
    fail("x must have at least one channel, row and column, got shape ", to_string(x));
  checked_size(x, sizeof(double));
  checked_size(weight, sizeof(double));
}

// dilation * (kernel - 1) + 1: how far the kernel reaches along one axis.
index_t window_size(index_t kernel, index_t dilation) {
  index_t reach;
  if (__builtin_mul_overflow(dilation, kernel - 1, &reach) || reach > kMaxSize)
    fail("dilation * kernel size is too large: ", dilation, " * ", kernel);
  return reach + 1;
}

// floor((size + pads - window) / stride + 1), checked.
index_t output_size(const char* axis, index_t size, index_t window, index_t stride, index_t pads) {
  if (window > size + pads)
    fail("the kernel does not fit into x: with its dilation it covers ", window, " in ", axis, ", but the padded x has ",
         size + pads, ": enlarge padding or x");
  return (size + pads - window) / stride + 1;
}

index_t same_padding(index_t size, index_t window, index_t stride) {
  const index_t total = (ceil_div(size, stride) - 1) * stride + window - size;
  return total > 0 ? total : 0;
}

void check_padding(std::array<index_t, 4> padding) {
  for (const index_t p : padding)
    if (p < 0 || p > kMaxSize)
      fail("padding must be from 0 to 2**40, got ((", padding[0], ", ", padding[1], "), (", padding[2], ", ", padding[3], "))");
}

}  // namespace

const char* algorithm_name(Algorithm algorithm) {
  constexpr const char* names[] = {"auto",     "reference", "im2col",    "direct",   "depthwise",
                                   "strassen", "winograd", "winograd2", "winograd4", "winograd6"};
  return names[static_cast<int>(algorithm)];
}

const char* error_class(Algorithm algorithm) {
  return algorithm < Algorithm::strassen ? "exact" : algorithm_name(algorithm);
}

ConvGeometry conv_geometry(const Shape& x, const Shape& weight, std::array<index_t, 2> stride, const Padding& padding,
                           std::array<index_t, 2> dilation, index_t groups) {
  check_common(x, weight, stride, dilation, groups);
  ConvGeometry g;
  g.in_channels = x[1];
  g.out_channels = weight[0];
  g.groups = groups;
  if (g.out_channels % groups != 0)
    fail("groups = ", groups, " does not divide the ", g.out_channels, " output channels of weight");
  index_t expected;
  if (__builtin_mul_overflow(weight[1], groups, &expected) || g.in_channels != expected) {
    const index_t fitting = g.in_channels % weight[1] == 0 ? g.in_channels / weight[1] : 0;
    const std::string hint = fitting && g.out_channels % fitting == 0 ? " (groups=" + std::to_string(fitting) + " would fit)" : "";
    fail("weight has ", weight[1], " input channels", groups == 1 ? "" : " a group", " but x has ", g.in_channels,
         ": expected x.shape[1] == ", weight[1], " * groups, and groups is ", groups, hint);
  }
  g.in_h = x[2];
  g.in_w = x[3];
  g.kernel_h = weight[2];
  g.kernel_w = weight[3];
  g.stride_h = stride[0];
  g.stride_w = stride[1];
  g.dilation_h = dilation[0];
  g.dilation_w = dilation[1];
  const index_t window_h = window_size(g.kernel_h, g.dilation_h), window_w = window_size(g.kernel_w, g.dilation_w);
  if (padding.mode == Padding::Mode::same) {
    const index_t h = same_padding(g.in_h, window_h, g.stride_h), w = same_padding(g.in_w, window_w, g.stride_w);
    g.pad_top = h / 2;
    g.pad_bottom = h - h / 2;
    g.pad_left = w / 2;
    g.pad_right = w - w / 2;
  } else if (padding.mode == Padding::Mode::explicit_sizes) {
    check_padding({padding.top, padding.bottom, padding.left, padding.right});
    g.pad_top = padding.top;
    g.pad_bottom = padding.bottom;
    g.pad_left = padding.left;
    g.pad_right = padding.right;
  }
  g.out_h = output_size("height", g.in_h, window_h, g.stride_h, g.pad_top + g.pad_bottom);
  g.out_w = output_size("width", g.in_w, window_w, g.stride_w, g.pad_left + g.pad_right);
  checked_size({x[0], g.out_channels, g.out_h, g.out_w}, sizeof(double));
  return g;
}

}  // namespace fastconv
