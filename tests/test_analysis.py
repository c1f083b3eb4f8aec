"""`fastconv.analysis`: formulas, receptive fields against perturbed pixels, summaries."""

import json
import math
import re
from fractions import Fraction

import fastconv
import numpy as np
import pytest
from fastconv import _core, analysis, nn
from fastconv import ops as F
from fastconv.analysis import (
    conv_flops,
    conv_macs,
    conv_output_size,
    conv_parameters,
    conv_transpose_flops,
    conv_transpose_macs,
    conv_transpose_output_size,
    linear_flops,
    linear_macs,
    linear_parameters,
    receptive_field,
    separable_conv_flops,
    separable_conv_macs,
    separable_conv_parameters,
    summary,
)
from fastconv.analysis._propagate import MIXES, POINTWISE
from fastconv.models import blocks

# ---- Formulas ------------------------------------------------------------------------------------


def test_output_size():
    assert conv_output_size(224, 3, 2) == 111
    assert conv_output_size(224, kernel_size=7, stride=2, padding=3) == 112
    assert conv_output_size(10, 3, dilation=4) == 2
    assert conv_output_size(10, 3, padding="valid") == 8
    assert conv_output_size(15, 3, 2, "same") == 8
    assert conv_output_size(10, 3, padding=((0, 1),)) == 9
    assert conv_output_size(10, 3, padding=(1,)) == 10
    assert conv_output_size(10, (3, 5)) == (8, 6)
    assert conv_output_size(10, 3, padding=((0, 1), (2, 2))) == (9, 12)
    assert conv_output_size((10, 20), 3, (1, 2), (1, 0)) == (10, 9)


@pytest.mark.parametrize("seed", range(20))
def test_sizes_and_macs_are_those_of_the_layers(seed):
    rng = np.random.default_rng(seed)

    def pair(low, high):
        return tuple(rng.integers(low, high, 2).tolist())

    size, kernel, stride, dilation = pair(12, 20), pair(1, 4), pair(1, 4), pair(1, 3)
    padding = [0, pair(0, 3), (pair(0, 3), pair(0, 3)), "same"][seed % 4]
    groups = int(rng.integers(1, 3))
    ins, outs = 2 * groups, 3 * groups
    conv = nn.Conv2d(ins, outs, kernel, stride, padding, dilation, groups)
    y = conv(np.zeros((1, ins, *size), np.float32))
    assert conv_output_size(size, kernel, stride, padding, dilation) == y.shape[2:]
    assert conv_parameters(ins, outs, kernel, groups) == sum(p.size for p in conv.parameters())
    macs = y.shape[2] * y.shape[3] * conv.weight.size
    assert conv_macs(size, ins, outs, kernel, stride, padding, dilation, groups) == macs
    assert conv_flops(size, ins, outs, kernel, stride, padding, dilation, groups) == 2 * macs
    assert summary(conv, (1, ins, *size)).macs == macs

    output_padding = tuple(int(rng.integers(0, s)) for s in stride)
    transposed = nn.ConvTranspose2d(ins, outs, kernel, stride, 0, output_padding, groups)
    y = transposed(np.zeros((1, ins, *size), np.float32))
    assert conv_transpose_output_size(size, kernel, stride, 0, output_padding) == y.shape[2:]
    macs = conv_transpose_macs(size, ins, outs, kernel, groups)
    assert summary(transposed, (1, ins, *size)).macs == macs
    assert conv_transpose_flops(size, ins, outs, kernel, groups) == 2 * macs


def test_transposed_macs_are_those_of_the_gradient():
    """A transposed convolution undoes a convolution with as many products."""
    assert conv_transpose_output_size(7, 2, 2) == 14
    assert conv_transpose_macs(7, 64, 32, 2) == conv_macs(14, 32, 64, 2, 2)


def test_separable_convolution():
    assert conv_parameters(256, 256, 3, bias=False) == 589_824
    assert separable_conv_parameters(256, 256, 3, bias=False) == 67_840
    assert separable_conv_parameters(256, 256, 3) == 67_840 + 512
    layers = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.Conv2d(8, 12, 1))
    total = summary(layers, (1, 8, 15, 17))
    assert separable_conv_parameters(8, 12, 3) == total.parameters
    assert separable_conv_macs((15, 17), 8, 12, 3, 2, 1) == total.macs
    assert separable_conv_flops((15, 17), 8, 12, 3, 2, 1) == total.flops


def test_linear():
    assert linear_parameters(512, 10) == 5130
    assert linear_parameters(512, 10, bias=False) == linear_macs(512, 10) == 5120
    assert linear_flops(512, 10) == 10240


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: conv_output_size(2, 3), "kernel does not fit"),
        (lambda: conv_output_size(9, 3, 0), "stride"),
        (lambda: conv_output_size(9, 3, padding="full"), "padding must be one of"),
        (lambda: conv_parameters(3, 4, 3, groups=2), "in_channels must be a multiple of groups=2"),
        (lambda: conv_parameters(3, 0, 3), "out_channels must be at least 1"),
        (lambda: conv_macs(9, 3, 4, 0), "kernel_size must be at least 1"),
        (lambda: conv_output_size(0, 3), "size must be at least 1, got 0"),
        (lambda: conv_transpose_output_size(3, (2, -1)), "kernel_size must be at least 1"),
        (lambda: linear_macs(0, 4), "in_features must be at least 1"),
        (lambda: conv_transpose_macs(0, 1, 1, 1), "size must be at least 1"),
    ],
)
def test_bad_values(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_small_integers_of_numpy_do_not_overflow():
    channels = np.int8(100)
    assert conv_parameters(channels, channels, 3) == conv_parameters(100, 100, 3)
    assert linear_parameters(channels, channels) == 10_100


def test_bad_types():
    with pytest.raises(TypeError, match="size must be an integer"):
        conv_output_size(9.5, 3)
    with pytest.raises(TypeError, match="bias"):
        conv_parameters(3, 4, 3, bias="yes")


# ---- Receptive fields: known figures -------------------------------------------------------------


@pytest.mark.parametrize(("layers", "size"), [(5, 11), (7, 15), (10, 21), (50, 101)])
def test_stacked_windows(layers, size):
    assert receptive_field([(3, 1, 1)] * layers).size == (size, size)
    stack = [nn.Conv2d(1, 1, 3, padding=1) for _ in range(layers)]
    expected = receptive_field(stack)
    assert (expected.size, expected.jump) == ((size, size), (1, 1))
    assert expected.start == (-layers, -layers)
    assert receptive_field(nn.Sequential(*stack)) == receptive_field(nn.ModuleList(stack))


def test_dilated_windows():
    field = receptive_field([(3, 1, 1), (3, 1, 2), (3, 1, 4), (3, 1, 8)])
    assert [f.size[0] for f in field.modules.values()] == [3, 7, 15, 31]
    convs = [nn.Conv1d(1, 1, 3, dilation=d) for d in (1, 2, 4, 8)]
    field = receptive_field(convs)
    assert [f.size for f in field.modules.values()] == [(3,), (7,), (15,), (31,)]
    assert repr(field) == "ReceptiveField(size=(31,), jump=(1,), start=(0,))"


def vgg(*convs):
    layers = []
    for count in convs:
        layers += [nn.Conv2d(1, 1, 3, padding=1) for _ in range(count)] + [nn.MaxPool2d(2)]
    return layers


@pytest.mark.parametrize(
    ("name", "layers", "size"), [("vgg16", (2, 2, 3, 3, 3), 212), ("vgg19", (2, 2, 4, 4, 4), 268)]
)
def test_vgg(name, layers, size):
    for field in (receptive_field(vgg(*layers)), receptive_field(name).modules["features"]):
        assert (field.size, field.jump) == ((size, size), (32, 32))


@pytest.mark.parametrize(("stride_in_1x1", "size"), [(False, 427), (True, 483)])
def test_resnet50_as_layers(stride_in_1x1, size):
    layers = [(7, 2), (3, 2)]
    for depth, stage_stride in ((3, 1), (4, 2), (6, 2), (3, 2)):
        for stride in (stage_stride, *(1,) * (depth - 1)):
            layers += [(1, stride), (3,), (1,)] if stride_in_1x1 else [(1,), (3, stride), (1,)]
    assert receptive_field(layers).size == (size, size)


def test_resnet50():
    field = receptive_field("resnet50")
    assert field.modules["layer4"].size == (427, 427)
    assert field.modules["layer4"].jump == (32, 32)
    assert field.modules["layer1.0.conv2"].size == (19, 19)
    for module in (field, field.modules["avgpool"], field.modules["fc"]):
        assert (module.size, module.jump) == ((math.inf,) * 2, (None,) * 2)
    assert not field.global_context
    with nn.init.skip():
        original = fastconv.create_model("resnet50", stride_in_1x1=True)
    assert receptive_field(original).modules["layer4"].size == (483, 483)


# Adaptive pooling to several pixels, and what comes after it, depends on the image's size.
SIZED = ("avgpool", "flatten", "classifier")


@pytest.mark.parametrize("name", fastconv.list_models())
def test_models_whatever_the_input_size(name):
    channels, size, _ = analysis.summary(name, depth=0).input_shape[1:]
    field = receptive_field(name)
    assert field.size == (math.inf, math.inf)
    larger = receptive_field(name, (1, channels, size + 64, size + 96))
    spatial = [key for key in field.modules if not key.startswith(SIZED)]
    assert spatial
    assert {key: field.modules[key] for key in spatial} == {
        key: larger.modules[key] for key in spatial
    }


# ---- Receptive fields: perturbed pixels ----------------------------------------------------------


class Apply(nn.Module):
    """A function as a module."""

    input_ndim = 4

    def __init__(self, function):
        self._function = function

    def forward(self, x):
        return self._function(x)


class Join(nn.Module):
    """Branches whose results are added, multiplied or concatenated."""

    input_ndim = 4

    def __init__(self, how, *branches):
        self.how = how
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        values = [branch(x) for branch in self.branches]
        if self.how == "concat":
            return F.concat(values, axis=1)
        result = values[0]
        for value in values[1:]:
            result = result + value if self.how == "add" else result * value
        return result


def aligned(x):
    """Resize with the centres of the corner pixels in their places."""
    size = x.shape[2] - 2, 2 * x.shape[3] - 1
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def halved(x):
    """Pool pairs of rows by a reshape."""
    n, c, h, w = x.shape
    return F.mean(F.reshape(x[:, :, : h // 2 * 2], (n, c, h // 2, 2, w)), axis=3)


def doubled(x):
    """Repeat each row by a reshape."""
    n, c, h, w = x.shape
    rows = F.reshape(x, (n, c, h, 1, w))
    return F.reshape(F.concat([rows, rows], axis=3), (n, c, 2 * h, w))


def random_layer(rng, channels, depth):
    """Return a random layer that keeps the number of channels."""

    def integer(low, high):
        return int(rng.integers(low, high + 1))

    def conv(kernel, stride, padding, dilation=1):
        return nn.Conv2d(channels, channels, kernel, stride, padding, dilation)

    def branch(stride):
        """All of these give results of one size."""
        kind = integer(0, 4 if stride == 1 else 3)
        kernel, dilation = 2 * integer(0, 2) + 1, integer(1, 2)
        if kind == 0:
            return conv(kernel, stride, dilation * (kernel // 2), dilation)
        if kind == 1:
            return conv((integer(1, 4), integer(1, 4)), stride, "same")
        if kind == 2:
            return nn.AvgPool2d(kernel, stride, kernel // 2)
        if kind == 3:
            layers = [conv(3, stride, 1), conv(kernel, 1, "same", dilation)]
            return nn.Sequential(*layers)
        return nn.Identity()

    kinds = [
        lambda: conv(integer(1, 4), integer(1, 3), integer(0, 2), integer(1, 2)),
        lambda: conv((integer(1, 3), integer(1, 3)), 1, ((0, integer(0, 2)), (integer(0, 2), 1))),
        lambda: conv(integer(1, 4), integer(1, 2), "same"),
        lambda: nn.MaxPool2d(integer(2, 3), integer(1, 2), 1, dilation=integer(1, 2)),
        lambda: nn.AvgPool2d((integer(1, 3), 2), integer(1, 2), ceil_mode=bool(integer(0, 1))),
        lambda: nn.ConvTranspose2d(channels, channels, integer(1, 4), integer(1, 3), integer(0, 1)),
        lambda: nn.Upsample(scale_factor=(2, 3), mode="nearest"),
        lambda: nn.Upsample(scale_factor=(1.5, 0.5), mode="nearest"),
        lambda: nn.Upsample(scale_factor=(2.0, 1.5), mode="bilinear"),
        lambda: nn.Upsample(scale_factor=(0.75, 3.0), mode="bilinear"),
        lambda: nn.Upsample(scale_factor=(2.0, 1.5), mode="bicubic"),
        lambda: nn.Upsample(scale_factor=(1.5, 0.5), mode="nearest-exact"),
        lambda: nn.Sequential(nn.Conv2d(channels, 4 * channels, integer(1, 2)), nn.PixelShuffle(2)),
        lambda: Apply(lambda x: x[:, :, 1::2, :-1]),
        lambda: Apply(lambda x: x[:, :, ::-1]),
        lambda: Apply(lambda x: F.pad(x, (1, 2, -1, 1))),
        lambda: nn.Sequential(
            nn.Permute((0, 2, 3, 1)), nn.Linear(channels, channels), nn.Permute((0, 3, 1, 2))
        ),
        lambda: Apply(lambda x: F.adaptive_avg_pool2d(x, (x.shape[2] // 2, x.shape[3] * 2 // 3))),
        lambda: Apply(aligned),
        lambda: Apply(lambda x: F.channel_shuffle(x, channels)),
        lambda: Apply(halved),
        lambda: Apply(doubled),
        lambda: nn.Sequential(
            Apply(lambda x: x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * channels, channels, 1),
        ),
    ]
    if depth and rng.random() < 0.4:
        how = ["add", "multiply", "concat"][integer(0, 2)]
        stride = integer(1, 2)
        join = Join(how, *(branch(stride) for _ in range(integer(2, 3))))
        if how != "concat":
            return join
        width = channels * len(list(join.branches))
        return nn.Sequential(join, nn.Conv2d(width, channels, 1))
    return kinds[integer(0, len(kinds) - 1)]()


def positive(module, rng):
    """Make all weights positive, so that no two paths cancel."""
    for layer in module.modules():
        for name in ("weight", "bias"):
            if getattr(layer, name, None) is not None:
                value = rng.uniform(0.5, 1.0, getattr(layer, name).shape)
                setattr(layer, name, value.astype(np.float32))
    return module.astype(np.float64)


def seen(module, shape):
    """Return, for each output pixel, the first and last row and column that change it."""
    _, channels, height, width = shape
    x = np.full((height * width + 1, channels, height, width), 0.5)
    for pixel in range(height * width):  # the last image is left as it is
        x[pixel, :, pixel // width, pixel % width] = 1e9
    y = module.eager(x)
    changed = (y[:-1] != y[-1]).any(axis=1).reshape(height, width, *y.shape[2:])
    spans = []
    for axis in range(2):
        touched = changed.any(axis=1 - axis)
        last = touched.shape[0] - 1 - touched[::-1].argmax(axis=0)
        spans.append(np.where(touched.any(axis=0), [touched.argmax(axis=0), last], -1))
    return spans  # for rows and columns: (first or last, out height, out width)


@pytest.mark.parametrize("seed", range(40))
def test_receptive_field_is_what_perturbed_pixels_change(seed):
    rng = np.random.default_rng(seed)
    compared = 0
    while not compared:  # what sees more than the image tells nothing, and borders see less
        size = tuple(rng.integers(22, 28, 2).tolist())
        layers = [random_layer(rng, 2, depth=1) for _ in range(rng.integers(1, 5))]
        network = positive(nn.Sequential(*layers), rng)
        shape = (1, 2, *size)
        try:
            field = receptive_field(network, shape)
        except ValueError as error:
            if re.search("fit|has no pixels|at least|crops|positive", str(error)):
                continue  # the image has become too small
            raise
        assert not field.global_context
        if summary(network, shape).activation_bytes > 200_000:
            continue  # it takes long
        actual = seen(network, shape)
        rows, columns = actual[0].shape[1:]
        windows = {}
        for row in range(rows // 3, rows - rows // 3):
            for column in range(columns // 3, columns - columns // 3):
                window = field.window(row, column)
                if all(2 <= a <= b < n - 2 for (a, b), n in zip(window, size, strict=True)):
                    windows[row, column] = window
        for (row, column), window in windows.items():
            assert window == tuple(tuple(s[:, row, column].tolist()) for s in actual)
        compared = len(windows)
        for (row, column), window in windows.items():
            for axis, index in enumerate((row, column)):
                if len(field._windows[axis].spans) == 1:  # not after upsampling and the like
                    first = field.start[axis] + index * field.jump[axis]
                    assert window[axis] == (first, first + field.size[axis] - 1)


# ---- Receptive fields: operators one by one ------------------------------------------------------


def field_of(function, shape=(1, 2, 12, 12)):
    return receptive_field(Apply(function), shape)


CONV = nn.Conv2d(2, 2, 3, padding=1)
ONES = np.ones((5, 2), np.float32)


def test_every_operator_is_known():
    made_by_passes = {"input", "constant", "scale_shift"}
    operators = {name for name, *_ in _core.operators()} - made_by_passes
    assert operators == {*MIXES, *POINTWISE, "concat", "matmul", "scatter_add"}


def test_gates_are_global_context_and_no_window():
    se = nn.Sequential(nn.Conv2d(2, 2, 3), blocks.SqueezeExcitation(2, 1), nn.Conv2d(2, 2, 3))
    field = receptive_field(se)
    assert (field.size, field.global_context) == ((5, 5), True)
    assert repr(field).endswith("start=(0, 0), global_context=True)")
    assert not field.modules["0"].global_context
    assert field.modules["1.avgpool"].size == (math.inf, math.inf)
    for function in (
        lambda x: F.layer_norm(CONV(x), (2, 12, 12)),
        lambda x: F.softmax(CONV(x), axis=-1),
        lambda x: CONV(x) * F.avg_pool2d(x, 12),
    ):
        field = field_of(function)
        assert (field.size, field.global_context) == ((3, 3), True)
    # The gate is real: every pixel has an influence.
    spans = seen(positive(blocks.SqueezeExcitation(2, 1), np.random.default_rng(0)), (1, 2, 5, 5))
    assert spans[0][:, 2, 2].tolist() == [0, 4]


def test_sums_and_products_with_constants_change_nothing():
    noise = np.ones((2, 12, 12), np.float32)
    field = field_of(lambda x: noise + CONV(x) * np.ones((2, 1, 1), np.float32))
    assert field == receptive_field(CONV)
    assert field_of(lambda x: F.concat([noise[None], CONV(x)], axis=1)).size == (3, 3)
    assert field_of(lambda x: F.concat([noise[None], x], axis=2)).start == (-12, 0)


@pytest.mark.parametrize(
    "function",
    [
        F.global_avg_pool2d,
        lambda x: F.mean(x, (2, 3), keepdims=False),
        lambda x: F.adaptive_max_pool2d(x, 1),
        lambda x: x + F.global_avg_pool2d(x),
        lambda x: F.interpolate(F.global_avg_pool2d(x), (12, 12)),
        lambda x: F.concat([x, F.mean(x, (2, 3), keepdims=True) + x], axis=1),
        lambda x: F.linear(F.flatten(x, 1), np.zeros((3, 288), np.float32)),
        lambda x: F.max_pool2d(x, 2) + x[:, :, :6, :6],  # the jumps differ
        lambda x: F.concat([x, CONV(x)], axis=2)[:, :, :, 3:4] + x[:, :, :1],
        lambda x: F.take(CONV(x), [3, 0, 7], 2),
        lambda x: F.tile(CONV(x), (1, 1, 2, 1)),
        lambda x: F.scatter_add(x, [5, 2], CONV(x)[:, :, :2], 2),
        lambda x: F.scatter_add(np.ones((1, 2, 12, 12), np.float32), [5, 2], x[:, :, :2], 2),
        lambda x: np.ones((12, 12), np.float32) @ x,
        lambda x: x @ x.swapaxes(-1, -2),
        lambda x: x[0, 0, 0] @ CONV(x),
        lambda x: CONV(x) @ x[0, 0, 0],
        lambda x: F.conv2d(np.ones((1, 2, 12, 12), np.float32), x, padding=6),
        lambda x: F.conv2d(x, CONV.weight, CONV(x)[0, :, 0, 0], padding=1),
        lambda x: F.linear(np.ones((12, 12), np.float32), x[0, 0].swapaxes(0, 1)),
    ],
)
def test_whole_image(function):
    field = field_of(function)
    assert field.size[0] == math.inf
    assert (field.jump[0], field.start[0]) == (None, None)


def test_one_axis_only():
    field = field_of(lambda x: F.mean(CONV(x), 3))
    assert (field.size, field.jump) == ((3, math.inf), (1, None))
    assert field.window(4, 0) == ((3, 5), (-math.inf, math.inf))
    assert field.to_dict()["size"] == [3, None]
    assert json.loads(json.dumps(field.to_dict())) == field.to_dict()


def test_flattened_pixels_have_no_place():
    field = field_of(lambda x: F.flatten(CONV(x), 1))
    assert (field.size, field.jump, field.start) == ((3, 3), (None, None), (None, None))
    with pytest.raises(ValueError, match="flattened"):
        field.window(0, 0)
    with pytest.raises(ValueError, match="expected 2 indices, got 1"):
        field.window(0)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.take(CONV(x), [1, 0, 1], 1),
        lambda x: F.tile(CONV(x), (1, 2, 1, 1)),
        lambda x: F.expand(CONV(x), (1, 2, 12, 12)),
        lambda x: F.squeeze(F.unsqueeze(CONV(x), 2), 2),
        lambda x: F.stack([CONV(x), CONV(x)], 1)[:, 0],
        lambda x: F.scatter_add(CONV(x), [5, 2], np.ones((1, 2, 2, 12), np.float32), 2),
        lambda x: F.scatter_add(x, [1, 1], CONV(x), 1),
        lambda x: (ONES[:5] @ CONV(x).transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3),
        lambda x: (CONV(x).transpose(0, 2, 3, 1) @ ONES[:2]).transpose(0, 3, 1, 2),
        lambda x: (CONV(x).transpose(0, 2, 3, 1) @ ONES[0]).reshape(1, 1, 12, 12),
        lambda x: (ONES[0] @ CONV(x).transpose(0, 2, 1, 3)).reshape(1, 1, 12, 12),
    ],
)
def test_moves_along_other_axes_change_nothing(function):
    assert field_of(function) == receptive_field(CONV)


def test_a_row_that_is_repeated_is_as_one_that_broadcasts():
    zeros = np.zeros((4, 1), np.float32)
    field = field_of(lambda x: F.expand(CONV(x)[:, :, 5:6], (-1, -1, 4, -1)))
    assert field == field_of(lambda x: CONV(x)[:, :, 5:6] + zeros)


def test_transposed_image():
    tall = nn.Conv2d(2, 2, (5, 1), padding=(2, 0))
    field = field_of(lambda x: F.permute(tall(x), (0, 1, 3, 2)))
    assert field.size == (5, 1)
    assert field.window(3, 7) == ((5, 9), (3, 3))  # row 3 of the result is a column of the image
    assert field_of(lambda x: F.permute(tall(x), (0, 2, 3, 1))).window(3, 7) == ((1, 5), (7, 7))


def test_upsampling_has_fractions():
    field = field_of(lambda x: F.interpolate(x, scale_factor=2))
    assert (field.size, field.jump, field.start) == ((1, 1), (Fraction(1, 2),) * 2, (0, 0))
    assert repr(field) == "ReceptiveField(size=(1, 1), jump=(1/2, 1/2), start=(0, 0))"
    assert field.to_dict()["jump"] == [0.5, 0.5]
    field = field_of(lambda x: F.conv2d(F.interpolate(x, scale_factor=2), CONV.weight, padding=1))
    assert field.size == (2, 2)
    assert [field.window(i, i)[0] for i in range(3)] == [(-1, 0), (0, 1), (0, 1)]
    field = field_of(lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"))
    assert [field.window(i, i)[0] for i in range(2, 4)] == [(-1, 2), (0, 3)]
    field = field_of(lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True))
    assert field.window(2, 2)[0] == (3, 6)
    restored = field_of(lambda x: F.max_pool2d(F.interpolate(x, scale_factor=2), 2))
    assert restored == field_of(lambda x: x)


def test_gaps_of_a_transposed_convolution_see_nothing():
    field = receptive_field(nn.ConvTranspose2d(2, 2, 1, stride=2))
    assert (field.size, field.jump, field.start) == ((1, 1), (Fraction(1, 2),) * 2, (0, 0))
    assert field.window(1, 1)[0] == (math.inf, -math.inf)


def test_same_padding_depends_on_the_size():
    same = nn.Conv2d(2, 2, 3, stride=2, padding="same")
    assert receptive_field(same, (1, 2, 12, 13)).start == (0, -1)


def test_modules_that_return_several_values():
    class Two(nn.Module):
        def __init__(self):
            self.conv = CONV

        def forward(self, x):
            return self.conv(x), x

    with pytest.raises(ValueError, match="Two does not return one value"):
        receptive_field(Two())
    row = summary(Two()).rows[0]
    assert (row.output_shape, row.receptive_field) == (None, None)


@pytest.mark.parametrize(
    ("argument", "error", "match"),
    [
        ("resnet51", ValueError, "did you mean resnet50"),
        (3, TypeError, "a Module or the name of a model"),
        ([], TypeError, "model_or_layers must be"),
        ([(3, 1, 1), nn.ReLU()], TypeError, "model_or_layers must be"),
        ([(3, 0)], ValueError, "at least 1"),
        ([(3, 1, 1, 1)], ValueError, "kernel_size, stride, dilation"),
        (nn.Linear(3, 4), ValueError, "input_shape must be"),
        (nn.Conv2d(3, 4, 300), ValueError, "pass another input_shape"),
    ],
)
def test_receptive_field_of_nonsense(argument, error, match):
    with pytest.raises(error, match=match):
        receptive_field(argument)


# ---- Summaries -----------------------------------------------------------------------------------


def test_summary_of_a_network():
    network = nn.Sequential(
        {
            "conv": nn.Conv2d(3, 8, 3, padding=1, bias=False),
            "bn": nn.BatchNorm2d(8),
            "se": blocks.SqueezeExcitation(8, 2),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flat": nn.Flatten(),
            "fc": nn.Linear(8, 10),
        }
    )
    result = summary(network, (2, 3, 16, 16))
    rows = {row.name: row for row in result.rows}
    assert list(rows) == [name for name, _ in network.named_modules()]
    assert rows["conv"].output_shape == (2, 8, 16, 16)
    assert rows["conv"].macs == 2 * conv_macs(16, 3, 8, 3, padding=1)
    assert (rows["bn"].parameters, rows["bn"].macs) == (16, 0)
    assert rows["se"].macs == rows["se.fc1"].macs + rows["se.fc2"].macs == 2 * 32
    assert rows["fc"].macs == 2 * 80
    assert rows[""].type == "Sequential"
    assert rows[""].macs == result.macs == sum(rows[n].macs for n in ("conv", "se", "fc"))
    assert result.flops == 2 * result.macs
    assert result.parameters == sum(p.size for p in network.parameters())
    assert result.buffers == 17  # mean, variance and the number of batches
    images = 3 * 2 * 8 * 256  # conv, bn, and the product in se
    assert result.activation_bytes == 4 * (images + 2 * (8 + 2 + 2 + 8 + 8 + 8 + 10))
    assert rows["se"].receptive_field.global_context

    lines = str(result).splitlines()
    assert lines[0].split() == [
        "name",
        "type",
        "output",
        "parameters",
        "MMACs",
        "receptive",
        "field",
    ]
    assert lines[2].split() == ["(model)", "Sequential", "2x10", "364", "0.11", "image"]
    assert next(line for line in lines if line.startswith("se ")).split()[-1] == "3x3*"
    assert lines[-1].startswith("*")
    assert len({len(line) for line in lines[:3]}) == 1

    data = result.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["rows"][1]["receptive_field"]["size"] == [3, 3]
    assert data["rows"][0]["receptive_field"]["size"] == [None, None]
    assert (data["macs"], data["flops"]) == (result.macs, result.flops)


def test_summary_depth_and_input_shape():
    shallow = summary("resnet18", (3, 64, 96), depth=1)
    assert shallow.input_shape == (1, 3, 64, 96)
    assert [row.depth for row in shallow.rows] == [0] + [1] * 11
    deep = summary("resnet18", (3, 64, 96))
    assert (shallow.macs, shallow.parameters) == (deep.macs, deep.parameters)
    assert shallow.rows == [row for row in deep.rows if row.depth < 2]
    assert len(summary("resnet18", depth=0).rows) == 1
    assert summary("resnet18").input_shape == (1, 3, 224, 224)
    assert summary(nn.Linear(4, 2)).rows[0].output_shape == (1, 2)
    assert summary(nn.Conv1d(3, 4, 5), (7, 3, 20)).rows[0].receptive_field.size == (5,)
    double = summary(nn.Conv2d(3, 4, 1).astype(np.float64), (1, 3, 8, 8))
    assert double.activation_bytes == 8 * 4 * 64


def test_summary_counts_every_call_and_every_owner():
    class Twice(nn.Module):
        def __init__(self):
            self.weight = np.zeros((2, 2, 1, 1), np.float32)
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.unused = nn.Conv2d(2, 2, 5)

        def forward(self, x):
            x = F.conv2d(F.relu(x), self.weight)
            x = F.conv2d(self.conv(self.conv(x)), np.zeros((2, 2, 1, 1), np.float32))
            return F.relu(x)

    rows = {row.name: row for row in summary(Twice(), (1, 2, 8, 8)).rows}
    assert rows["conv"].macs == 2 * conv_macs(8, 2, 2, 3, padding=1)
    assert rows["conv"].receptive_field.size == (5, 5)
    assert (rows["unused"].macs, rows["unused"].output_shape) == (0, None)
    assert rows[""].macs == rows["conv"].macs + 2 * conv_macs(8, 2, 2, 1)
    signals = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 1))
    assert [row.macs for row in summary(signals, (2, 10)).rows] == [8 * 32, 8 * 24, 0, 8 * 8]


@pytest.mark.parametrize("name", ["convnext_tiny", "mobilenet_v2"])
def test_macs_are_those_that_run(name):
    model = fastconv.create_model(name)
    steps = model.compile((1, 3, 64, 64)).explain()
    assert sum(step["macs"] for step in steps) == summary(model, (1, 3, 64, 64)).macs


def test_summary_leaves_the_model_alone():
    model = fastconv.create_model("lenet5")
    before = model.state_dict()
    assert summary(model).parameters == 61_706
    assert all(model.state_dict()[key] is value for key, value in before.items())


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (("resnet18", None, -1), ValueError, "depth must not be negative"),
        (("resnet18", None, 1.5), TypeError, "depth must be an integer"),
        (("resnet18", (1, 4, 64, 64)), ValueError, "channels"),
        (("resnet18", (1, 3, 0, 64)), ValueError, "positive sizes"),
        ((Sum(), ((1, 3), (1, 3))), ValueError, "input_shape has 2 inputs: only"),
        (("resnet18", 224), TypeError, "input_shape must be a sequence"),
    ],
)
def test_summary_of_nonsense(arguments, error, match):
    with pytest.raises(error, match=match):
        summary(*arguments)


def test_analysis_is_imported_when_used(run_source):
    source = """
        import sys, fastconv
        assert "fastconv.analysis" not in sys.modules and "analysis" in dir(fastconv)
        print(fastconv.analysis.conv_output_size(224, 3, 2))
        try:
            fastconv.analyses
        except AttributeError as error:
            print(error)
    """
    assert run_source(source) == "111\nmodule 'fastconv' has no attribute 'analyses'\n"
