"""preprocess against transformers' own image processors, through the files that they save."""

from __future__ import annotations

import json
from pathlib import Path

import fastconv
import numpy as np
import pytest
import transformers
from fastconv.models import _image_processor, _transformers_config
from PIL import Image

pytestmark = pytest.mark.oracle

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resnet")
    model = fastconv.create_model("resnet18", num_classes=2)
    fastconv.weights.save(folder / "model.safetensors", model.state_dict())
    config = {"model_type": "resnet", "layer_type": "basic"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


SHAPES = ((400, 200), (200, 401), (64, 64), (37, 300), (301, 99))


def photos():
    with Image.open(EXAMPLES / "coffee.jpg") as photo:
        yield photo.convert("RGB")
    rng = np.random.default_rng(0)
    for width, height in SHAPES:
        yield Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def ramps():
    """From dark grey, to be told from a black border, to white: right, down, and both."""
    for width, height in SHAPES:
        right, down = np.meshgrid(np.linspace(40, 255, width), np.linspace(40, 255, height))
        pixels = np.stack([right, down, (right + down) / 2], axis=2)
        yield Image.fromarray(np.rint(pixels).astype(np.uint8))


PROCESSORS = [
    ("ConvNext", {"size": {"shortest_edge": 224}}),
    ("ConvNext", {"size": {"shortest_edge": 224}, "crop_pct": 0.95, "resample": 2}),
    ("ConvNext", {"size": 288, "crop_pct": 1.0, "resample": 1}),
    ("ConvNext", {}),
    ("ConvNext", {"size": {"shortest_edge": 416}, "do_rescale": False}),
    ("EfficientNet", {}),
    ("EfficientNet", {"size": {"height": 120, "width": 200}, "do_normalize": False}),
    ("EfficientNet", {"size": {"height": 256, "width": 256}, "do_center_crop": True,
                      "crop_size": {"height": 224, "width": 224}, "include_top": False}),
    ("EfficientNet", {"rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": False}),
    ("EfficientNet", {"resample": 0, "image_std": [0.3, 0.4, 0.6], "rescale_offset": True}),
    ("MobileNetV1", {}),
    ("MobileNetV2", {"size": {"shortest_edge": 160}, "crop_size": {"height": 160, "width": 160}}),
    ("MobileNetV2", {"size": {"shortest_edge": 200}, "crop_size": 224, "do_normalize": False}),
    ("Bit", {"resample": 2}),
    ("Bit", {"size": {"shortest_edge": 249}}),
    ("ViT", {}),
    ("ViT", {"size": {"height": 96, "width": 192}, "resample": 3, "do_rescale": False}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), PROCESSORS)
def test_processors(folder, kind, options):
    pil = getattr(transformers, f"{kind}ImageProcessorPil")(**options)
    pil.save_pretrained(folder)
    model = fastconv.create_model("resnet18", folder)
    assert model.checkpoint.preprocessing == str(folder / "preprocessor_config.json")
    scale = 255 * np.reshape(model.default_cfg["std"], (3, 1, 1))
    if options.get("crop_size") != 224:  # a border, of which Pillow's puts the larger half first
        for image in (*photos(), *ramps()):
            x, expected = fastconv.preprocess(image, model)[0], pixel_values(pil, image)
            assert x.shape == expected.shape
            # The same 8 bits: what is then computed in float32 is off by far less than a half.
            assert np.abs((x - expected) * scale).max() < 0.01
    if options.get("resample") not in (0, 1):
        processor = getattr(transformers, f"{kind}ImageProcessor")(**options)
        for image in ramps():
            x, expected = fastconv.preprocess(image, model)[0], pixel_values(processor, image)
            assert x.shape == expected.shape
            # Ramps make no filter overshoot. Both round by 1/2 after each of two passes, and the
            # weights of the second have absolute values of at most 5/4 in total: 2 (5/8 + 1/2).
            assert np.abs((x - expected) * scale).max() < 2.01


def pixel_values(processor, image):
    return processor(image, return_tensors="np")["pixel_values"][0]


@pytest.mark.parametrize(
    "kind", ["ResNet", "RegNet", "ConvNext", "EfficientNet", "MobileNetV1", "MobileNetV2"]
)
def test_every_key_of_a_model_is_known(kind):
    config = getattr(transformers, f"{kind}Config")()
    found = _transformers_config._MODEL_TYPES[config.model_type]
    known = {*found.fixed, *found.defaults, *found.shapes}
    known |= {*_transformers_config._USED, *_transformers_config._NO_EFFECT}
    assert config.to_dict().keys() <= known


@pytest.mark.parametrize("kind", ["ConvNext", "EfficientNet", "MobileNetV1", "MobileNetV2", "ViT"])
@pytest.mark.parametrize("backend", ["", "Pil"])
def test_every_key_of_a_processor_is_known(kind, backend):
    """And the values of absent ones are those of the class."""
    saved = getattr(transformers, f"{kind}ImageProcessor{backend}")().to_dict()
    cfg = _image_processor.read_image_processor(saved, "resnet", 3, "file")
    absent = {"image_processor_type": saved["image_processor_type"]}
    assert _image_processor.read_image_processor(absent, "resnet", 3, "file") == cfg


@pytest.mark.parametrize("kind", _image_processor._OF_MODELS)
def test_processors_of_models(kind):
    names = transformers.models.auto.image_processing_auto.IMAGE_PROCESSOR_MAPPING_NAMES
    expected = f"{_image_processor._OF_MODELS[kind]}ImageProcessor"
    assert names[kind]["torchvision"] == expected
