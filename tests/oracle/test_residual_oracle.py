"""Residual networks that torchvision lacks: SE-ResNet, other shortcuts, the stride in the 1x1."""

import fastconv
import numpy as np
import pytest
import timm
import torch
import torchvision
from conditioning import condition, float32_state
from fastconv import nn
from fastconv.models.regnet import quantised_linear_stages
from torchvision.models import resnet
from torchvision.models.regnet import BlockParams
from transformers import ResNetConfig, ResNetForImageClassification

pytestmark = pytest.mark.oracle

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def create(name, **kwargs):
    """Return our model with weights of zero: values follow."""
    with nn.init.skip():
        return fastconv.create_model(name, **kwargs)


def check(theirs, ours, names=lambda key: key, size=64):
    """Compare both precisions, eagerly and compiled, with a torch model under random weights."""
    theirs, x = condition(theirs, size)
    state = {names(key): value for key, value in float32_state(theirs).items()}
    x = x[:2].numpy()
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x).double())
    expected = getattr(expected, "logits", expected).numpy()
    scale = np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > 0.02 * scale  # the images matter
    for dtype, tolerance in TOLERANCE.items():
        ours.astype(dtype).load_state_dict(state)
        for run in (ours.eager, ours):
            result = run(x.astype(dtype))
            assert result.dtype == dtype
            assert np.abs(result - expected).max() <= tolerance * scale


# ---- Squeeze-and-excitation ----------------------------------------------------------------------

SERESNETS = fastconv.list_models("seresnet*")
OTHERS = [name for name in SERESNETS if name != "seresnet50"]


@pytest.mark.parametrize(
    "name", ["seresnet50", *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)]
)
def test_seresnet_equals_timm(name):
    check(timm.create_model(name), create(name))


@pytest.mark.parametrize("name", SERESNETS)
def test_state_dict_has_the_names_and_shapes_of_timm(name):
    with torch.device("meta"):
        theirs = timm.create_model(name).state_dict()
    ours = create(name).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: tuple(v.shape) for k, v in theirs.items()}


# ---- Option A ------------------------------------------------------------------------------------


class OptionA(torch.nn.Module):
    """The identity of every `stride`-th pixel, then channels of zeros."""

    def __init__(self, inplanes, planes, stride):
        super().__init__()
        self.missing, self.stride = planes - inplanes, stride

    def forward(self, x):
        x = x[..., :: self.stride, :: self.stride]
        zeros = torch.zeros(len(x), self.missing, *x.shape[2:], dtype=x.dtype)
        return torch.cat([x, zeros], 1)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("size", [64, 75])
def test_option_a_equals_its_definition(name, size):
    theirs = getattr(torchvision.models, name)()
    for block in theirs.modules():
        if isinstance(block, resnet.BasicBlock | resnet.Bottleneck) and block.downsample:
            projection = block.downsample[0]
            block.downsample = OptionA(
                projection.in_channels, projection.out_channels, projection.stride[0]
            )
    check(theirs, create(name, shortcut="A"), size=size)


# ---- The stride in the 1x1 convolution -----------------------------------------------------------


def names_of_torchvision(key):
    """Rename a weight of transformers' ResNet."""
    if key.startswith("classifier.1"):
        return key.replace("classifier.1", "fc")
    *place, layer, parameter = key.removeprefix("resnet.").split(".")
    if place[0] == "embedder":
        return f"{'conv1' if layer == 'convolution' else 'bn1'}.{parameter}"
    _, _, stage, _, block, kind, *index = place  # encoder.stages.0.layers.1.layer.2
    prefix = f"layer{int(stage) + 1}.{block}"
    if kind == "shortcut":
        return f"{prefix}.downsample.{0 if layer == 'convolution' else 1}.{parameter}"
    return f"{prefix}.{'conv' if layer == 'convolution' else 'bn'}{int(index[0]) + 1}.{parameter}"


@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_stride_in_1x1_equals_transformers(stride_in_1x1):
    config = ResNetConfig(downsample_in_bottleneck=stride_in_1x1, num_labels=10)
    ours = create("resnet50", stride_in_1x1=stride_in_1x1, num_classes=10)
    check(ResNetForImageClassification(config), ours, names_of_torchvision, size=75)


def test_bn_eps_equals_torchvision():
    theirs = resnet.resnet18(norm_layer=lambda channels: torch.nn.BatchNorm2d(channels, eps=0.1))
    check(theirs, create("resnet18", bn_eps=0.1))


# ---- RegNet --------------------------------------------------------------------------------------


def test_regnet_rule_equals_torchvision():
    """Not only for the published settings, whose stages the names of the weights show."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        settings = {
            "depth": int(rng.integers(1, 30)),
            "w_0": 8 * int(rng.integers(1, 60)),
            "w_a": float(rng.uniform(0, 200)),
            "w_m": float(rng.uniform(1.5, 3)),
            "group_width": 8 * int(rng.integers(1, 30)),
        }
        expected = BlockParams.from_init_params(**settings)
        assert quantised_linear_stages(**settings) == list(
            zip(expected.depths, expected.widths, expected.group_widths, strict=True)
        )
