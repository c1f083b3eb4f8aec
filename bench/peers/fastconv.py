"""fastconv itself: compiled networks and prepared convolutions, or functional calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastconv
import numpy as np
from fastconv import nn
from fastconv.benchmark.worker import Run

from bench.cases import LayerCase, ModelCase


def _convolution(case: LayerCase, folder: Path) -> tuple[Any, ...]:
    arrays = (np.load(folder / f"{name}.npy") for name in ("x", "weight", "bias"))
    options = {
        "stride": case.stride,
        "padding": case.padding,
        "dilation": case.dilation,
        "groups": case.groups,
    }
    return (*arrays, options)


class Network:
    """`Module.compile`, and `prepare_conv2d` for layers."""

    name = "fastconv"
    version = fastconv.__version__
    settings = f"compiled; prepared; {fastconv.show_config('dict')['isa']}"

    def __init__(self, threads: int) -> None:
        fastconv.set_num_threads(threads)
        self._profile: Callable[[], list[dict[str, Any]]] = list

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        self._profile = list
        if isinstance(case, LayerCase):
            x, weight, bias, options = _convolution(case, folder)
            prepared = fastconv.prepare_conv2d(weight, bias, **options, input_shape=x.shape)
            return lambda: prepared(x)
        x = np.load(folder / "x.npy")
        with nn.init.skip():
            model = fastconv.create_model(case.model)
        with np.load(folder / "weights.npz") as weights:
            model.load_state_dict(dict(weights))
        network = model.compile(x.shape)
        self._profile = lambda: list(network.profile(x))
        return lambda: network(x)

    def profile(self) -> list[dict[str, Any]]:
        """Return the steps of a network; none of a layer."""
        return self._profile()


class Functional(Network):
    """`conv2d`, which packs the weights in each call."""

    name = "fastconv-functional"
    settings = "conv2d, weights packed in each call"

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        if not isinstance(case, LayerCase):
            raise NotImplementedError("only single layers have a functional form")
        x, weight, bias, options = _convolution(case, folder)
        return lambda: fastconv.conv2d(x, weight, bias, **options)
