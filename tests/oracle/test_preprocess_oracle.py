"""preprocess against torchvision's transforms."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fastconv.preprocess import preprocess
from PIL import Image
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
