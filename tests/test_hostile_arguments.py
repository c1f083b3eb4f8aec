"""Hostile arguments of every operator: each gives a result or a clear error, eagerly and compiled.

An argument is refused, or means the same both ways; nothing crashes, hangs, or eats memory.
"""

from __future__ import annotations

import itertools
import math
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastconv as fc
import numpy as np
import pytest
from fastconv import _core, nn

REFUSALS = (TypeError, ValueError, MemoryError, IndexError)

SHAPE = (2, 4, 8, 8)
IMAGES = np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)
WEIGHT = np.ones((4, 4, 3, 3), np.float32)
VECTOR = np.ones(4, np.float32)

INTEGERS: list[Any] = [0, -1, -2, 2**31, 2**32, 2**40, 2**61, 2**62, 2**63 - 1, 2**64, -(2**63)]
INTEGERS += [2**40 + 1, -(2**40) - 1, -(2**63) - 1, np.int64(2**62), np.int8(-1), np.uint64(2**63)]
NO_INTEGERS: list[Any] = [None, True, np.True_, 1.5, math.nan, math.inf, "1", b"1", object(), {}]
NO_INTEGERS += [(), [], (1, 2, 3), [[1, 2]], (1, None), np.float32(2), np.ones(2), 1j]
PAIRS: list[Any] = [pair for n in INTEGERS for pair in ((n, 1), (1, n), (n, n))]
NUMBERS: list[Any] = [0, -1, math.nan, math.inf, -math.inf, 1e300, -1e300, 1e-300, 5e-324, 2**64]
NUMBERS += [10**400, np.float32(np.nan), np.float64(1e300), None, True, "1", (), (1, 2, 3), 1j]
NUMBERS += [object(), [None, 1]]

INTEGER, PAIR = INTEGERS + NO_INTEGERS, INTEGERS + NO_INTEGERS + PAIRS
FACTORS = NUMBERS + [pair for n in NUMBERS for pair in ((n, 1.0), (1.0, n))]
SEQUENCE = [*PAIR, *(tuple(v) for v in itertools.product((-1, 0, 2, 2**62), repeat=4))]

# Of each operator, an argument that a call gets, and the values for it.
ARGUMENTS: dict[str, tuple[Callable[..., Any], dict[str, list[Any]]]] = {
    "conv2d": (
        lambda x, **a: fc.conv2d(x, WEIGHT, **a),
        {
            "stride": PAIR,
            "dilation": PAIR,
            "groups": INTEGER,
            "padding": [*PAIR, *(((n, 0), (0, n)) for n in INTEGERS)],
        },
    ),
    "conv1d": (
        lambda x, **a: fc.conv1d(fc.flatten(x, 2), WEIGHT[:, :, 0], **a),
        {"stride": INTEGER, "dilation": INTEGER, "groups": INTEGER, "padding": INTEGER},
    ),
    "conv_transpose2d": (
        lambda x, **a: fc.conv_transpose2d(x, WEIGHT, **a),
        {
            "stride": PAIR,
            "padding": PAIR,
            "output_padding": PAIR,
            "dilation": PAIR,
            "groups": INTEGER,
        },
    ),
    "depthwise_separable_conv2d": (
        lambda x, **a: fc.depthwise_separable_conv2d(x, WEIGHT[:, :1], WEIGHT[:, :, :1, :1], **a),
        {"stride": PAIR, "padding": PAIR, "dilation": PAIR},
    ),
    "max_pool2d": (
        lambda x, kernel_size=3, **a: fc.max_pool2d(x, kernel_size, **a),
        {
            "kernel_size": PAIR,
            "stride": PAIR,
            "padding": PAIR,
            "dilation": PAIR,
            "ceil_mode": INTEGER,
        },
    ),
    "avg_pool2d": (
        lambda x, kernel_size=3, **a: fc.avg_pool2d(x, kernel_size, **a),
        {"kernel_size": PAIR, "stride": PAIR, "padding": PAIR, "count_include_pad": INTEGER},
    ),
    "avg_pool2d of huge windows": (
        lambda x, n: fc.avg_pool2d(x, n, 1, n // 2, ceil_mode=True),
        {"n": [2**31, 2**32 + 1, 2**40, 2**40 + 1]},
    ),
    "adaptive_avg_pool2d": (fc.adaptive_avg_pool2d, {"output_size": PAIR}),
    "adaptive_max_pool2d": (fc.adaptive_max_pool2d, {"output_size": PAIR}),
    "max_pool1d": (
        lambda x, kernel_size=3, **a: fc.max_pool1d(x[0], kernel_size, **a),
        {"kernel_size": INTEGER, "stride": INTEGER, "padding": INTEGER, "dilation": INTEGER},
    ),
    "avg_pool1d": (
        lambda x, kernel_size=3, **a: fc.avg_pool1d(x[0], kernel_size, **a),
        {"kernel_size": INTEGER, "stride": INTEGER, "padding": INTEGER, "ceil_mode": INTEGER},
    ),
    "adaptive_avg_pool1d": (
        lambda x, output_size: fc.adaptive_avg_pool1d(x[0], output_size),
        {"output_size": INTEGER},
    ),
    "lp_pool2d": (
        lambda x, norm_type=2, kernel_size=2, **a: fc.lp_pool2d(x, norm_type, kernel_size, **a),
        {"norm_type": NUMBERS, "kernel_size": PAIR, "stride": PAIR, "ceil_mode": INTEGER},
    ),
    "max_pool3d": (
        lambda x, **a: fc.max_pool3d(x, **{"kernel_size": (1, 2, 2)} | a),
        {"kernel_size": SEQUENCE, "stride": SEQUENCE, "padding": SEQUENCE, "dilation": SEQUENCE},
    ),
    "conv3d": (
        lambda x, **a: fc.conv3d(x, WEIGHT[:, :, None], **a),
        {"stride": SEQUENCE, "padding": SEQUENCE, "dilation": SEQUENCE, "groups": INTEGER},
    ),
    "conv_transpose1d": (
        lambda x, **a: fc.conv_transpose1d(x[0], WEIGHT[:, :, 0], **a),
        {
            "stride": INTEGER,
            "padding": INTEGER,
            "output_padding": INTEGER,
            "dilation": INTEGER,
            "groups": INTEGER,
        },
    ),
    "grid_sample": (
        lambda x, **a: fc.grid_sample(x, x[:, :3, :3, :2], **a),
        {"mode": NO_INTEGERS, "padding_mode": NO_INTEGERS, "align_corners": INTEGER},
    ),
    "affine_grid": (
        lambda x, size: fc.affine_grid(x[:, :2, 0, :3], size),
        {"size": SEQUENCE},
    ),
    "interpolate": (fc.interpolate, {"size": PAIR, "scale_factor": FACTORS}),
    "interpolate bilinear": (
        lambda x, align_corners=None, **a: fc.interpolate(
            x, mode="bilinear", align_corners=align_corners, **a or {"size": 3}
        ),
        {"size": PAIR, "scale_factor": FACTORS, "align_corners": INTEGER},
    ),
    "interpolate bicubic": (
        lambda x, **a: fc.interpolate(x, **{"mode": "bicubic", "size": 3, "antialias": True} | a),
        {"size": PAIR, "antialias": INTEGER, "recompute_scale_factor": INTEGER},
    ),
    "local_response_norm": (
        lambda x, size=3, **a: fc.local_response_norm(x, size, **a),
        {"size": INTEGER, "alpha": NUMBERS, "beta": NUMBERS, "k": NUMBERS},
    ),
    "batch_norm": (lambda x, eps: fc.batch_norm(x, VECTOR, VECTOR, eps=eps), {"eps": NUMBERS}),
    "layer_norm": (
        lambda x, normalized_shape=(8,), **a: fc.layer_norm(x, normalized_shape, **a),
        {"normalized_shape": SEQUENCE, "eps": NUMBERS},
    ),
    "channel_shuffle": (fc.channel_shuffle, {"groups": INTEGER}),
    "pixel_shuffle": (fc.pixel_shuffle, {"upscale_factor": INTEGER}),
    "pixel_unshuffle": (fc.pixel_unshuffle, {"downscale_factor": INTEGER}),
    "depth_to_space": (
        lambda x, block_size=2, mode="DCR": fc.depth_to_space(x, block_size, mode),
        {"block_size": INTEGER, "mode": NO_INTEGERS},
    ),
    "space_to_depth": (
        lambda x, block_size=2, mode="DCR": fc.space_to_depth(x, block_size, mode),
        {"block_size": INTEGER, "mode": NO_INTEGERS},
    ),
    "take": (
        lambda x, indices=(1, 0), axis=1: fc.take(x, indices, axis),
        {"indices": SEQUENCE, "axis": INTEGER},
    ),
    "scatter_add": (
        lambda x, indices=(1, 0), axis=1: fc.scatter_add(x, indices, x[:, :2], axis),
        {"indices": SEQUENCE, "axis": INTEGER},
    ),
    "expand": (fc.expand, {"shape": [*SEQUENCE, *((n, *SHAPE) for n in INTEGERS)]}),
    "tile": (fc.tile, {"reps": SEQUENCE}),
    "stack": (lambda x, axis: fc.stack([x, x], axis), {"axis": INTEGER}),
    "squeeze": (lambda x, axis: fc.squeeze(x[:, :1], axis), {"axis": SEQUENCE}),
    "expand_dims": (fc.expand_dims, {"axis": SEQUENCE}),
    "flip": (fc.flip, {"axis": SEQUENCE}),
    "roll": (
        lambda x, shift=1, axis=(0, 1): fc.roll(x, shift, axis),
        {"shift": SEQUENCE, "axis": SEQUENCE},
    ),
    "softmax": (fc.softmax, {"axis": INTEGER}),
    "log_softmax": (fc.log_softmax, {"axis": INTEGER}),
    **{
        name: (getattr(fc, name), {"axis": SEQUENCE, "keepdims": INTEGER})
        for name in ("mean", "sum", "prod", "max", "min", "argmax", "argmin")
    },
    "norm": (fc.norm, {"ord": NUMBERS, "axis": SEQUENCE, "keepdims": INTEGER}),
    "cumsum": (fc.cumsum, {"axis": INTEGER, "exclusive": INTEGER, "reverse": INTEGER}),
    "flatten": (fc.flatten, {"start_dim": INTEGER, "end_dim": INTEGER}),
    "reshape": (fc.reshape, {"shape": SEQUENCE}),
    "permute": (fc.permute, {"dims": SEQUENCE}),
    "split": (
        lambda x, split_size_or_sections=2, axis=1: fc.split(x, split_size_or_sections, axis)[0],
        {"split_size_or_sections": SEQUENCE, "axis": INTEGER},
    ),
    "concat": (lambda x, axis: fc.concat([x, x], axis), {"axis": INTEGER}),
    "pad": (
        lambda x, pad=(1, 1), **a: fc.pad(x, pad, **a),
        {"pad": SEQUENCE, "value": NUMBERS, "mode": NO_INTEGERS},
    ),
    "pad reflect": (lambda x, pad: fc.pad(x, pad, "reflect"), {"pad": SEQUENCE}),
    "pad replicate": (lambda x, pad: fc.pad(x, pad, "replicate"), {"pad": SEQUENCE}),
    "leaky_relu": (fc.leaky_relu, {"negative_slope": NUMBERS}),
    "add": (fc.add, {"b": NUMBERS}),
    "multiply": (fc.multiply, {"b": NUMBERS}),
    "slice": (
        lambda x, **a: x[:, :, slice(*(a.get(key) for key in ("start", "stop", "step")))],
        {name: INTEGERS for name in ("start", "stop", "step")},
    ),
}
# Of each operator of a graph, its inputs ("x", or the name of a constant) and attributes.
PADDING = [((n, 0), (0, m)) for n in INTEGERS for m in (0, n)]
RECORDED: dict[str, tuple[list[Any], dict[str, tuple[Any, list[Any]]]]] = {
    "conv2d": (
        ["x", WEIGHT, VECTOR, None],
        {
            "stride": ((1, 1), PAIR),
            "padding": (((1, 1), (1, 1)), [*PAIR, *PADDING]),
            "dilation": ((1, 1), PAIR),
            "groups": (1, INTEGER),
            "activation": ("relu", NO_INTEGERS),
        },
    ),
    "conv_transpose2d": (
        ["x", WEIGHT, VECTOR],
        {
            "stride": ((1, 1), PAIR),
            "padding": ((1, 1), PAIR),
            "output_padding": ((0, 0), PAIR),
            "dilation": ((1, 1), PAIR),
            "groups": (1, INTEGER),
        },
    ),
    "linear": (["x", np.ones((4, 8), np.float32), VECTOR], {"activation": ("relu", NO_INTEGERS)}),
    "matmul": (["x", np.ones((8, 4), np.float32)], {}),
    "batch_norm": (["x", VECTOR, VECTOR, VECTOR, VECTOR], {"eps": (1e-5, NUMBERS)}),
    "layer_norm": (
        ["x", np.ones(8, np.float32), np.ones(8, np.float32)],
        {"begin": (3, INTEGER), "end": (4, INTEGER), "eps": (1e-5, NUMBERS)},
    ),
    "local_response_norm": (
        ["x"],
        {"size": (3, INTEGER), "alpha": (1.0, NUMBERS), "beta": (1.0, NUMBERS)},
    ),
    "activation": (["x"], {"kind": ("relu", NO_INTEGERS), "negative_slope": (0.1, NUMBERS)}),
    "add": (["x", IMAGES], {}),
    "multiply": (["x", VECTOR[:, None, None]], {}),
    "max_pool2d": (
        ["x"],
        {
            "kernel_size": ((3, 3), PAIR),
            "stride": ((1, 1), PAIR),
            "padding": ((1, 1), PAIR),
            "dilation": ((1, 1), PAIR),
            "ceil_mode": (False, INTEGER),
        },
    ),
    "avg_pool2d": (
        ["x"],
        {"kernel_size": ((3, 3), PAIR), "stride": ((1, 1), PAIR), "padding": ((1, 1), PAIR)},
    ),
    "adaptive_avg_pool2d": (["x"], {"output_size": ((2, 2), PAIR)}),
    "adaptive_max_pool2d": (["x"], {"output_size": ((2, 2), PAIR)}),
    **dict.fromkeys(
        ("mean", "sum", "prod", "max", "min", "argmax", "argmin"),
        (["x"], {"axis": ((1,), SEQUENCE), "keepdims": (False, INTEGER)}),
    ),
    "norm": (["x"], {"ord": (2.0, NUMBERS), "axis": ((1,), SEQUENCE)}),
    "cumsum": (["x"], {"axis": (1, INTEGER), "exclusive": (False, INTEGER)}),
    "reshape": (["x"], {"shape": ((-1,), SEQUENCE)}),
    "permute": (["x"], {"order": ((0, 2, 3, 1), SEQUENCE)}),
    "slice": (
        ["x"],
        {"start": ((0,) * 4, SEQUENCE), "stop": (SHAPE, SEQUENCE), "step": ((1,) * 4, SEQUENCE)},
    ),
    "concat": (["x", "x"], {"axis": (1, INTEGER)}),
    "pad": (
        ["x"],
        {
            **dict.fromkeys(
                ("before", "after"), ((0,) * 4, [*SEQUENCE, *((0, 0, *pair) for pair in PAIRS)])
            ),
            "mode": ("reflect", NO_INTEGERS),
            "value": (0.0, NUMBERS),
        },
    ),
    "softmax": (["x"], {"axis": (1, INTEGER)}),
    "log_softmax": (["x"], {"axis": (1, INTEGER)}),
    "interpolate": (
        ["x"],
        {
            "size": ((3, 3), PAIR),
            "scale": ((0.0, 0.0), FACTORS),
            "mode": ("bilinear", NO_INTEGERS),
            "coordinates": ("half_pixel", NO_INTEGERS),
            "nearest_mode": ("floor", NO_INTEGERS),
            "antialias": (True, INTEGER),
            "cubic_coeff_a": (-0.75, NUMBERS),
            "exclude_outside": (True, INTEGER),
        },
    ),
    "channel_shuffle": (["x"], {"groups": (2, INTEGER)}),
    "pixel_shuffle": (["x"], {"upscale_factor": (2, INTEGER), "mode": ("DCR", NO_INTEGERS)}),
    "pixel_unshuffle": (["x"], {"downscale_factor": (2, INTEGER), "mode": ("CRD", NO_INTEGERS)}),
    "take": (["x"], {"axis": (1, INTEGER), "indices": ((1, -1), SEQUENCE)}),
    "tile": (["x"], {"repeats": ((1, 2, 1, 3), SEQUENCE)}),
    "scatter_add": (
        ["x", IMAGES],
        {"axis": (1, INTEGER), "indices": ((1, 0, 0, -1), SEQUENCE)},
    ),
}
INPUTS: list[Any] = [[], [None], [0], [1], [99], [-1], [-5], [0] * 9, [1] * 9, [0, None], [2**31]]


def recorded_calls(name: str) -> Iterator[tuple[list[Any] | None, dict[str, Any]]]:
    """Yield inputs (`None`: the right ones) and attributes of the calls to try."""
    _, attributes = RECORDED[name]
    good = {key: value for key, (value, _) in attributes.items()}
    yield None, good
    yield None, {}
    for inputs in INPUTS:
        yield inputs, good
    for key, (_, values) in attributes.items():
        for value in values:
            yield None, good | {key: value}


def run_recorded(name: str, inputs: list[Any] | None, attributes: dict[str, Any]) -> Any:
    """Build a graph by native calls, as nothing in Python has checked it; run what it makes."""
    graph = _core.Graph()
    x = graph.input(SHAPE, np.float32)
    constants = [value for value in RECORDED[name][0] if isinstance(value, np.ndarray)]
    ids = iter([graph.constant(value) for value in constants])
    right = [next(ids) if isinstance(v, np.ndarray) else v and x for v in RECORDED[name][0]]
    y = graph.add(name, right if inputs is None else inputs, attributes)
    return _core.Network(graph, [y], "fast", None, 1).run([IMAGES])[0]


LAYERS: dict[str, tuple[Callable[..., nn.Module], dict[str, list[Any]]]] = {
    "Conv2d": (
        lambda n=4, m=4, k=3, **a: nn.Conv2d(n, m, k, **a),
        {
            **dict.fromkeys(("n", "m", "groups"), INTEGER),
            **dict.fromkeys(("k", "stride", "padding", "dilation"), PAIR),
        },
    ),
    "ConvTranspose2d": (
        lambda n=4, m=4, k=3, **a: nn.ConvTranspose2d(n, m, k, **a),
        {
            **dict.fromkeys(("n", "m", "groups"), INTEGER),
            **dict.fromkeys(("k", "stride", "padding", "output_padding", "dilation"), PAIR),
        },
    ),
    "Linear": (lambda n=8, m=4: nn.Linear(n, m), {"n": INTEGER, "m": INTEGER}),
    "BatchNorm2d": (
        lambda n=4, **a: nn.BatchNorm2d(n, **a),
        {"n": INTEGER, "eps": NUMBERS},
    ),
    "LayerNorm": (lambda n=8, **a: nn.LayerNorm(n, **a), {"n": SEQUENCE, "eps": NUMBERS}),
    "LocalResponseNorm": (
        lambda size=3, **a: nn.LocalResponseNorm(size, **a),
        {"size": INTEGER, "alpha": NUMBERS, "beta": NUMBERS, "k": NUMBERS},
    ),
    "MaxPool2d": (
        lambda k=3, **a: nn.MaxPool2d(k, **a),
        dict.fromkeys(("k", "stride", "padding", "dilation"), PAIR),
    ),
    "AvgPool2d": (
        lambda k=3, **a: nn.AvgPool2d(k, **a),
        dict.fromkeys(("k", "stride", "padding"), PAIR),
    ),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d, {"output_size": PAIR}),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d, {"output_size": PAIR}),
    "Upsample": (nn.Upsample, {"size": PAIR, "scale_factor": FACTORS}),
    "PixelShuffle": (nn.PixelShuffle, {"upscale_factor": INTEGER}),
    "ChannelShuffle": (nn.ChannelShuffle, {"groups": INTEGER}),
    **{
        name: (getattr(nn, name), {"padding": SEQUENCE})
        for name in (
            *("ZeroPad1d", "ZeroPad2d", "ReflectionPad1d", "ReflectionPad2d", "CircularPad1d"),
            *("CircularPad2d", "ReplicationPad1d", "ReplicationPad2d"),
        )
    },
    "ConstantPad1d": (
        lambda padding=1, value=2.0: nn.ConstantPad1d(padding, value),
        {"padding": SEQUENCE, "value": NUMBERS},
    ),
    "ConstantPad2d": (
        lambda padding=1, value=2.0: nn.ConstantPad2d(padding, value),
        {"padding": SEQUENCE, "value": NUMBERS},
    ),
    "PixelUnshuffle": (nn.PixelUnshuffle, {"downscale_factor": INTEGER}),
    "Unflatten": (
        lambda dim=2, unflattened_size=(2, 4): nn.Unflatten(dim, unflattened_size),
        {"dim": INTEGER, "unflattened_size": SEQUENCE},
    ),
    "Flatten": (nn.Flatten, {"start_dim": INTEGER}),
    "Permute": (nn.Permute, {"dims": SEQUENCE}),
    "LeakyReLU": (nn.LeakyReLU, {"negative_slope": NUMBERS}),
    "Softmax": (nn.Softmax, {"dim": INTEGER}),
}


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def forward(self, x: Any) -> Any:
        return self._function(x)


@pytest.fixture(autouse=True)
def little_memory(sanitized: bool) -> Iterator[None]:
    """Let no test have more than 4 GB besides what the process has.

    The sanitizers need more themselves; `.ci/sanitized` limits what is allocated.
    """
    if sanitized:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**32, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or how it refuses."""
    try:
        return call()
    except REFUSALS as error:
        return error


def same(value: Any, eager: Any, compiled: Any) -> None:
    """Check that both ways refuse, by the same type of error, or agree."""
    if isinstance(eager, Exception) or isinstance(compiled, Exception):
        for kind in REFUSALS:
            assert isinstance(eager, kind) == isinstance(compiled, kind), (value, eager, compiled)
    else:
        np.testing.assert_allclose(compiled, eager, 1e-5, 1e-5, err_msg=repr(value))


def each(table: dict[str, tuple[Callable[..., Any], dict[str, list[Any]]]]) -> list[Any]:
    return [
        pytest.param(function, argument, values, id=f"{name}-{argument}")
        for name, (function, arguments) in table.items()
        for argument, values in arguments.items()
    ]


pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


@pytest.mark.parametrize(("op", "argument", "values"), each(ARGUMENTS))
def test_operators(op: Callable[..., Any], argument: str, values: list[Any]) -> None:
    for value in values:
        module = Apply(lambda x, value=value: op(x, **{argument: value}))
        eager = outcome(lambda module=module: module.eager(IMAGES))
        same(value, eager, outcome(lambda module=module: module.compile(SHAPE)(IMAGES)))


@pytest.mark.parametrize(("make", "argument", "values"), each(LAYERS))
def test_layers(make: Callable[..., nn.Module], argument: str, values: list[Any]) -> None:
    for value in values:
        layer = outcome(lambda value=value: make(**{argument: value}))
        if not isinstance(layer, Exception):
            eager = outcome(lambda layer=layer: layer.eager(IMAGES))
            same(value, eager, outcome(lambda layer=layer: layer.compile(SHAPE)(IMAGES)))


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_operators(name: str) -> None:
    calls = recorded_calls(name)
    assert np.isfinite(run_recorded(name, *next(calls))).all()
    for inputs, attributes in calls:
        outcome(lambda inputs=inputs, attributes=attributes: run_recorded(name, inputs, attributes))


@pytest.mark.parametrize("value", [-1, 1, 2**31 - 1, 2**31])
def test_values_that_a_graph_lacks(value: int) -> None:
    graph = _core.Graph()
    graph.input(SHAPE, np.float32)
    for call in (
        lambda: graph.shape(value),
        lambda: graph.set_outputs([value]),
        lambda: graph.add("add", [0, value], {}),
    ):
        with pytest.raises((ValueError, TypeError)):
            call()


@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [(2**62, 0, 1), (-1, -1, 1), (3, 3, 1), (0, 2**62, -1), (2, 2, -1), (1, -2, -1)],
)
def test_slices_that_leave_an_axis(start: int, stop: int, step: int) -> None:
    graph = _core.Graph()
    x = graph.input((2,), np.dtype(np.float32))
    with pytest.raises(ValueError, match="leaves axis 0 of shape"):
        graph.add("slice", [x], {"start": [start], "stop": [stop], "step": [step]})


@pytest.mark.parametrize(
    "constant",
    [
        np.ones(4, np.uint16),
        np.ones(4, np.complex64),
        np.ones(4, ">f4"),
        np.ones(4, object),
        np.ones((4, 4), np.float32).T[::2],
        np.ones((4, 4), np.int8)[:, ::2],
        np.zeros(9, np.int8)[1:].view(np.int32),
    ],
)
def test_constants_that_a_graph_cannot_take(constant: np.ndarray) -> None:
    with pytest.raises(TypeError):
        _core.Graph().constant(constant)


@pytest.mark.parametrize("value", INTEGERS)
def test_shapes(value: int) -> None:
    for shape in ((value, 4, 8, 8), (2, value, 8, 8), (2, 4, value, 8), (2, 4, 8, value)):
        for call in (
            lambda shape=shape: fc.algorithms(shape, WEIGHT.shape),
            lambda shape=shape: fc.algorithms(SHAPE, shape),
            lambda shape=shape: fc.prepare_conv2d(WEIGHT, input_shape=shape),
            lambda shape=shape: nn.ReLU().compile(shape),
            lambda shape=shape: nn.MaxPool2d(2).compile(shape),
            lambda shape=shape: nn.Conv2d(4, 4, 3).compile(shape),
        ):
            outcome(call)


def test_sizes_are_clamped_to_the_channels() -> None:
    x = IMAGES[:, :3]
    for size in (5, 6, 7, 100, 2**31, 2**62, 2**63 - 1):
        y = fc.local_response_norm(x, size, alpha=0.5 * size)
        expected = x / (1 + 0.5 * (x * x).sum(1, keepdims=True, dtype=np.float64)) ** 0.75
        np.testing.assert_allclose(y, expected, 1e-5)


def test_what_no_memory_would_hold_takes_none(run_source: Callable[..., str]) -> None:
    grown = run_source(
        """
        import resource
        import fastconv.nn as nn

        def used():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10

        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**32, resource.RLIM_INFINITY))
        before = used()
        try:
            nn.ConvTranspose2d(4, 4, 3, stride=(2**27, 1)).compile((1, 4, 8, 8))
        except MemoryError:
            print(used() - before)
        """
    )
    assert int(grown) < 2**28
