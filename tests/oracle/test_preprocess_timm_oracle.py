"""preprocess and `default_cfg` against timm's evaluation transforms: crop modes, and every tag."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import fastconv
import numpy as np
import pytest
import timm
import torchvision
from fastconv.models import _config, _timm_config, list_models, model_entry
from fastconv.preprocess import preprocess
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.models import PretrainedCfg, get_pretrained_cfg

pytestmark = pytest.mark.oracle

EXAMPLES = Path(__file__).parents[2] / "examples"

INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")

TAGS = [
    tag
    for tag in timm.list_pretrained()
    if _config.timm_architecture(tag.partition(".")[0])[0] in list_models()
]


def ramp(width, height):
    """An image that grows from 0 to 1 from left to right, and in green from top to bottom."""
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)
    red, green = np.meshgrid(x, y)
    pixels = np.stack([red, green, (red + green) / 2], axis=2)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def noise(rng, width, height):
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def same_pixels(image, cfg, theirs):
    """Compare with timm, by the 8-bit pixels, which are equal, and by what is made of them."""
    x = preprocess(image, SimpleNamespace(default_cfg=cfg))[0]
    expected = theirs(image).numpy()
    assert x.shape == expected.shape
    mean, std = (np.reshape(cfg[key], (3, 1, 1)) for key in ("mean", "std"))
    pixels, wanted = (np.rint((y * np.float64(std) + mean) * 255) for y in (x, expected))
    np.testing.assert_array_equal(pixels, wanted)
    # float32: timm rounds pixel / 255, the difference and the quotient, all below 1 / min(std).
    np.testing.assert_allclose(x, expected, rtol=0, atol=3 * 2**-23 / np.min(std))


def transform(cfg):
    return create_transform(**cfg, is_training=False)


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_crop_modes(crop_mode, interpolation):
    rng = np.random.default_rng(0)
    with Image.open(EXAMPLES / "coffee.jpg") as photo:
        images = [photo.convert("RGB"), ramp(400, 200), ramp(150, 420), ramp(64, 64), ramp(33, 35)]
    images += [noise(rng, *rng.integers(20, 300, 2)) for _ in range(6)]
    for image in images:
        for height, width in ((64, 64), (224, 224), (48, 96), (97, 61)):
            for crop_pct in (1.0, 0.95, 0.9, 0.875, 0.7):
                cfg = {
                    "input_size": (3, height, width),
                    "interpolation": interpolation,
                    "crop_pct": crop_pct,
                    "crop_mode": crop_mode,
                    "mean": (0.485, 0.456, 0.406),
                    "std": (0.229, 0.224, 0.225),
                }
                same_pixels(image, cfg, transform(cfg))


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_crops_larger_than_the_image(crop_mode):
    """With crop_pct above 1 a border is added: black, but for "border"."""
    rng = np.random.default_rng(1)
    for _ in range(40):
        height, width = (int(side) for side in rng.integers(20, 90, 2))
        cfg = {
            "input_size": (3, height, width),
            "interpolation": "bicubic",
            "crop_pct": float(rng.uniform(1, 2)),
            "crop_mode": crop_mode,
            "mean": tuple(rng.uniform(0, 1, 3)),
            "std": (0.5, 0.5, 0.5),
        }
        same_pixels(noise(rng, *rng.integers(10, 200, 2)), cfg, transform(cfg))


# ---- Published weights ---------------------------------------------------------------------------


def resolved(cfg):
    """What timm does with the sizes for tests."""
    found = resolve_data_config(pretrained_cfg=cfg, use_test_size=True)
    return {key: tuple(v) if isinstance(v, list | tuple) else v for key, v in found.items()}


def test_tags_are_those_of_the_families():
    assert len(TAGS) >= 239
    squashed = [tag for tag in TAGS if get_pretrained_cfg(tag).crop_mode == "squash"]
    assert len(squashed) >= 14
    larger = [tag for tag in TAGS if get_pretrained_cfg(tag).test_input_size is not None]
    assert len(larger) >= 80


def test_every_tag_of_timm():
    """Every configuration is read, and means what it means to timm."""
    images, cases = (ramp(400, 200), ramp(150, 420)), {}
    for tag in TAGS:
        cfg = json.loads(json.dumps(get_pretrained_cfg(tag).to_dict()))
        name, _ = _config.timm_architecture(cfg["architecture"])
        config = {
            "architecture": cfg["architecture"],
            "num_classes": cfg["num_classes"],
            "num_features": 8,
            "global_pool": "avg",
            "pretrained_cfg": cfg,
        }
        facts = _config.from_config(name, config, None, f"{tag}/config.json", list_models())
        assert facts.num_classes == cfg["num_classes"]
        assert facts.preprocessing == f"{tag}/config.json"
        ours = {key: value for key, value in facts.default_cfg.items() if value is not None}
        theirs = resolved(cfg)
        tested = {
            **{key: ours[key] for key in theirs},
            **{key: ours[f"test_{key}"] for key in theirs if f"test_{key}" in ours},
        }
        assert tested == theirs, tag
        assert ours["input_size"] == tuple(cfg["input_size"])
        cases[json.dumps(theirs, sort_keys=True)] = ours, theirs
    assert len(cases) > 30
    for ours, theirs in cases.values():  # the different ones
        for image in images:
            x = preprocess(image, SimpleNamespace(default_cfg=ours))
            np.testing.assert_allclose(
                x[0], transform(theirs)(image).numpy(), rtol=0, atol=3 * 2**-23 / min(ours["std"])
            )


@pytest.mark.parametrize(
    "tag",
    [
        "efficientnet_b5.sw_in12k_ft_in1k",
        "tf_efficientnetv2_m.in1k",
        "tf_efficientnetv2_l.in1k",
        "convnext_tiny.fb_in22k_ft_in1k_384",
    ],
)
def test_squash_keeps_the_whole_image(tag):
    """A ramp of 400 x 200 keeps its ends: nothing is cut off."""
    cfg = get_pretrained_cfg(tag).to_dict()
    name, _ = _config.timm_architecture(cfg["architecture"])
    config = json.loads(json.dumps({"architecture": cfg["architecture"], "pretrained_cfg": cfg}))
    ours = _config.from_config(name, config, None, "config.json", list_models()).default_cfg
    model = SimpleNamespace(default_cfg=ours)
    red = preprocess(ramp(400, 200), model, mean=0, std=1)[0, 0]
    assert red.min() < 0.009
    assert red.max() > 0.991
    cut = preprocess(ramp(400, 200), model, mean=0, std=1, crop_mode="center")[0, 0]
    assert 0.24 < cut.min() < cut.max() < 0.76


def test_every_key_of_timm_is_known():
    known = {*_timm_config._OF_WEIGHTS, *_timm_config._NO_EFFECT, "label_offset"}
    assert set(PretrainedCfg.__dataclass_fields__) <= known


@pytest.mark.parametrize("name", list_models())
def test_default_cfg_of_models_that_only_timm_has(name):
    """It is that of the weights at `hub`; torchvision's models have torchvision's."""
    hub = model_entry(name).hub
    if hub is None or hasattr(torchvision.models, name):
        return
    with fastconv.nn.init.skip():
        cfg = fastconv.create_model(name).default_cfg
    expected = get_pretrained_cfg(hub.removeprefix("timm/")).to_dict()
    for key in ("input_size", "interpolation", "crop_mode", "test_input_size", "test_crop_pct"):
        assert cfg.get(key) == expected.get(key), key
    # timm rounds 300 / 332 and such to three digits.
    assert cfg["crop_pct"] == pytest.approx(expected["crop_pct"], rel=0, abs=5e-4)
    # The authors of EfficientNet-Lite subtract 127 and divide by 128, timm takes a half for both.
    tolerance = 0.5 / 255 + 1e-12 if name.startswith("efficientnet_lite") else 0
    for key in ("mean", "std"):
        assert cfg[key] == pytest.approx(expected[key], rel=0, abs=tolerance), key
