"""Random weights with which deep networks can be compared and timed fairly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.models.blocks import CNBlock
from fastconv.nn.module import Array


def randomise(model: nn.Module, x: Array, seed: int = 0) -> Array:
    """Give a network random weights that all influence the result; return its result for `x`.

    With the initial values of the papers, signals grow or vanish from layer to layer, so that all
    libraries agree on garbage. Here kernels keep the size of signals, and the statistics of batch
    norms are those of `x`. Biases are positive: a deep network with half of its activations at zero
    is chaotic, and rounding errors grow from layer to layer.

    Parameters
    ----------
    model : Module
        Changed in place.
    x : ndarray
        A batch of images.
    seed : int
        Of the weights.

    Returns
    -------
    ndarray
        ``model.eager(x)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> from fastconv.benchmark.random_weights import randomise
    >>> model = fastconv.create_model("mobilenet_v3_small")
    >>> x = np.random.default_rng(0).standard_normal((4, 3, 64, 64), np.float32)
    >>> bool(0.1 < randomise(model, x).std() < 100)
    True
    """
    rng = np.random.default_rng(seed)
    norms = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight = nn.init.kaiming_normal(layer.weight.shape, rng, "fan_in")
        elif isinstance(layer, CNBlock):
            layer.layer_scale = rng.uniform(0.1, 0.3, layer.layer_scale.shape)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.weight = rng.uniform(0.5, 1.0, layer.running_mean.shape)
            norms.append(layer)
        if (bias := getattr(layer, "bias", None)) is not None:
            layer.bias = rng.random(bias.shape, np.float32)
    for norm in norms:
        norm.forward = _observing(norm)  # type: ignore[method-assign,assignment]
    try:
        result: Array = model.eager(x)
    finally:
        for norm in norms:
            del norm.forward
    return result


def _observing(norm: nn.BatchNorm2d) -> Callable[[Any], Any]:
    """Return a `forward` that first sets the norm's statistics to those of its input."""

    def forward(x: Any) -> Any:
        norm.running_mean = x.mean((0, 2, 3))
        norm.running_var = x.var((0, 2, 3))
        return type(norm).forward(norm, x)

    return forward
