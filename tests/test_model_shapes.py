"""Every model takes other sizes of images and other batches, compiled and eager alike."""

import itertools
import math

import fastconv
import numpy as np
import pytest
from fastconv import nn
from fastconv.benchmark.random_weights import randomise
from test_models import PARAMETERS

SIZES = [(160, 160), (192, 192), (320, 256)]
BATCHES = [1, 2, 3, 7, 16, 33]
TOLERANCE = 1e-4


def sized(name, size):
    """Return a case for a model at a size; large models get the smallest one."""
    parameters = PARAMETERS.get(name, 0)
    size = size if parameters < 100e6 else SIZES[0]
    return pytest.param(name, size, marks=marks(name), id=f"{name}-{size[0]}x{size[1]}")


def marks(name):
    """Return the marks of a large model."""
    parameters = PARAMETERS.get(name, 0)
    if parameters <= 40e6:
        return []
    if parameters <= 100e6:
        return [pytest.mark.slow]
    one_at_a_time = pytest.mark.xdist_group("large")
    huge = parameters > 300e6  # packed, for Winograd and Strassen, more than 4 GB
    return [pytest.mark.long if huge else pytest.mark.slow, one_at_a_time]


MODELS = list(map(sized, fastconv.list_models(), itertools.cycle(SIZES)))


def smallest_of_each_family(limit):
    """Return the models of less than `limit` parameters, the smallest one of each file."""
    names = sorted(fastconv.list_models(), key=lambda name: PARAMETERS.get(name, limit))
    families = {fastconv.models.model_entry(name).family: name for name in reversed(names)}
    return sorted(name for name in families.values() if PARAMETERS.get(name, limit) < limit)


LESS_THAN_6M = smallest_of_each_family(6e6)
LARGER = sorted({*smallest_of_each_family(math.inf)} - {*LESS_THAN_6M})


def create(name):
    """Return a model whose weights are zero."""
    with nn.init.skip():
        return fastconv.create_model(name)


def images(model, batch, size):
    """Return noise, around another colour in each image."""
    rng = np.random.default_rng(1)
    channels = model.default_cfg["input_size"][0]
    colours = rng.standard_normal((batch, channels, 1, 1), np.float32)
    return colours + rng.standard_normal((batch, channels, *size), np.float32)


def check(result, expected):
    scale = np.abs(expected).max()
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= TOLERANCE * scale


@pytest.mark.parametrize(("name", "size"), MODELS)
def test_other_sizes_compiled_and_eager(name, size):
    model = create(name)
    x = images(model, 2, size)
    y = randomise(model, x)
    assert y.shape == (2, model.num_classes)
    assert np.isfinite(y).all()
    assert np.abs(y[0] - y[1]).max() > 0.02 * np.abs(y).max()  # the images matter
    check(model(x), y)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", LESS_THAN_6M)
def test_batches_give_what_each_image_gives(name, size):
    model = create(name)
    x = images(model, max(BATCHES), size)
    randomise(model, x[:4])
    expected = np.concatenate([model(x[i : i + 1]) for i in range(len(x))])
    assert np.abs(expected - expected[0]).max() > 0.02 * np.abs(expected).max()
    for batch in BATCHES:
        check(model(x[-batch:]), expected[-batch:])
    check(model.eager(x), expected)
    check(model.eager(x[-1:]), expected[-1:])


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in LARGER])
def test_a_batch_of_33_gives_what_each_image_gives(name):
    model = create(name)
    x = images(model, 33, (96, 96))
    randomise(model, x[:4])
    y = model(x)
    assert np.abs(y - y[0]).max() > 0.02 * np.abs(y).max()
    check(model.eager(x), y)
    for i in (0, 16, 32):
        check(model(x[i : i + 1]), y[i : i + 1])


def test_memory_is_limited():
    """By conftest.py: a model that is too large fails, and leaves the machine to the others."""
    with pytest.raises(MemoryError):
        np.zeros(13 * 2**30, np.uint8)


def test_every_family_has_a_test_of_batches():
    families = {fastconv.models.model_entry(name).family for name in fastconv.list_models()}
    assert len(LESS_THAN_6M) + len(LARGER) == len(families)
