"""Operators of signals, windows of one slice and power averages against torch in float64."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import fastconv
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastconv import nn

pytestmark = pytest.mark.oracle


class Apply(nn.Module):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def forward(self, x: Any) -> Any:
        return self._function(x)


def some(rng: np.random.Generator, *values: Any) -> Any:
    return values[rng.integers(len(values))]


def array(rng: np.random.Generator, *shape: int) -> Any:
    """Random numbers, in every other array with gaps between them."""
    x = rng.standard_normal((*shape[:-1], 2 * shape[-1]))
    return x[..., ::2] if rng.random() < 0.5 else np.ascontiguousarray(x[..., ::2])


def compare(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], x: Any) -> bool:
    """Equal results on arrays, in a network and in `out`, or errors of both.

    Sums of at most 4 * 5 * 5 * 5 products of numbers of about 1 in double: 500 * 2**-53 < 1e-13.
    """
    network = Apply(ours)
    try:
        expected = theirs(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    except (RuntimeError, ValueError, TypeError, IndexError):
        for call in (ours, network):
            with pytest.raises((ValueError, TypeError)):
                call(x)
        return False
    y = ours(x)
    assert y.flags.c_contiguous
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(network(x), expected, rtol=1e-12, atol=1e-12)
    out = np.full((*y.shape[:-1], 2 * y.shape[-1]), np.nan)[..., ::2]
    assert ours(x, out=out) is out  # type: ignore[call-arg]
    assert np.array_equal(out, y, equal_nan=True)
    return True


def specials(rng: np.random.Generator, x: Any) -> Any:
    """Sometimes with a NaN or an infinity."""
    if x.size and rng.random() < 0.3:
        x = x.copy()
        x.reshape(-1)[rng.integers(x.size)] = some(rng, np.nan, np.inf, -np.inf)
    return x


@pytest.mark.parametrize("seed", range(4))
def test_pools_of_signals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    succeeded = 0
    for _ in range(120):
        batch = some(rng, (), (0,), (1,), (3,))
        x = specials(rng, array(rng, *batch, some(rng, 1, 3, 8, 17), int(rng.integers(1, 40))))
        k, s = int(rng.integers(1, 6)), some(rng, None, 1, 2, (3,))
        p, ceil = int(rng.integers(0, k // 2 + 1)), bool(rng.integers(2))
        name, arguments = some(
            rng,
            ("max_pool1d", ((k,), s, p, some(rng, 1, 2), ceil)),
            ("avg_pool1d", (k, s, (p,), ceil, bool(rng.integers(2)))),
            ("adaptive_avg_pool1d", (int(rng.integers(1, 9)),)),
            ("adaptive_max_pool1d", (int(rng.integers(1, 9)),)),
            ("lp_pool1d", (some(rng, 1, 2, 3.0, 2.5), k, s, ceil)),
        )
        ours, theirs = getattr(fastconv, name), getattr(F, name)
        succeeded += compare(
            lambda x, out=None, f=ours, a=arguments: f(x, *a, out=out),
            lambda x, f=theirs, a=arguments: f(x, *a),
            x,
        )
    assert succeeded > 80


@pytest.mark.parametrize("seed", range(2))
def test_power_averages_of_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        x = array(rng, *some(rng, (), (2,)), 3, int(rng.integers(5, 12)), int(rng.integers(5, 12)))
        x = specials(rng, abs(x) if rng.random() < 0.5 else x)
        arguments = (
            some(rng, 1, 2, 3, 2.5, -1.0),
            some(rng, 2, (3, 2)),
            some(rng, None, 1, (2, 3)),
            bool(rng.integers(2)),
        )
        assert compare(
            lambda x, out=None, a=arguments: fastconv.lp_pool2d(x, *a, out=out),
            lambda x, a=arguments: F.lp_pool2d(x, *a),
            x,
        )


@pytest.mark.parametrize("seed", range(3))
def test_transposed_convolutions_of_signals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    succeeded = 0
    for _ in range(60):
        groups, c, o = some(rng, 1, 1, 2), some(rng, 1, 3, 16), some(rng, 1, 4, 17)
        k, s, d = int(rng.integers(1, 6)), int(rng.integers(1, 4)), some(rng, 1, 1, 2)
        x = array(rng, *some(rng, (), (0,), (2,)), c * groups, int(rng.integers(1, 30)))
        weight, bias = array(rng, c * groups, o, k), some(rng, None, array(rng, o * groups))
        options = {
            "stride": some(rng, s, (s,)),
            "padding": int(rng.integers(0, 3)),
            "output_padding": int(rng.integers(0, max(s, d))),
            "groups": groups,
            "dilation": d,
        }
        arrays = [v if v is None else torch.from_numpy(v.copy()) for v in (weight, bias)]
        succeeded += compare(
            partial(fastconv.conv_transpose1d, weight=weight, bias=bias, **options),
            lambda x, a=arrays, o=options: F.conv_transpose1d(x, *a, **o),
            x,
        )
    assert succeeded > 30


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch's, of even kernels
@pytest.mark.parametrize("seed", range(3))
def test_windows_of_one_slice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    succeeded = 0
    for _ in range(50):
        groups, c, o = some(rng, 1, 2), some(rng, 1, 3), some(rng, 2, 5)
        sizes = (int(n) for n in rng.integers(3, 9, 2))
        x = array(rng, *some(rng, (), (0,), (2,)), c * groups, some(rng, 1, 4), *sizes)
        kernel = (1, *(int(n) for n in rng.integers(1, 4, 2)))
        stride = some(rng, 1, (1, 2, 1), (2, 1, 3))
        padding = (0, *(int(rng.integers(0, k // 2 + 1)) for k in kernel[1:]))
        dilation = some(rng, 1, (3, 1, 2))
        kind = rng.integers(3)
        if kind == 0:
            weight, bias = (
                array(rng, o * groups, c, *kernel),
                some(rng, None, array(rng, o * groups)),
            )
            options = {
                "stride": stride,
                "padding": some(rng, padding, "valid", "same") if stride == 1 else padding,
                "dilation": dilation,
                "groups": groups,
            }
            arrays = [v if v is None else torch.from_numpy(v.copy()) for v in (weight, bias)]
            ours: Any = partial(fastconv.conv3d, weight=weight, bias=bias, **options)
            theirs: Any = lambda x, a=arrays, o=options: F.conv3d(x, *a, **o)  # noqa: E731
        else:
            name = ("max_pool3d", "avg_pool3d")[kind - 1]
            last = (
                (dilation, bool(rng.integers(2)))
                if kind == 1
                else (False, True, some(rng, None, 3))
            )
            arguments = (kernel, some(rng, None, stride), padding, *last)
            ours = lambda x, out=None, n=name, a=arguments: getattr(fastconv, n)(x, *a, out=out)  # noqa: E731
            theirs = lambda x, n=name, a=arguments: getattr(F, n)(x, *a)  # noqa: E731
        succeeded += compare(ours, theirs, x)
    assert succeeded > 25


LAYERS: dict[str, tuple[Any, ...]] = {
    "ConvTranspose1d": ((4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
    "Conv3d": ((4, 6, (1, 3, 3)), {"padding": (0, 1, 1), "stride": (1, 2, 2), "bias": False}),
    "MaxPool1d": ((3, 2, 1), {"dilation": 1, "ceil_mode": True}),
    "MaxPool3d": (((1, 3, 2), (1, 2, 2), (0, 1, 1)), {}),
    "AvgPool1d": ((3, 2, 1), {"ceil_mode": True, "count_include_pad": False}),
    "AvgPool3d": (((1, 3, 2), (1, 2, 2), (0, 1, 1)), {"count_include_pad": False}),
    "AdaptiveAvgPool1d": ((3,), {}),
    "AdaptiveMaxPool1d": ((3,), {}),
    "LPPool1d": ((2, 3), {"stride": 2, "ceil_mode": True}),
    "LPPool2d": ((2, (3, 2)), {"stride": 2, "ceil_mode": True}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_load_torchs_state(name: str) -> None:
    args, kwargs = LAYERS[name]
    theirs = getattr(torch.nn, name)(*args, **kwargs).double().eval()
    ours = getattr(nn, name)(*args, **kwargs).double()
    ours.load_state_dict(theirs.state_dict())
    rank = int(name[-2])
    x = np.random.default_rng(0).standard_normal((2, 4, *(5, 9, 8)[3 - rank :]))
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(x)).numpy()
        one = theirs(torch.from_numpy(x[0])).numpy()
    for call in (ours, ours.eager, ours.compile(x.shape, precision="fp64")):
        np.testing.assert_allclose(call(x), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours(x[0]), one, rtol=1e-12, atol=1e-12)


def test_every_pool_of_torch_is_here_or_has_a_substitute() -> None:
    """Those that need indices or random numbers, or windows of several slices, are not."""
    pools = {n for n, v in vars(torch.nn).items() if inspect.isclass(v) and "pool" in n.lower()}
    missing = {n for n in pools if n not in nn.__all__}
    assert missing == {
        *("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "FractionalMaxPool2d"),
        *("FractionalMaxPool3d", "LPPool3d", "AdaptiveMaxPool3d", "AdaptiveAvgPool3d"),
    }
