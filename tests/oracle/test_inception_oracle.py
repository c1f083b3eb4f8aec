"""Inception v1 and v3 where the test over all models does not look: arguments, the 2014 network."""

import fastconv
import numpy as np
import pytest
import torch
import torchvision
from conditioning import condition, float32_state
from fastconv import nn
from torch.nn import functional as F

pytestmark = pytest.mark.oracle

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def compare(model, state, x, expected):
    """Both precisions, eagerly and compiled, against a float64 result."""
    scale = np.abs(expected).max()
    assert 0.1 < scale < 1000
    for dtype, tolerance in TOLERANCE.items():
        model.astype(dtype).load_state_dict(state)
        for run in (model.eager, model):
            assert np.abs(run(x.astype(dtype)) - expected).max() <= tolerance * scale


def torchvision_model(name, aux_logits=False, **kwargs):
    return getattr(torchvision.models, name)(
        weights=None, init_weights=False, aux_logits=aux_logits, **kwargs
    )


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_transform_input_equals_torchvision(name):
    """Of odd sizes too: GoogLeNet rounds the sizes of its maps up, Inception v3 down."""
    theirs, images = condition(torchvision_model(name, transform_input=True), 97)
    x = images[:2, :, :90].contiguous()
    with torch.no_grad():
        expected = theirs(x.double()).numpy()
    state = float32_state(theirs)
    compare(fastconv.create_model(name, transform_input=True), state, x.numpy(), expected)
    without = fastconv.create_model(name, state, transform_input=False)
    assert np.abs(without(x.numpy()) - expected).max() > 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_have_torchvision_names_and_shapes(name):
    with torch.device("meta"):
        theirs = torchvision_model(name, aux_logits=True).state_dict()
    with nn.init.skip():
        ours = getattr(fastconv.models, name)(aux_logits=True).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: tuple(v.shape) for k, v in theirs.items()}


@pytest.mark.parametrize(
    ("name", "head", "shape"),
    [
        ("googlenet", "aux1", (1, 512, 14, 14)),
        ("googlenet", "aux2", (1, 528, 7, 9)),
        ("inception_v3", "AuxLogits", (1, 768, 17, 17)),
    ],
)
def test_auxiliary_heads_equal_torchvision(name, head, shape):
    generator = torch.Generator().manual_seed(0)
    theirs = getattr(torchvision_model(name, aux_logits=True), head)
    with nn.init.skip():
        ours = getattr(getattr(fastconv.models, name)(aux_logits=True, dtype="float64"), head)
    for key, value in theirs.state_dict().items():
        if "running" in key:
            value.uniform_(0.5, 1.5, generator=generator)
    ours.load_state_dict(float32_state(theirs))
    x = torch.rand(shape, generator=generator).double()
    with torch.no_grad():
        expected = theirs.double().eval()(x).numpy()
    for run in (ours.eager, ours):
        assert np.abs(run(x.numpy()) - expected).max() <= 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(64, 64), (97, 90)])
def test_googlenet_of_2014_equals_its_definition(size):
    """The network of Szegedy et al. 2014, table 1, as formulas."""
    model = fastconv.create_model("googlenet", variant="2014")
    rng = np.random.default_rng(0)
    state = {
        key: rng.normal(0, 0.1 if value.ndim == 1 else (2 / value[0].size) ** 0.5, value.shape)
        for key, value in model.state_dict().items()
    }
    state = {key: value.astype(np.float32) for key, value in state.items()}
    w = {key: torch.from_numpy(value).double() for key, value in state.items()}

    def conv(x, name, stride=1):
        weight, bias = w[f"{name}.conv.weight"], w[f"{name}.conv.bias"]
        return F.relu(F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2))

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x):
        """``x_c / (1 + 1e-4 / 5 * sum of x_d**2 over |c - d| <= 2) ** 0.75``."""
        squares = F.pad(x * x, (0, 0, 0, 0, 2, 2))
        energy = sum(squares[:, d : d + x.shape[1]] for d in range(5))
        return x / (1 + 1e-4 / 5 * energy) ** 0.75

    def inception(x, name):
        return torch.cat(
            [
                conv(x, f"{name}.branch1"),
                conv(conv(x, f"{name}.branch2.0"), f"{name}.branch2.1"),
                conv(conv(x, f"{name}.branch3.0"), f"{name}.branch3.1"),
                conv(F.max_pool2d(x, 3, 1, 1), f"{name}.branch4.1"),
            ],
            dim=1,
        )

    x = (100 * rng.standard_normal((2, 3, *size))).astype(np.float32)  # as Caffe's: +-128
    y = norm(pool(conv(torch.from_numpy(x).double(), "conv1", 2)))
    y = pool(norm(conv(conv(y, "conv2"), "conv3")))
    for stage, blocks in (("3", "ab"), ("4", "abcde"), ("5", "ab")):
        y = y if stage == "3" else pool(y)
        for block in blocks:
            y = inception(y, f"inception{stage}{block}")
    expected = F.linear(y.mean((2, 3)), w["fc.weight"], w["fc.bias"]).numpy()
    assert w["inception4e.branch3.1.conv.weight"].shape[-1] == 5
    compare(model, state, x, expected)
