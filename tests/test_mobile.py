"""Arguments, tables and blocks of the mobile networks."""

import math
from pathlib import Path

import fastconv
import numpy as np
import pytest
from fastconv import models, nn
from fastconv.models import blocks
from fastconv.models._scaling import make_divisible
from fastconv.models.efficientnet import SCALING, compound_scaling

PADDED = ["mobilenetv1_100", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"]
SCALED = [*PADDED, "mnasnet1_0"]


def parameters(model):
    return sum(p.size for p in model.parameters())


# ---- Scaling -------------------------------------------------------------------------------------


def test_compound_scaling_is_the_rule_of_the_paper():
    assert compound_scaling(0) == (1, 1, 1)
    scaling = compound_scaling(3)
    assert scaling.depth == pytest.approx(1.2**3)
    assert scaling.width == pytest.approx(1.1**3)
    assert scaling.resolution == pytest.approx(1.15**3)
    flops = scaling.depth * scaling.width**2 * scaling.resolution**2
    assert flops == pytest.approx(2**3, rel=0.15)
    assert compound_scaling(np.float32(0.5)).depth == pytest.approx(math.sqrt(1.2))


@pytest.mark.parametrize(
    ("phi", "error", "match"),
    [
        ("1", TypeError, "phi must be a number, got str '1'"),
        (True, TypeError, "phi must be a number"),
        (math.inf, ValueError, "phi must be between -100 and 100, got inf"),
        (math.nan, ValueError, "got nan"),
        (-1e6, ValueError, "got -1000000.0"),
    ],
)
def test_compound_scaling_checks_phi(phi, error, match):
    with pytest.raises(error, match=match):
        compound_scaling(phi)


def test_table_in_the_documents():
    text = (Path(__file__).parents[1] / "docs" / "efficientnet.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:3] == "| B"]
    assert len(rows) == len(SCALING) == 8
    for i, (row, scaling) in enumerate(zip(rows, SCALING, strict=True)):
        depth, width, resolution = compound_scaling(i)
        assert row == [
            f"B{i}",
            f"{depth:.2f}",
            f"{scaling.depth:.1f}",
            f"{math.log(scaling.depth, 1.2):.1f}",
            f"{width:.2f}",
            f"{scaling.width:.1f}",
            f"{math.log(scaling.width, 1.1):.1f}",
            f"{224 * resolution:.0f}",
            f"{scaling.resolution}",
            f"{math.log(scaling.resolution / 224, 1.15):.1f}",
        ]


def test_multipliers_replace_the_published_ones():
    with nn.init.skip():
        b0 = models.efficientnet_b0(width_mult=1.1, depth_mult=1.2)
        b2 = models.efficientnet_b2()
        lite = models.efficientnet_lite4(width_mult=1, depth_mult=1)
        lite0 = models.efficientnet_lite0()
    assert {k: v.shape for k, v in b0.state_dict().items()} == {
        k: v.shape for k, v in b2.state_dict().items()
    }
    assert parameters(lite) == parameters(lite0)
    assert b2.default_cfg["input_size"] == (3, 288, 288)


def test_lite_networks_keep_stem_head_and_end_stages():
    with nn.init.skip():
        model = models.efficientnet_lite4()
    assert model.features[0][0].out_channels == 32
    assert model.num_features == 1280
    assert [len(stage) for stage in list(model.features)[1:-1]] == [1, 4, 4, 6, 6, 8, 1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(11.2, 16), (12, 16), (19.6, 24), (83, 80), (84, 88), (3, 8), (29.5, 32)],
)
def test_make_divisible(value, expected):
    assert make_divisible(value) == expected


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        (0, ValueError, "width_mult must be above 0 and at most 100, got 0"),
        (-0.5, ValueError, "at most 100, got -0.5"),
        (math.inf, ValueError, "at most 100, got inf"),
        (math.nan, ValueError, "at most 100, got nan"),
        ("wide", TypeError, "width_mult must be a number, got str 'wide'"),
    ],
)
def test_bad_width_mult(name, value, error, match):
    with pytest.raises(error, match=match):
        fastconv.create_model(name, width_mult=value)


def test_bad_depth_mult():
    with pytest.raises(ValueError, match="depth_mult must be above 0 and at most 100, got 0"):
        models.efficientnet_b0(depth_mult=0)


@pytest.mark.parametrize("name", SCALED)
def test_narrow_networks_run(name):
    model = fastconv.create_model(name, width_mult=0.25, num_classes=7, in_chans=1)
    x = np.random.default_rng(0).standard_normal((3, 1, 45, 64)).astype(np.float32)
    y = model(x)
    assert y.shape == (3, 7)
    assert np.abs(model.eager(x) - y).max() <= 1e-4 * np.abs(y).max()


# ---- Padding and batch norm ----------------------------------------------------------------------


@pytest.mark.parametrize("name", PADDED)
def test_padding_reaches_every_convolution(name):
    with nn.init.skip():
        default, same = (
            fastconv.create_model(name, **kwargs) for kwargs in ({}, {"padding": "same"})
        )
    kernels = 0
    for a, b in zip(default.modules(), same.modules(), strict=True):
        if isinstance(a, nn.Conv2d) and a.kernel_size != (1, 1):
            kernels += 1
            assert a.padding == a.kernel_size[0] // 2
            assert b.padding == "same"
    assert kernels >= 12


@pytest.mark.parametrize("name", PADDED)
@pytest.mark.parametrize(("padding", "error"), [("valid", ValueError), (1, TypeError)])
def test_bad_padding(name, padding, error):
    with pytest.raises(error, match="padding must be"):
        fastconv.create_model(name, padding=padding)


@pytest.mark.parametrize(
    ("name", "eps"),
    [
        ("mobilenetv1_100", 1e-5),
        ("mobilenet_v2", 1e-5),
        ("mobilenet_v3_small", 1e-3),
        ("mnasnet0_5", 1e-5),
        ("efficientnet_b4", 1e-5),
        ("efficientnet_b5", 1e-3),
        ("efficientnet_v2_s", 1e-3),
        ("efficientnet_lite0", 1e-3),
    ],
)
def test_bn_eps_is_that_of_the_weights_unless_given(name, eps):
    def found(**kwargs):
        model = fastconv.create_model(name, **kwargs)
        return {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)}

    assert found() == {eps}
    assert found(bn_eps=2e-3) == {2e-3}


# ---- Blocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [blocks.MBConv, blocks.FusedMBConv])
@pytest.mark.parametrize(
    ("out", "stride", "shortcut"), [(16, 1, True), (16, 2, False), (24, 1, False)]
)
def test_shortcut_where_the_shape_stays(block, out, stride, shortcut):
    layer = block(16, out, 64, stride=stride)
    x = np.random.default_rng(0).standard_normal((2, 16, 7, 6)).astype(np.float32)
    expected = layer.block(x) + x if shortcut else layer.block(x)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("expanded", [16, 64])
def test_fused_mbconv_squeezes_before_its_last_convolution(expanded):
    layer = blocks.FusedMBConv(16, 24, expanded, squeeze_channels=4)
    *first, squeeze, last = layer.block
    assert isinstance(squeeze, blocks.SqueezeExcitation)
    assert len(first) == (expanded == 64)
    assert squeeze.fc1.weight.shape == (4, expanded, 1, 1)
    assert last[0].kernel_size == ((1, 1) if expanded == 64 else (3, 3))
    assert layer(np.zeros((1, 16, 8, 8), np.float32)).shape == (1, 24, 8, 8)
