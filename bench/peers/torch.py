"""PyTorch: eager in channels-last, and compiled with frozen weights."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run

_keep: list[Any] = []


@functools.cache
def _torchvision() -> Any:
    """Import torchvision, also where its binary was built for another torch."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:  # it describes its own operators to torch, which classifiers do not call
        _keep.append(torch.library.Library("torchvision", "DEF"))
        for operator in ("nms", "qnms"):
            _keep[0].define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        return importlib.import_module("torchvision")


def network(case: ModelCase, folder: Path) -> torch.nn.Module:
    """Return the network with its weights, in float64 for ``"fp64"``."""
    models = _torchvision().models
    auxiliary = ("googlenet", "inception_v3")
    arguments = {"aux_logits": False, "init_weights": False} if case.model in auxiliary else {}
    if hasattr(models, case.model):
        model = getattr(models, case.model)(weights=None, **arguments)
    else:
        model = importlib.import_module("timm").create_model(case.model)
    if case.precision == "fp64":
        model = model.double()
    state = model.state_dict()
    with np.load(folder / "weights.npz") as weights:
        if state.keys() != weights.keys():
            raise ValueError(
                f"{case.model} has other weights here: {state.keys() ^ weights.keys()}"
            )
        for key, value in state.items():
            value.copy_(torch.from_numpy(weights[key]))
    return model.eval()


def layer(case: LayerCase, folder: Path) -> torch.nn.Module:
    """Return the layer with its weights."""
    weight, bias = (
        torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("weight", "bias")
    )
    module = torch.nn.Conv2d(
        case.channels, case.filters, case.kernel, **case.options, dtype=weight.dtype
    )
    module.load_state_dict({"weight": weight, "bias": bias})
    return module


class Eager:
    """Modules in channels-last layout; single layers as NCHW, as they come."""

    name = "torch-eager"
    version = torch.__version__
    settings = "inference mode, channels-last (layers: NCHW)"
    precisions = ("fp32", "fp64")

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        x = torch.from_numpy(np.load(folder / "x.npy"))
        if isinstance(case, LayerCase):
            return self._call(layer(case, folder), x)
        model = network(case, folder).to(memory_format=torch.channels_last)
        return self._call(model, x.to(memory_format=torch.channels_last))

    def _call(self, model: Any, x: torch.Tensor) -> Run:
        def run() -> np.ndarray:
            with torch.inference_mode():
                return model(x).numpy()

        return run


class Compiled(Eager):
    """`torch.compile` with the inductor's freezing, which packs weights once."""

    name = "torch"
    settings = "torch.compile(freezing), inference mode"

    def _call(self, model: Any, x: torch.Tensor) -> Run:
        importlib.import_module("torch._inductor.config").freezing = True
        compiled = torch.compile(model)

        def run() -> np.ndarray:
            with torch.no_grad():  # freezing is skipped in inference mode
                return compiled(x).numpy()

        return run
