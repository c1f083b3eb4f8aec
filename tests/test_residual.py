"""Options of the residual networks, and the rule behind RegNet."""

import fastconv
import numpy as np
import pytest
from fastconv import models, nn
from fastconv.models import blocks
from fastconv.models.regnet import quantised_linear_stages


def parameters(model):
    return sum(p.size for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("resnet18", [(64, 128), (128, 256), (256, 512)]),
        ("resnet50", [(64, 256), (256, 512), (512, 1024), (1024, 2048)]),
    ],
)
def test_option_a_has_no_parameters(name, widths):
    projections = sum(inplanes * planes + 2 * planes for inplanes, planes in widths)
    model = fastconv.create_model(name, shortcut="A")
    assert parameters(fastconv.create_model(name)) - parameters(model) == projections
    x = np.random.default_rng(0).standard_normal((2, 3, 75, 64)).astype(np.float32)
    y = model(x)
    np.testing.assert_allclose(model.eager(x), y, atol=1e-4 * np.abs(y).max())


def test_padded_shortcut():
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype(np.float32)
    shortcut = blocks.PaddedShortcut(3, 5, stride=2)
    for run in (shortcut, shortcut.eager):
        y = run(x)
        np.testing.assert_array_equal(y[:, :3], x[:, :, ::2, ::2])
        np.testing.assert_array_equal(y[:, 3:], np.zeros((2, 2, 3, 2)))
        np.testing.assert_array_equal(run(x[0]), y[0])
    assert repr(shortcut) == "PaddedShortcut(extra=2, stride=2)"


def test_stride_in_1x1_moves_the_stride():
    model = models.resnet50(stride_in_1x1=True)
    for layer, stride in [(model.layer1, 1), (model.layer2, 2), (model.layer4, 2)]:
        assert layer[0].conv1.stride == layer[0].downsample[0].stride == (stride, stride)
        assert layer[0].conv2.stride == layer[1].conv1.stride == (1, 1)


def test_bn_eps_reaches_every_norm():
    model = models.resnet50(bn_eps=0.01)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 53
    assert {norm.eps for norm in norms} == {0.01}


def test_squeeze_excitation_has_a_sixteenth_of_the_channels_but_at_least_eight():
    assert models.seresnet50().layer4[0].se.fc1.out_channels == 2048 // 16
    assert models.seresnet18().layer1[0].se.fc1.out_channels == 8


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: models.resnet18(shortcut="C"), ValueError, "one of A, B, got 'C'"),
        (lambda: models.resnet18(shortcut=""), ValueError, "one of A, B, got ''"),
        (lambda: models.resnet18(shortcut=None), TypeError, "must be a string, got NoneType"),
        (lambda: models.resnet50(stride_in_1x1=1), TypeError, "True or False, got 1"),
        (lambda: models.resnet18(stride_in_1x1=True), ValueError, "use Bottleneck"),
        (lambda: models.resnet18(groups=2), ValueError, "groups=2.*use Bottleneck"),
        (lambda: blocks.PaddedShortcut(8, 4), ValueError, "got 4 < 8.*projection"),
        (lambda: quantised_linear_stages(0, 8, 1, 2, 8), ValueError, "got depth=0"),
        (lambda: quantised_linear_stages(3, 20, 1, 2, 8), ValueError, "multiple of 8.*w_0=20"),
        (lambda: quantised_linear_stages(3, 8, -1, 2, 8), ValueError, "w_a=-1"),
        (lambda: quantised_linear_stages(3, 8, 1, 1, 8), ValueError, "w_m > 1.*w_m=1"),
        (lambda: quantised_linear_stages(3, 8, 1, 2, 0), ValueError, "group_width=0"),
    ],
)
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(
    ("settings", "stages"),
    [
        # Radosavovic et al. 2020, figures 15 and 16: X-3.2GF, X-8GF, Y-400MF.
        ((25, 88, 26.31, 2.25, 48), [(2, 96, 48), (6, 192, 48), (15, 432, 48), (2, 1008, 48)]),
        ((23, 80, 49.56, 2.88, 120), [(2, 80, 80), (5, 240, 120), (15, 720, 120), (1, 1920, 120)]),
        ((16, 48, 27.89, 2.09, 8), [(1, 48, 8), (3, 104, 8), (6, 208, 8), (6, 440, 8)]),
        ((3, 64, 0, 2, 16), [(3, 64, 16)]),  # w_a = 0: one stage
    ],
)
def test_quantised_linear_stages(settings, stages):
    assert quantised_linear_stages(*settings) == stages


def test_regnet_of_other_settings():
    model = models.RegNet(depth=3, w_0=16, w_a=8, w_m=2, group_width=8, num_classes=7)
    x = np.random.default_rng(0).standard_normal((2, 3, 33, 40)).astype(np.float32)
    y = model(x)
    assert y.shape == (2, 7)
    np.testing.assert_allclose(model.eager(x), y, atol=1e-4 * np.abs(y).max())
