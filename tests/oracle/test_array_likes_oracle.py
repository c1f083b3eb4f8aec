"""Tensors of torch wherever fastconv takes an array."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
import pytest
import torch
from fastconv import nn

pytestmark = pytest.mark.oracle

IMAGES = torch.ones(1, 4, 8, 8)
WEIGHT = np.ones((4, 4, 3, 3), np.float32)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch deprecates them, but checkpoints hold them
    QUANTIZED = torch.quantize_per_tensor(IMAGES, 0.1, 0, torch.qint8)

REFUSED = {
    "requires_grad": (IMAGES.clone().requires_grad_(), r"\.detach\(\)"),
    "parameter": (torch.nn.Parameter(IMAGES), r"\.detach\(\)"),
    "bfloat16": (IMAGES.bfloat16(), r"\.float\(\)"),
    "meta": (IMAGES.to("meta"), "meta"),
    "sparse": (IMAGES.to_sparse(), r"to_dense\(\)"),
    "quantized": (QUANTIZED, "ScalarType"),
    "conjugate": (torch.ones(1, 4, 8, 8, dtype=torch.cfloat).conj(), r"resolve_conj\(\)"),
    "list": ([IMAGES[0].clone().requires_grad_()], r"\.detach\(\)"),
    "integers": (torch.ones(1, 4, 8, 8, dtype=torch.int32), r"astype\(np\.float32\)"),
}
LAYER = nn.Conv2d(4, 4, 3)
ENTRIES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "op": ("x", lambda tensor: fastconv.conv2d(tensor, WEIGHT)),
    "weight": ("weight", lambda tensor: fastconv.conv2d(IMAGES.numpy(), tensor)),
    "prepared": ("x", fastconv.prepare_conv2d(WEIGHT)),
    "module": ("x", LAYER),
    "eager": ("x", LAYER.eager),
    "network": ("x", LAYER.compile((1, 4, 8, 8))),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", REFUSED)
def test_tensors_that_numpy_cannot_take(kind: str, entry: str) -> None:
    (tensor, mend), (name, call) = REFUSED[kind], ENTRIES[entry]
    with pytest.raises(TypeError, match=rf"(?s)^{name} must be .*{mend}"):
        call(tensor)


@pytest.mark.parametrize("entry", ENTRIES)
def test_plain_tensors(entry: str) -> None:
    _, call = ENTRIES[entry]
    np.testing.assert_array_equal(call(IMAGES.detach()), call(IMAGES.numpy()))
