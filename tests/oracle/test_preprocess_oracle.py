"""preprocess against torchvision's transforms, and timm's where height and width differ."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fastconv.preprocess import preprocess
from PIL import Image
from timm.data import create_transform
from torchvision import transforms
from torchvision.transforms import InterpolationMode

pytestmark = pytest.mark.oracle

EXAMPLES = Path(__file__).parents[2] / "examples"


def compare(image, size, resized, crop_pct, interpolation, mean, std):
    steps = [
        transforms.Resize(resized, InterpolationMode(interpolation)),
        transforms.CenterCrop(size),
        transforms.PILToTensor(),
    ]
    pixels = transforms.Compose(steps)(image)
    cfg = {
        "input_size": (3, size, size),
        "crop_pct": crop_pct,
        "interpolation": interpolation,
        "mean": mean,
        "std": std,
    }
    x = preprocess(image, SimpleNamespace(default_cfg=cfg))
    restored = x[0].astype(np.float64) * np.reshape(std, (3, 1, 1)) + np.reshape(mean, (3, 1, 1))
    np.testing.assert_array_equal(np.rint(restored * 255), pixels.numpy())
    normalised = transforms.Normalize(mean, std)(pixels.to(torch.float64) / 255).numpy()
    np.testing.assert_allclose(x[0], normalised, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("photo", ["coffee.jpg", "chelsea.jpg"])
@pytest.mark.parametrize(
    ("size", "resized", "crop_pct", "interpolation"),
    [
        (224, 256, 0.875, "bicubic"),
        (224, 256, 0.875, "bilinear"),
        (224, 232, 224 / 232, "bilinear"),
        (224, 236, 224 / 236, "bilinear"),
        (64, 64, 1.0, "nearest"),
    ],
)
def test_photos(photo, size, resized, crop_pct, interpolation):
    with Image.open(EXAMPLES / photo) as image:
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        compare(image, size, resized, crop_pct, interpolation, mean, std)


def test_any_size():
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = rng.integers(1, 400, 2)
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        if max(height, width) < 60 * min(height, width):
            compare(image, 96, 109, 96 / 109, "bicubic", (127 / 255,) * 3, (128 / 255,) * 3)


@pytest.mark.parametrize("photo", ["coffee.jpg", "chelsea.jpg"])
@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_one_channel(photo, size):
    """A grey image goes through the same steps as the image that torchvision makes grey."""
    with Image.open(EXAMPLES / photo) as image:
        steps = [transforms.Grayscale(), create_transform(size, interpolation="bicubic")]
        steps[1].transforms[-1] = transforms.Normalize(0.25, 0.5)
        normalised = transforms.Compose(steps)(image).numpy()
        cfg = {"input_size": (1, *size), "crop_pct": 0.875, "interpolation": "bicubic"}
        x = preprocess(image, SimpleNamespace(default_cfg={**cfg, "mean": (0.25,), "std": (0.5,)}))
    np.testing.assert_allclose(x[0], normalised, rtol=1e-6, atol=1e-6)


def test_rectangles():
    rng = np.random.default_rng(1)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    for _ in range(60):
        height, width = rng.integers(20, 400, 2)
        size = tuple(int(side) for side in rng.integers(30, 120, 2))
        crop_pct = float(rng.uniform(0.7, 1))
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        theirs = create_transform(
            (3, *size), interpolation="bilinear", mean=mean, std=std, crop_pct=crop_pct
        )
        cfg = {"input_size": (3, *size), "crop_pct": crop_pct, "interpolation": "bilinear"}
        x = preprocess(image, SimpleNamespace(default_cfg={**cfg, "mean": mean, "std": std}))
        np.testing.assert_allclose(x[0], theirs(image).numpy(), rtol=1e-5, atol=1e-5)
