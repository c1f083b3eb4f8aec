"""Calls every operator on arrays that begin or end at pages which nobody may touch.

``python tests/guard_pages.py [--calls N] [--first NUMBER]`` runs N random calls on each instruction
set of this CPU. Inputs, weights and ``out=`` lie against protected pages, at either end; what a
call reads or writes beyond them ends the process, and the message names the call. Results must be
those of ordinary arrays, bit for bit, and the memory around them must stay as it was.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import fastconv
import fastconv.ops as F
import numpy as np
from fastconv import nn
from numpy.typing import NDArray

Array = NDArray[Any]
Call = tuple[str, Callable[..., Any], dict[str, Array], dict[str, Any]]
"""A name, what is called, its arrays and its other arguments."""

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 47, 48, 65)
ALGORITHMS = ("auto", "im2col", "direct", "depthwise", "winograd2", "winograd4", "winograd6")
ACTIVATIONS = (None, "relu", "relu6", "gelu", "silu", "hardswish", "sigmoid", "tanh")
POINTWISE = (
    *(F.relu, F.relu6, F.leaky_relu, F.gelu, F.silu, F.hardswish, F.hardsigmoid, F.sigmoid),
    F.tanh,
)


class Fence:
    """A piece of memory between two pages that may not be touched."""

    BYTES = 1 << 23

    def __init__(self) -> None:
        page = mmap.PAGESIZE
        self._map = mmap.mmap(-1, self.BYTES + 2 * page)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        libc = ctypes.CDLL(None, use_errno=True)
        for address in (first, first + page + self.BYTES):
            if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(page), 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")
        self._bytes = np.frombuffer(self._map, np.uint8, self.BYTES, page)

    def place(self, values: Array, at_end: bool) -> Array:
        """Return a copy of these values that begins or ends at a protected page."""
        begin = self.BYTES - values.nbytes if at_end else 0
        self._begin, self._end = begin, begin + values.nbytes
        self._around()[:] = 0xA5
        placed = self._bytes[begin : begin + values.nbytes].view(values.dtype)
        placed = placed.reshape(values.shape)
        placed[...] = values
        return placed

    def is_intact(self) -> bool:
        """Whether nobody has written beside the array on the side without a protected page."""
        return bool((self._around() == 0xA5).all())

    def _around(self) -> Array:
        near = 256
        if self._begin:
            return self._bytes[max(self._begin - near, 0) : self._begin]
        return self._bytes[self._end : self._end + near]


# ---- Random calls --------------------------------------------------------------------------------


class Draw:
    """The random choices of one call."""

    def __init__(self, number: int) -> None:
        self.rng = np.random.default_rng(number)
        self.dtype = self.pick(np.float32, np.float32, np.float64)

    def pick(self, *values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def size(self, most: int = 65) -> int:
        return int(self.pick(*(n for n in SIZES if n <= most)))

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def array(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(self.dtype)

    def image(self, channels: int | None = None, least: int = 1) -> Array:
        c = self.size() if channels is None else channels
        h, w = (max(least, self.size(33)) for _ in range(2))
        return self.array(self.pick(1, 1, 2), c, h, w)


def conv2d(d: Draw) -> Call:
    kind = d.pick("3x3", "1x1", "any", "depthwise", "grouped")
    kernel = {"3x3": (3, 3), "1x1": (1, 1)}.get(kind, (d.between(1, 5), d.between(1, 7)))
    groups = d.size(33) if kind == "depthwise" else d.between(2, 5) if kind == "grouped" else 1
    c = 1 if kind == "depthwise" else d.size(17) if kind == "grouped" else d.size()
    o = d.pick(1, 1, 2) if kind == "depthwise" else d.size(33)
    stride = 1 if kind == "3x3" and d.pick(True, False) else d.between(1, 3)
    padding = d.between(0, 3)
    x = d.image(c * groups, max(kernel))
    arrays = {"x": x, "weight": d.array(o * groups, c, *kernel)}
    options: dict[str, Any] = {"stride": stride, "padding": padding, "groups": groups}
    if d.pick(True, False):
        arrays["bias"] = d.array(o * groups)
    if d.pick(True, False):
        sizes = [
            (n + 2 * padding - k) // stride + 1 for n, k in zip(x.shape[2:], kernel, strict=True)
        ]
        arrays["residual"] = d.array(x.shape[0], o * groups, *sizes)
    options["activation"] = d.pick(*ACTIVATIONS)
    options["algorithm"] = algorithm = d.pick(*ALGORITHMS)
    winograd = kernel == (3, 3) and stride == 1
    if (algorithm.startswith("winograd") and not winograd) or (algorithm == "depthwise" and c > 1):
        options["algorithm"] = "auto"
    return "conv2d", F.conv2d, arrays, options


def prepared(d: Draw) -> Call:
    _, _, arrays, options = conv2d(d)
    options.pop("algorithm")
    options["accuracy"] = d.pick("fast", "exact", "fastest")

    def call(x: Array, weight: Array, out: Any = None, **more: Any) -> Any:
        residual = more.pop("residual", None)
        bias = more.pop("bias", None)
        made = F.prepare_conv2d(weight, bias, input_shape=x.shape, **more)
        return made(x, residual=residual, out=out)

    return "prepare_conv2d", call, arrays, options


def conv_transpose2d(d: Draw) -> Call:
    groups = d.pick(1, 1, 2, 3)
    c, o, kernel = d.size(33), d.size(17), (d.between(1, 4), d.between(1, 4))
    arrays = {"x": d.image(c * groups), "weight": d.array(c * groups, o, *kernel)}
    if d.pick(True, False):
        arrays["bias"] = d.array(o * groups)
    return (
        "conv_transpose2d",
        F.conv_transpose2d,
        arrays,
        {
            "stride": d.between(1, 3),
            "groups": groups,
            "activation": d.pick(*ACTIVATIONS),
        },
    )


def linear(d: Draw) -> Call:
    c, o = d.between(1, 300), d.between(1, 70)
    arrays = {"x": d.array(d.size(33), c), "weight": d.array(o, c), "bias": d.array(o)}
    return "linear", F.linear, arrays, {"activation": d.pick(*ACTIVATIONS)}


def norm(d: Draw) -> Call:
    kind = d.pick("batch_norm", "layer_norm", "local_response_norm")
    if kind == "local_response_norm":
        return kind, F.local_response_norm, {"x": d.image()}, {"size": d.between(1, 7)}
    if kind == "layer_norm":
        shape = (d.between(1, 100),)
        arrays = {
            "x": d.array(d.size(), *shape),
            "weight": d.array(*shape),
            "bias": d.array(*shape),
        }
        return kind, F.layer_norm, arrays, {"normalized_shape": shape}
    x = d.pick(d.image(), d.array(d.size(), d.size()))
    arrays = {"x": x, "running_mean": d.array(x.shape[1]), "running_var": d.array(x.shape[1]) ** 2}
    return kind, F.batch_norm, arrays, {"eps": 0.1, "activation": d.pick(*ACTIVATIONS)}


def pointwise(d: Draw) -> Call:
    function = d.pick(*POINTWISE)
    return function.__name__, function, {"x": d.array(d.between(1, 300))}, {}


def binary(d: Draw) -> Call:
    a = d.pick(d.image(), d.array(d.size(), d.between(1, 100)))
    shape = tuple(d.pick(n, n, 1) for n in a.shape)[d.between(0, 1) :]
    function = d.pick(F.add, F.multiply)
    return function.__name__, function, {"a": a, "b": d.array(*shape)}, {}


def pool(d: Draw) -> Call:
    x = d.image(least=3)
    if d.pick(True, False):
        sizes = {"output_size": (d.between(1, 9), d.between(1, 9))}
        function = d.pick(F.adaptive_avg_pool2d, F.adaptive_max_pool2d)
        return function.__name__, function, {"x": x}, sizes
    options = {
        "kernel_size": (d.between(2, 3), d.between(2, 3)),
        "stride": d.between(1, 3),
        "padding": d.between(0, 1),
        "ceil_mode": d.pick(True, False),
    }
    function = d.pick(F.max_pool2d, F.avg_pool2d)
    return function.__name__, function, {"x": x}, options


def reduction(d: Draw) -> Call:
    x = d.array(*(d.size(33) for _ in range(d.between(1, 4))))
    axis = d.between(0, x.ndim - 1)
    function = d.pick(F.mean, F.softmax, F.log_softmax)
    return function.__name__, function, {"x": x}, {"axis": axis}


def resize(d: Draw) -> Call:
    mode = d.pick("nearest", "bilinear")
    size = (d.between(1, 40), d.between(1, 40))
    return "interpolate", F.interpolate, {"x": d.image()}, {"size": size, "mode": mode}


def move(d: Draw) -> Call:
    kind = d.pick("pad", "permute", "channel_shuffle", "pixel_shuffle", "concat")
    if kind == "channel_shuffle":
        groups = d.between(1, 5)
        return kind, F.channel_shuffle, {"x": d.image(groups * d.size(16))}, {"groups": groups}
    if kind == "pixel_shuffle":
        r = d.between(1, 3)
        return kind, F.pixel_shuffle, {"x": d.image(r * r * d.size(9))}, {"upscale_factor": r}
    x = d.image(least=3)
    if kind == "permute":
        return kind, F.permute, {"x": x}, {"dims": tuple(map(int, d.rng.permutation(4)))}
    if kind == "concat":
        other = d.array(x.shape[0], d.size(), *x.shape[2:])

        def concat(x: Array, other: Array, out: Any = None) -> Any:
            return F.concat([x, other], 1, out=out)

        return kind, concat, {"x": x, "other": other}, {}
    pad = [d.between(0, 2) for _ in range(4)]
    return kind, F.pad, {"x": x}, {"pad": pad, "mode": d.pick("constant", "reflect", "replicate")}


class Small(nn.Module):
    """A network with values in channel blocks, whose channels fill none."""

    def __init__(self, d: Draw, channels: int) -> None:
        c, o = d.size(33), d.size(33)
        self.first = nn.Conv2d(channels, c, 3, padding=1, stride=d.between(1, 2))
        self.norm = nn.BatchNorm2d(c)
        self.second = d.pick(
            nn.Conv2d(c, c, 3, padding=1, groups=c),
            nn.Conv2d(c, c, 3, padding=1),
            nn.Conv2d(c, c, 1),
        )
        self.third = nn.ConvTranspose2d(c, o, 2, stride=2)
        self.pool = d.pick(nn.MaxPool2d(2, 1, 1), nn.AvgPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(3))
        self.fc = nn.Linear(o, d.size())
        self.activation = d.pick(nn.ReLU(), nn.SiLU(), nn.GELU())

    def forward(self, x: Any) -> Any:
        x = self.activation(self.norm(self.first(x)))
        x = self.pool(self.third(self.second(x) + x))
        return self.fc(F.concat([x, x], 2).mean((2, 3)))


def network(d: Draw) -> Call:
    x = d.image(least=2)
    model = Small(d, x.shape[1]).astype(d.dtype)

    def call(x: Array, out: Any = None, **parameters: Array) -> Any:
        model.load_state_dict({name.replace("/", "."): p for name, p in parameters.items()})
        return model.compile(x.shape)(x, out=out)

    state = {key.replace(".", "/"): np.array(value) for key, value in model.state_dict().items()}
    state.pop("norm/num_batches_tracked", None)
    return "network", call, {"x": x, **state}, {}


def transposed_network(d: Draw) -> Call:
    """Large enough for all algorithms."""
    c, o = d.pick(32, 33, 64), d.pick(32, 40, 47)
    kernel, stride = d.pick((4, 2), (3, 2), (2, 2), (5, 3))
    padding = d.between(0, kernel - stride)
    arrays = {
        "x": d.array(d.pick(1, 2), c, d.between(14, 18), d.between(14, 18)),
        "weight": d.array(c, o, kernel, kernel),
        "bias": d.array(o),
    }
    activation = d.pick(nn.ReLU(), nn.SiLU(), nn.Identity())

    def call(x: Array, weight: Array, bias: Array, out: Any = None) -> Any:
        layer = nn.ConvTranspose2d(c, o, kernel, stride, padding).astype(x.dtype)
        layer.weight, layer.bias = weight, bias
        return nn.Sequential(layer, activation).compile(x.shape)(x, out=out)

    return "transposed network", call, arrays, {}


KINDS = (
    *(conv2d, conv2d, conv2d, prepared, conv_transpose2d, linear, norm, pointwise, binary, pool),
    *(reduction, resize, move, network, transposed_network),
)


# ---- Running them --------------------------------------------------------------------------------


def make(number: int) -> tuple[Draw, Call]:
    """Return the call of this number."""
    d = Draw(number)
    return d, d.pick(*KINDS)(d)


def describe(call: Call) -> str:
    """Return a call in one line."""
    name, _, arrays, options = call
    shapes = ", ".join(f"{key}={a.shape} {a.dtype}" for key, a in arrays.items() if "/" not in key)
    return f"{name}({shapes}, {', '.join(f'{k}={v!r}' for k, v in options.items())})"


def run(number: int, fences: Mapping[str, Fence]) -> None:
    """Make a call on ordinary arrays, and again between protected pages; the results are equal."""
    d, (_, function, arrays, options) = make(number)
    expected = function(**arrays, **options)
    at_end = d.pick(True, False)
    placed = {}
    spare = [fences[f"array {i}"] for i in range(len(fences) - 1)]
    for (key, array), fence in zip(arrays.items(), spare, strict=False):
        placed[key] = fence.place(array, at_end)
    rest = {key: array for key, array in arrays.items() if key not in placed}
    out = fences["out"].place(np.full_like(expected, np.nan), at_end)
    y = function(**placed, **rest, **options, out=out)
    assert y is out
    np.testing.assert_array_equal(out, expected)
    for (key, array), fence in zip(arrays.items(), spare, strict=False):
        np.testing.assert_array_equal(placed[key], array, err_msg=key)
        assert fence.is_intact(), f"{key}: written beside it"
    assert fences["out"].is_intact(), "written beside out"


def work(first: int, count: int, progress: int) -> None:
    """Make these calls; before each, write its number to a file, in case it is the last."""
    fastconv.set_num_threads(1)
    fences = {name: Fence() for name in ("out", *(f"array {i}" for i in range(9)))}
    for number in range(first, first + count):
        os.pwrite(progress, b"%20d" % number, 0)
        try:
            run(number, fences)
        except Exception as error:
            raise AssertionError(f"call {number}: {describe(make(number)[1])}") from error


def search(isa: str, first: int, count: int) -> str | None:
    """Make calls in a process of its own; return what went wrong."""
    import tempfile

    with tempfile.TemporaryFile() as progress:
        command = [sys.executable, __file__, "--worker", str(progress.fileno())]
        command += ["--calls", str(count), "--first", str(first)]
        done = subprocess.run(
            command,
            env={**os.environ, "FASTCONV_ISA": isa},
            pass_fds=[progress.fileno()],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return None
        number = int(os.pread(progress.fileno(), 20, 0) or -1)
        call = describe(make(number)[1]) if number >= 0 else "no call"
        return f"{isa}: exit code {done.returncode} in call {number}: {call}\n{done.stderr[-3000:]}"


def main() -> int:
    """Run the search on every instruction set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=70000, help="on each instruction set")
    parser.add_argument("--first", type=int, default=0, help="number of the first call")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.first, arguments.calls, arguments.worker)
        return 0
    failed = 0
    for isa in fastconv.show_config("dict")["isa_found"]:
        problem = search(isa, arguments.first, arguments.calls)
        print(problem or f"{isa}: {arguments.calls} calls", flush=True)
        failed += problem is not None
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
