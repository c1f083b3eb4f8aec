"""Random numbers in forward are refused when it is recorded, for they would be frozen."""

# ruff: noqa: NPY002

import gc
import random
import threading
import time

import fastconv
import numpy as np
import pytest
from fastconv import nn
from fastconv.graph._symbols import Recorder

X = np.ones((2, 3, 4, 4), np.float32)
GENERATOR = np.random.default_rng(0)
CONSTANT = np.full((3, 1, 1), 2, np.float32)


def toss():
    return GENERATOR.random()


def enclosed(rng):
    return lambda: rng.random()


ENCLOSED = enclosed(random.Random(3))


class Noisy(nn.Module):
    """Computes with what a function draws."""

    def __init__(self, draw):
        self._draw = draw
        self._rng = np.random.default_rng(0)
        self._legacy = np.random.RandomState(0)

    def forward(self, x):
        return self._draw(self, x)


def float32(values):
    return np.asarray(values, np.float32)


RANDOM = {
    "global array": lambda m, x: x + float32(np.random.rand(4)),
    "global number": lambda m, x: x * np.random.uniform(),
    "global attribute": lambda m, x: fastconv.leaky_relu(x + x, np.random.uniform()),
    "global coin": lambda m, x: x + x if np.random.rand() < 2 else x,
    "Python's": lambda m, x: x * random.random(),
    "Python's coin": lambda m, x: x + x if random.random() < 2 else x,
    "held": lambda m, x: x + float32(m._rng.standard_normal(4)),
    "held coin": lambda m, x: x + x if m._rng.random() < 2 else x,
    "held and legacy": lambda m, x: x * m._legacy.rand(),
    "of the file": lambda m, x: x * GENERATOR.random(),
    "of the file, no constant": lambda m, x: fastconv.leaky_relu(x + x, GENERATOR.random()),
    "coin of the file": lambda m, x: x + x if GENERATOR.random() < 2 else x,
    "in a function": lambda m, x: x + x if toss() < 2 else x,
    "enclosed": lambda m, x: fastconv.leaky_relu(x + x, ENCLOSED()),
    "inside": lambda m, x: sum(fastconv.leaky_relu(x, GENERATOR.random()) for _ in "ab"),
    "fresh": lambda m, x: x + float32(np.random.default_rng().random(4)),
    "fresh number": lambda m, x: x * np.random.default_rng().random(),
    "Python's fresh": lambda m, x: x * random.Random().random(),
    "the clock": lambda m, x: x * (time.perf_counter_ns() % 10**6 / 1e6 + 1.0),
}


@pytest.mark.parametrize("kind", sorted(RANDOM))
def test_random_numbers_are_refused(kind):
    noisy = Noisy(RANDOM[kind])
    net = nn.Sequential(nn.Conv2d(3, 3, 1), noisy, nn.ReLU())
    match = r"Noisy.forward \('1'\) draws random numbers.*model\(x, noise\).*model.eager\(x\)"
    with pytest.raises(TypeError, match=match):
        net(X)
    with pytest.raises(TypeError, match=match):
        net.compile(X.shape)
    with pytest.raises(TypeError, match=match):
        fastconv.analysis.summary(net, X.shape)
    with pytest.raises(TypeError, match=r"^Noisy.forward draws"):
        noisy(X)
    assert net.eager(X).shape == X.shape


def test_the_generator_is_named():
    for draw, name in (("held", "from _rng,"), ("global coin", "from numpy.random,")):
        with pytest.raises(TypeError, match=name):
            Noisy(RANDOM[draw])(X)


class Draws(nn.Module):
    """Draws before its child is called, which does not."""

    def __init__(self):
        self.child = nn.ReLU()

    def forward(self, x):
        negative_slope = random.random()
        return self.child(x) + fastconv.leaky_relu(x, negative_slope)


def test_the_module_whose_forward_draws_is_named_and_not_its_child():
    with pytest.raises(TypeError, match=r"Draws.forward \('0'\)"):
        nn.Sequential(Draws())(X)


FIXED = {
    "seeded": lambda m, x: x + float32(np.random.default_rng(3).random(4)),
    "seeded and held": lambda m, x: x + float32(np.random.default_rng(3).random(4)),
    "constants": lambda m, x: x * CONSTANT + 1.5,
    "computed": lambda m, x: x + (CONSTANT - 1),
    "none": lambda m, x: x + x,
    "nan": lambda m, x: x + np.float32("nan"),
    "nan argument": lambda m, x: fastconv.pad(x * (CONSTANT - 1), (1, 1), value=float("nan")),
    "without state": lambda m, x: x * len([SYSTEM]),
}
SYSTEM = random.SystemRandom()


@pytest.mark.parametrize("kind", sorted(FIXED))
def test_what_is_the_same_in_every_call_is_compiled(kind):
    noisy = Noisy(FIXED[kind])
    np.testing.assert_array_equal(noisy(X), noisy.eager(X))
    np.testing.assert_array_equal(noisy.compile(X.shape)(X), noisy(X))


class Coin(nn.Module):
    def forward(self, x):
        return fastconv.relu(x) if GENERATOR.random() < 2 else x


def test_the_generator_of_a_file_is_named():
    with pytest.raises(TypeError, match=r"Coin\.forward draws .* from test_randomness\.GENERATOR,"):
        Coin()(X)


def test_recordings_that_were_compared_are_freed():
    def graphs():
        return [value for value in gc.get_objects() if isinstance(value, Recorder)]

    gc.collect()
    gc.disable()
    try:
        before = graphs()
        Noisy(FIXED["computed"]).compile(X.shape)
        assert len(graphs()) == len(before)
    finally:
        gc.enable()


def test_recordings_that_are_compared_convert_nothing(monkeypatch):
    converted = []
    monkeypatch.setattr(
        "fastconv.graph._symbols.read_only",
        lambda array, dtype: converted.append(array.shape) or array.astype(dtype),
    )
    module = Noisy(lambda m, x: x * (CONSTANT + 1))
    module.compile(X.shape, precision="fp64")
    assert converted == [CONSTANT.shape]


def test_what_is_drawn_once_and_kept_is_compiled():
    def draw(module, x):
        if not hasattr(module, "_noise"):
            module._noise = float32(np.random.rand(4))
        return x + module._noise

    noisy = Noisy(draw)
    np.testing.assert_array_equal(noisy(X), noisy.eager(X))


def test_other_threads_may_draw_meanwhile():
    stop = threading.Event()

    def work():
        while not stop.is_set():
            np.random.rand()
            random.random()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for i in range(20):
            slow = Noisy(lambda m, x: (time.sleep(0.002), x + 1.0)[1])
            np.testing.assert_array_equal(slow(X[:, :, : i % 4 + 1]), X[:, :, : i % 4 + 1] + 1)
        for kind in ("global array", "held coin"):
            with pytest.raises(TypeError, match="draws random numbers"):
                Noisy(RANDOM[kind])(X)
        fair = Noisy(lambda m, x: x + x if np.random.rand() < 0.5 else x)

        def compile_often():
            for _ in range(9):  # each of which misses it once in 256 times
                fair.compile(X.shape)

        with pytest.raises(TypeError, match="draws random numbers"):
            compile_often()
    finally:
        stop.set()
        thread.join()


def test_noise_as_an_input_works():
    class Plus(nn.Module):
        def forward(self, x, noise):
            return x + noise

    noise = float32(GENERATOR.standard_normal((5, 3, 4, 4)))
    for part in (noise[:2], noise[2:4], noise[:1]):  # batches may differ, too
        np.testing.assert_array_equal(Plus()(X, part), X + part)
