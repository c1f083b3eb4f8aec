"""fastconv itself as a contender: compiled networks, prepared and functional convolutions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastconv
from fastconv import nn
from fastconv.benchmark.cases import AGREEMENT, LayerCase, ModelCase
from fastconv.benchmark.worker import Bound, Run

_SETTINGS = f"compiled; layers prepared; arrays bound; {fastconv.show_config('dict')['isa']}"


class Network:
    """`Module.compile`; `prepare_conv2d` for layers on the CPU."""

    name = "fastconv"
    version = fastconv.__version__
    accuracy = "fast"
    settings = f"{_SETTINGS}; accuracy 'fast'"
    devices: tuple[str, ...] = ("cpu", "cuda")
    precisions: tuple[str, ...] = tuple(AGREEMENT)
    """`Module.compile` refuses what a device lacks."""

    def __init__(self, threads: int) -> None:
        fastconv.set_num_threads(threads)
        self._profile: Callable[[], list[dict[str, Any]]] = list

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run | Bound:
        """Compile the network, or prepare the layer."""
        self._profile = list
        x = np.load(folder / "x.npy")
        if isinstance(case, ModelCase):
            with nn.init.skip():
                model: nn.Module = fastconv.create_model(case.model, dtype=x.dtype)
            with np.load(folder / "weights.npz") as weights:
                model.load_state_dict(dict(weights))
        else:
            weight, bias = (np.load(folder / f"{name}.npy") for name in ("weight", "bias"))
            if case.device == "cpu" and case.precision in ("fp32", "fp64"):
                options = case.options
                prepared = fastconv.prepare_conv2d(
                    weight, bias, **options, input_shape=x.shape, accuracy=self.accuracy
                )
                return _bound(prepared, x)
            model = nn.Conv2d(case.channels, case.filters, case.kernel, **case.options)
            model.load_state_dict({"weight": weight, "bias": bias})
        network = model.compile(
            x.shape, device=case.device, precision=case.precision, accuracy=self.accuracy
        )
        if isinstance(case, ModelCase):
            self._profile = lambda: list(network.profile(x))
        return _bound(network, x)

    def profile(self) -> list[dict[str, Any]]:
        """Return the steps of a network; none of a layer."""
        return self._profile()


class Fastest(Network):
    """The same with ``accuracy="fastest"``."""

    name = "fastconv-fastest"
    accuracy = "fastest"
    settings = f"{_SETTINGS}; accuracy 'fastest'"


class Functional(Network):
    """`conv2d`, which packs the weights in each call."""

    name = "fastconv-functional"
    settings = "conv2d, weights packed in each call, arrays bound"
    devices = ("cpu",)
    precisions = ("fp32", "fp64")

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run | Bound:
        """Bind the arguments."""
        if isinstance(case, ModelCase):
            raise NotImplementedError("only single layers have a functional form")
        x, weight, bias = (np.load(folder / f"{name}.npy") for name in ("x", "weight", "bias"))
        return _bound(lambda x, **out: fastconv.conv2d(x, weight, bias, **case.options, **out), x)


def _bound(function: Callable[..., NDArray[Any]], x: NDArray[Any]) -> Bound:
    y = function(x)
    return Bound(lambda: function(x, out=y), x, y)
