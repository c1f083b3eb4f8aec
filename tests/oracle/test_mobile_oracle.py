"""Mobile networks give timm's results where torchvision lacks the model or its padding."""

import fastconv
import numpy as np
import pytest
import timm
import torch
import torchvision
from conditioning import condition, float32_state
from fastconv import nn

pytestmark = pytest.mark.oracle

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
SYMMETRIC = {"padding": "symmetric", "bn_eps": 1e-5}
SAME = {"padding": "same", "bn_eps": 1e-3}
TIMM_SAME = {"pad_type": "same", "bn_eps": 1e-3}

# timm's name and arguments, then fastconv's.
CASES = [
    ("mobilenetv1_100", {}, "mobilenetv1_100", {}),
    ("mobilenetv1_125", TIMM_SAME, "mobilenetv1_100", {"width_mult": 1.25, **SAME}),
    ("mobilenetv2_140", TIMM_SAME, "mobilenet_v2", {"width_mult": 1.4, **SAME}),
    ("tf_mobilenetv3_small_100", {}, "mobilenet_v3_small", {"padding": "same"}),
    ("tf_mobilenetv3_large_100", {}, "mobilenet_v3_large", {"padding": "same"}),
    *((f"efficientnet_lite{i}", {}, f"efficientnet_lite{i}", SYMMETRIC) for i in range(5)),
    *((f"tf_efficientnet_lite{i}", {}, f"efficientnet_lite{i}", {}) for i in range(5)),
    ("tf_efficientnet_b0", {}, "efficientnet_b0", SAME),
    ("tf_efficientnetv2_s", {}, "efficientnet_v2_s", {"padding": "same"}),
]


def create(name, **kwargs):
    """Return our model with weights of zero, which cost no time."""
    with nn.init.skip():
        return fastconv.create_model(name, **kwargs)


def with_names_of(model, state_dict):
    """Rename timm's weights to those of `model`: both orders are that of the computation."""
    names = model.state_dict()
    return {
        name: value.reshape(ours.shape)  # timm has a 1x1 convolution for a linear layer
        for (name, ours), value in zip(names.items(), state_dict.values(), strict=True)
    }


@pytest.mark.parametrize("size", [64, 75])
@pytest.mark.parametrize(
    ("timm_name", "timm_kwargs", "name", "kwargs"), CASES, ids=[case[0] for case in CASES]
)
def test_model_equals_timm(timm_name, timm_kwargs, name, kwargs, size):
    theirs, x = condition(timm.create_model(timm_name, **timm_kwargs), size)
    x = x[:2].numpy()
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x).double()).numpy()
    scale = np.abs(expected).max()
    assert 0.1 < scale < 1000
    assert np.abs(expected[0] - expected[1]).max() > 0.02 * scale  # the images matter
    ours = create(name, **kwargs)
    state = with_names_of(ours, float32_state(theirs))
    for dtype, tolerance in TOLERANCE.items():
        ours.astype(dtype).load_state_dict(state)
        for run in (ours.eager, ours):
            result = run(x.astype(dtype))
            assert result.dtype == dtype
            assert np.abs(result - expected).max() <= tolerance * scale


@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_padding_matters(padding):
    """The comparison above could not pass with the other padding."""
    theirs, x = condition(timm.create_model("tf_efficientnet_lite0"), 64)
    with torch.no_grad():
        expected = theirs(x.double()).numpy()
    ours = create("efficientnet_lite0", padding=padding)
    ours.load_state_dict(with_names_of(ours, float32_state(theirs)))
    error = np.abs(ours(x.numpy()) - expected).max() / np.abs(expected).max()
    assert error <= 1e-4 if padding == "same" else error > 1e-2


@pytest.mark.parametrize("width_mult", [0.35, 0.75, 1.25])
@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet1_0"]
)
def test_widths_are_torchvisions(name, width_mult):
    with torch.device("meta"):
        if name == "mnasnet1_0":
            theirs = torchvision.models.MNASNet(width_mult)
        else:
            theirs = getattr(torchvision.models, name)(weights=None, width_mult=width_mult)
    ours = create(name, width_mult=width_mult)
    expected = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == expected
