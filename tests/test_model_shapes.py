"""Every model takes other sizes of images and other batches, compiled and eager alike."""

import itertools
import math

import fastconv
import numpy as np
import pytest
from fastconv import nn
from test_models import PARAMETERS

SIZES = [(160, 160), (192, 192), (320, 256)]
BATCHES = [1, 2, 3, 7, 16, 33]
TOLERANCE = 1e-4


def sized(name, size):
    """Return a case for a model at a size; large models are slow, and get the smallest one."""
    parameters = PARAMETERS.get(name, 0)
    size = size if parameters < 100e6 else SIZES[0]
    marks = [pytest.mark.slow] if parameters > 40e6 else []
    return pytest.param(name, size, marks=marks, id=f"{name}-{size[0]}x{size[1]}")


MODELS = list(map(sized, fastconv.list_models(), itertools.cycle(SIZES)))


def smallest_of_each_family(limit):
    """Return the models of less than `limit` parameters, the smallest one of each file."""
    names = sorted(fastconv.list_models(), key=lambda name: PARAMETERS.get(name, limit))
    families = {fastconv.models.model_entry(name).family: name for name in reversed(names)}
    return sorted(name for name in families.values() if PARAMETERS.get(name, limit) < limit)


def create(name):
    """Return a model with random weights of which every one matters.

    Kernels keep the size of signals; their values repeat, because drawing the largest takes long.
    Biases are positive: with activations that are zero half of the time, rounding errors would grow
    from layer to layer.
    """
    with nn.init.skip():
        model = fastconv.create_model(name)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(1_000_003, np.float32)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            scale = np.float32(math.sqrt(2 / nn.init.fan_in(layer.weight.shape)))
            weight = scale * np.resize(noise, layer.weight.shape)
            weight.flags.writeable = False  # so that it is not copied
            layer.weight = weight
        elif isinstance(layer, nn.CNBlock):  # 1e-6 in a new network, which hides the block
            layer.layer_scale = rng.uniform(0.1, 0.3, layer.layer_scale.shape).astype(np.float32)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.weight = rng.uniform(0.5, 1.0, layer.weight.shape).astype(np.float32)
        if getattr(layer, "bias", None) is not None:
            layer.bias = rng.random(layer.bias.shape, np.float32)
    return model


def images(model, batch, size):
    """Return noise, around another colour in each image."""
    rng = np.random.default_rng(1)
    channels = model.default_cfg["input_size"][0]
    colours = rng.standard_normal((batch, channels, 1, 1), np.float32)
    return colours + rng.standard_normal((batch, channels, *size), np.float32)


@pytest.fixture
def calibrate(monkeypatch):
    """``calibrate(model, x)`` makes the statistics of batch norms those of the images.

    It returns the eager result.
    """
    forward = nn.BatchNorm2d.forward

    def forward_calibrating(norm, x):
        norm.running_mean = x.mean((0, 2, 3))
        norm.running_var = x.var((0, 2, 3))
        return forward(norm, x)

    def run(model, x):
        with monkeypatch.context() as patch:
            patch.setattr(nn.BatchNorm2d, "forward", forward_calibrating)
            return model.eager(x)

    return run


def check(result, expected):
    scale = np.abs(expected).max()
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= TOLERANCE * scale


@pytest.mark.parametrize(("name", "size"), MODELS)
def test_other_sizes_compiled_and_eager(name, size, calibrate):
    model = create(name)
    x = images(model, 2, size)
    y = calibrate(model, x)
    assert y.shape == (2, model.num_classes)
    assert np.isfinite(y).all()
    assert np.abs(y[0] - y[1]).max() > 0.02 * np.abs(y).max()  # the images matter
    check(model(x), y)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", smallest_of_each_family(6e6))
def test_batches_give_what_each_image_gives(name, size, calibrate):
    model = create(name)
    x = images(model, max(BATCHES), size)
    calibrate(model, x[:4])
    expected = np.concatenate([model(x[i : i + 1]) for i in range(len(x))])
    assert np.abs(expected - expected[0]).max() > 0.02 * np.abs(expected).max()
    for batch in BATCHES:
        check(model(x[-batch:]), expected[-batch:])
    check(model.eager(x), expected)
    check(model.eager(x[-1:]), expected[-1:])


def test_covers_small_models():
    assert len(smallest_of_each_family(6e6)) >= 4
