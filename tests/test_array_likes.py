"""Objects that fail to become arrays: wherever fastconv takes one, a `TypeError` names it."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import fastconv as fc
import numpy as np
import pytest
from fastconv import nn

IMAGES = np.ones((1, 4, 8, 8), np.float32)
WEIGHT = np.ones((4, 4, 3, 3), np.float32)
VECTOR = np.ones(4, np.float32)
CFG = {
    "input_size": (3, 24, 24),
    "mean": 0.5,
    "std": 0.5,
    "interpolation": "bicubic",
    "crop_pct": 1.0,
}


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def forward(self, x: Any) -> Any:
        return self._function(x)


def recorded(function: Callable[[Any], Any]) -> Any:
    """Compile a function of images."""
    return Apply(function).compile(IMAGES.shape)


prepared = fc.prepare_conv2d(WEIGHT)
layer = nn.Conv2d(4, 4, 3)
network = layer.compile(IMAGES.shape)

# Each entry with the name of the argument that takes the object.
ENTRIES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "conv2d x": ("x", lambda bad: fc.conv2d(bad, WEIGHT)),
    "conv2d weight": ("weight", lambda bad: fc.conv2d(IMAGES, bad)),
    "conv2d bias": ("bias", lambda bad: fc.conv2d(IMAGES, WEIGHT, bad)),
    "conv2d residual": ("residual", lambda bad: fc.conv2d(IMAGES, WEIGHT, residual=bad)),
    "conv1d": ("x", lambda bad: fc.conv1d(bad, WEIGHT[..., 0])),
    "conv_transpose2d": ("weight", lambda bad: fc.conv_transpose2d(IMAGES, bad)),
    "conv_transpose1d": ("weight", lambda bad: fc.conv_transpose1d(IMAGES[0], bad)),
    "conv3d": ("weight", lambda bad: fc.conv3d(IMAGES, bad)),
    "max_pool1d": ("x", lambda bad: fc.max_pool1d(bad, 2)),
    "lp_pool2d": ("x", lambda bad: fc.lp_pool2d(bad, 2, 2)),
    "max_pool3d": ("x", lambda bad: fc.max_pool3d(bad, 1)),
    "grid_sample": ("grid", lambda bad: fc.grid_sample(IMAGES, bad)),
    "affine_grid": ("theta", lambda bad: fc.affine_grid(bad, (1, 1, 2, 2))),
    "depthwise_separable": (
        "depthwise_weight",
        lambda bad: fc.depthwise_separable_conv2d(IMAGES, bad, WEIGHT),
    ),
    "linear": ("weight", lambda bad: fc.linear(IMAGES, bad)),
    "prepare": ("weight", fc.prepare_conv2d),
    "prepared": ("x", prepared),
    "prepared residual": ("residual", lambda bad: prepared(IMAGES, bad)),
    "batch_norm": ("running_var", lambda bad: fc.batch_norm(IMAGES, VECTOR, bad)),
    "layer_norm": ("weight", lambda bad: fc.layer_norm(IMAGES, 8, bad)),
    "relu": ("x", fc.relu),
    "softmax": ("x", fc.softmax),
    "max_pool2d": ("x", lambda bad: fc.max_pool2d(bad, 2)),
    "interpolate": ("x", lambda bad: fc.interpolate(bad, 2)),
    "add": ("b", lambda bad: fc.add(IMAGES, bad)),
    "mean": ("x", fc.mean),
    "argmax": ("x", fc.argmax),
    "cumsum": ("x", fc.cumsum),
    "concat": (r"arrays\[1\]", lambda bad: fc.concat([IMAGES, bad])),
    "pad": ("x", lambda bad: fc.pad(bad, (1, 1))),
    "reshape": ("x", lambda bad: fc.reshape(bad, -1)),
    "module": ("x", layer),
    "eager": ("x", layer.eager),
    "network": ("x", network),
    "profile": ("x", network.profile),
    "recorded conv2d": ("weight", lambda bad: recorded(lambda x: fc.conv2d(x, bad))),
    "recorded bias": ("bias", lambda bad: recorded(lambda x: fc.conv2d(x, WEIGHT, bad))),
    "recorded residual": (
        "residual",
        lambda bad: recorded(lambda x: fc.conv2d(x, WEIGHT, residual=bad)),
    ),
    "recorded conv1d": ("weight", lambda bad: recorded(lambda x: fc.conv1d(x[0], bad))),
    "recorded grid": ("grid", lambda bad: recorded(lambda x: fc.grid_sample(x, bad))),
    "recorded linear": ("weight", lambda bad: recorded(lambda x: fc.linear(x, bad))),
    "recorded batch_norm": (
        "running_mean",
        lambda bad: recorded(lambda x: fc.batch_norm(x, bad, VECTOR)),
    ),
    "recorded layer_norm": ("bias", lambda bad: recorded(lambda x: fc.layer_norm(x, 8, None, bad))),
    "recorded add": ("a", lambda bad: recorded(lambda x: fc.add(bad, x))),
    "recorded concat": (r"arrays\[0\]", lambda bad: recorded(lambda x: fc.concat([bad, x]))),
    "recorded +": ("an input of add", lambda bad: recorded(lambda x: x + bad)),
    "preprocess": ("image", lambda bad: fc.preprocess(bad, types.SimpleNamespace(default_cfg=CFG))),
}


class Raises:
    """As a tensor of torch that requires gradients, or another object that NumPy cannot take."""

    requires_grad = False

    def __init__(self, error: Exception, **attributes: Any) -> None:
        self.error = error
        vars(self).update(attributes)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise self.error


class OnNoDevice:
    """As a tensor of torch's device "meta", which has no number in DLPack."""

    def __dlpack_device__(self) -> Any:
        raise ValueError("unknown device")

    def __dlpack__(self, **_: Any) -> Any:
        raise BufferError("cannot be exported")


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Raises(RuntimeError("needs grad."), requires_grad=True), r"needs grad: .*\.detach\(\)"),
        (Raises(TypeError("no type"), dtype="torch.bfloat16"), r"no type: .*\.float\(\)"),
        (Raises(KeyError("key")), "key"),
        (Raises(AssertionError()), "AssertionError"),
        (OnNoDevice(), "cannot be exported"),
        ([[1.0], [1.0, 2.0]], "inhomogeneous"),
        ([Raises(RuntimeError("inside"))], "inside|must be"),
    ],
    ids=["grad", "bfloat16", "KeyError", "AssertionError", "DLPack", "ragged", "list"],
)
def test_what_cannot_be_an_array_is_a_type_error(entry: str, bad: Any, says: str) -> None:
    name, call = ENTRIES[entry]
    says = "a path" if entry == "preprocess" else says
    with pytest.raises(TypeError, match=rf"^{name} must be .*({says})"):
        call(bad)


def test_no_memory_for_an_array_is_no_type_error() -> None:
    with pytest.raises(MemoryError):
        fc.relu(Raises(MemoryError()))


@pytest.mark.parametrize("key", ["mean", "std"])
def test_numbers_of_a_configuration(key: str) -> None:
    cfg = CFG | {key: Raises(RuntimeError("needs grad"))}
    with pytest.raises(ValueError, match=rf"default_cfg\['{key}'\] must be finite numbers"):
        fc.preprocess(np.zeros((9, 9, 3), np.uint8), types.SimpleNamespace(default_cfg=cfg))
