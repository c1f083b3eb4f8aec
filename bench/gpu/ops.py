"""Operators on the device against the CPU: many random cases, and sizes of real networks."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
from fastconv import cuda

from bench.gpu import device
from bench.gpu.items import Missing
from bench.gpu.record import ROOT

sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/oracle")]

SEEDS_AN_ITEM = 25


def _draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def _filters(o: int, c: int, kernel: int) -> Any:
    return _draw(o, c, kernel, kernel) / np.float32(np.sqrt(c * kernel * kernel))


_SMALL, _LARGE = (2, 64, 56, 56), (32, 64, 112, 112)

SIZES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "relu": (fastconv.relu, (_LARGE,)),
    "silu": (fastconv.silu, (_LARGE,)),
    "gelu": (fastconv.gelu, ((64, 49, 3072),)),
    "add": (fastconv.add, (_LARGE, _LARGE)),
    "multiply, one a channel": (fastconv.multiply, (_LARGE, (32, 64, 1, 1))),
    "softmax of many": (fastconv.softmax, ((70000, 10),)),
    "softmax of long rows": (fastconv.softmax, ((64, 21843),)),
    "log_softmax over channels": (lambda x: fastconv.log_softmax(x, 1), (_SMALL,)),
    "mean of all": (lambda x: fastconv.mean(x, None), (_SMALL,)),
    "mean over images": (lambda x: fastconv.mean(x, 0), (_SMALL,)),
    "mean over channels": (lambda x: fastconv.mean(x, 1), (_SMALL,)),
    "layer_norm": (lambda x: fastconv.layer_norm(x, 768), ((64, 49, 768),)),
    "batch_norm": (
        lambda x: fastconv.batch_norm(x, _draw(64), abs(_draw(64)) + 1, activation="silu"),
        (_LARGE,),
    ),
    "local_response_norm": (lambda x: fastconv.local_response_norm(x, 5), (_SMALL,)),
    "max_pool2d": (lambda x: fastconv.max_pool2d(x, 3, 2, 1), (_LARGE,)),
    "avg_pool2d": (lambda x: fastconv.avg_pool2d(x, 3, 2, 1), (_LARGE,)),
    "global_avg_pool2d": (fastconv.global_avg_pool2d, ((32, 2048, 7, 7),)),
    "adaptive_avg_pool2d": (lambda x: fastconv.adaptive_avg_pool2d(x, 6), ((32, 256, 13, 13),)),
    "interpolate": (lambda x: fastconv.interpolate(x, 224, mode="bilinear"), (_SMALL,)),
    "permute": (lambda x: fastconv.permute(x, (0, 2, 3, 1)), (_LARGE,)),
    "concat": (lambda x, y: fastconv.concat([x, y], 1), (_SMALL, (2, 33, 56, 56))),
    "channel_shuffle": (lambda x: fastconv.channel_shuffle(x, 4), (_LARGE,)),
    "pad": (lambda x: fastconv.pad(x, (3, 2, 1, 4), "reflect"), (_SMALL,)),
    "linear": (lambda x: fastconv.linear(x, _draw(1000, 2048) / 45), ((64, 2048),)),
    "conv2d 7x7/2": (
        lambda x: fastconv.conv2d(x, _filters(64, 3, 7), stride=2, padding=3),
        ((8, 3, 224, 224),),
    ),
    "conv2d 3x3": (
        lambda x: fastconv.conv2d(x, _filters(64, 64, 3), padding=1, activation="relu"),
        ((8, 64, 56, 56),),
    ),
    "conv2d 1x1": (lambda x: fastconv.conv2d(x, _filters(256, 1024, 1)), ((8, 1024, 14, 14),)),
    "conv2d 3x3, split": (
        lambda x: fastconv.conv2d(x, _filters(512, 512, 3), padding=1),
        ((1, 512, 7, 7),),
    ),
    "conv2d 3x3, 32 groups": (
        lambda x: fastconv.conv2d(x, _filters(128, 4, 3), padding=1, groups=32),
        ((8, 128, 56, 56),),
    ),
    "conv2d 7x7 depthwise": (
        lambda x: fastconv.conv2d(x, _filters(96, 1, 7), padding=3, groups=96),
        ((8, 96, 56, 56),),
    ),
    "conv_transpose2d": (
        lambda x: fastconv.conv_transpose2d(x, _draw(64, 32, 4, 4) / 16, None, 2, 1),
        (_SMALL,),
    ),
}


def names(quick: bool) -> list[str]:
    """Seeds of random cases, and sizes."""
    if device.emulated():
        return ["convolutions, seed 60", "differential, seed 0", "graphs, seed 40"]
    random = {"convolutions": (60, 1060), "differential": (0, 2000), "graphs": (40, 440)}
    found = list(SIZES)
    for kind, (first, last) in random.items():
        last = first + (last - first) // (10 if quick else 1)
        found += [f"{kind}, seed {seed}" for seed in range(first, last, SEEDS_AN_ITEM)]
    return found


def run(name: str) -> dict[str, Any]:
    """Compare one size, or `SEEDS_AN_ITEM` random cases."""
    kind, separator, first = name.partition(", seed ")
    if not separator:
        return _size(name)
    count = 3 if device.emulated() else SEEDS_AN_ITEM
    seeds = range(int(first), int(first) + count)
    {"convolutions": _convolutions, "differential": _differential, "graphs": _graphs}[kind](seeds)
    return {"cases": count}


def _size(name: str) -> dict[str, Any]:
    call, shapes = SIZES[name]
    arrays = [_draw(*shape, seed=i) for i, shape in enumerate(shapes)]
    expected = call(*arrays)
    for _ in range(2):
        y = call(*map(cuda.asarray, arrays)).numpy()
        assert y.shape == expected.shape
        error = float(abs(y - expected).max()) / max(1.0, float(abs(expected).max()))
        assert error <= 1e-5, f"off by {error:.1e} of the largest value"
    return {"errors": {"fp32": error}}


def _convolutions(seeds: range) -> None:
    tests = importlib.import_module("test_cuda_ops")
    for seed in seeds:
        tests.test_random_convolutions(seed)


def _graphs(seeds: range) -> None:
    from fastconv import _cuda

    tests = importlib.import_module("test_cuda_network")
    _cuda.set_poison_arenas(True)
    try:
        for seed in seeds:
            tests.test_random_graphs(seed)
    finally:
        _cuda.set_poison_arenas(False)


def _differential(seeds: range) -> None:
    """The CPU's differential cases, in float32, by each algorithm of the device."""
    try:
        differential: Any = importlib.import_module("differential")
    except ImportError as error:
        raise Missing(str(error)) from error
    differential.ALGORITHMS = ("implicit_gemm", "depthwise", "winograd4", "auto")
    differential.EXACT_ALGORITHMS = ("implicit_gemm", "depthwise")

    def convolve(x: Any, *operands: Any, residual: Any, out: None, **options: Any) -> Any:
        place = cuda.asarray
        there = None if residual is None else place(residual)
        y: Any = fastconv.conv2d(place(x), *operands, residual=there, **options)
        return y.numpy()

    for seed in seeds:
        case = differential.make_case(np.random.default_rng(seed))
        for field in ("x", "weight", "bias", "residual"):
            array = getattr(case, field)
            setattr(case, field, None if array is None else array.astype(np.float32))
        case.out = None
        failures = differential.check_case(case, convolve)
        assert not failures, f"seed {seed}: " + "\n".join(failures)
