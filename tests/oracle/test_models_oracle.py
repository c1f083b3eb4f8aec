"""Every model that torchvision has gives torchvision's result, with the same random weights."""

import fastconv
import numpy as np
import pytest
import torch
import torchvision
from fastconv import nn

pytestmark = pytest.mark.oracle

MODELS = [name for name in fastconv.list_models() if hasattr(torchvision.models, name)]
SMALL = ["resnet18", "mobilenet_v2", "convnext_tiny"]
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def conditioned(name, size, **kwargs):
    """Return torchvision's model in float64 with weights of which every one matters to the output.

    The statistics of batch norms are those of a random batch, then disturbed, so that signals
    neither die nor explode; all values are representable in float32.
    """
    generator = torch.Generator().manual_seed(0)

    def rand(like, low, high):
        return torch.rand(like.shape, generator=generator, dtype=like.dtype) * (high - low) + low

    model = getattr(torchvision.models, name)(weights=None, **kwargs)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("layer_scale"):
                parameter.copy_(rand(parameter, 0.1, 0.3))
            elif parameter.ndim == 1:
                low, high = (-0.2, 0.2) if key.endswith("bias") else (0.5, 1.0)
                # As in trained networks, so that 50 blocks in a row do not amplify rounding errors.
                scale = 0.4 if key.endswith("bn3.weight") else 1
                parameter.copy_(rand(parameter, low, high) * scale)
            else:
                fan_in = parameter[0].numel()
                parameter.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        if norms:
            model.train()(torch.randn(4, 3, size, size, generator=generator))
        for norm in norms:
            norm.running_mean += rand(norm.running_mean, -0.1, 0.1)
            norm.running_var *= rand(norm.running_var, 0.8, 1.2)
    return model.eval().double()


def float32_state(model):
    return {
        key: value.numpy().astype(np.float32) if value.is_floating_point() else value.numpy()
        for key, value in model.state_dict().items()
    }


def check(theirs, ours, size):
    state = float32_state(theirs)
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    x = np.random.default_rng(1).standard_normal((2, 3, size, size)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x).double()).numpy()
    compare(ours, state, x, expected)


def compare(model, state, x, expected):
    """Both precisions, eagerly and compiled, against a float64 result."""
    scale = np.abs(expected).max()
    assert 0.1 < scale < 100
    for dtype, tolerance in TOLERANCE.items():
        model.astype(dtype).load_state_dict(state)
        for run in (model.eager, model):
            result = run(x.astype(dtype))
            assert result.dtype == dtype
            assert np.abs(result - expected).max() <= tolerance * scale


@pytest.mark.parametrize(
    "name", [n if n in SMALL else pytest.param(n, marks=pytest.mark.slow) for n in MODELS]
)
def test_model_equals_torchvision(name):
    check(conditioned(name, 64), fastconv.create_model(name), 64)


@pytest.mark.slow
def test_model_equals_torchvision_at_full_size():
    check(conditioned("resnet50", 224), fastconv.create_model("resnet50"), 224)


def test_width_multiplier_equals_torchvision():
    ours = fastconv.create_model("mobilenet_v2", width_mult=0.35, num_classes=7)
    check(conditioned("mobilenet_v2", 64, width_mult=0.35, num_classes=7), ours, 64)


@pytest.mark.parametrize("name", MODELS)
def test_state_dict_has_torchvision_names_and_shapes(name):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(weights=None).state_dict()
    with nn.init.skip():
        ours = getattr(fastconv.models, name)().state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: tuple(v.shape) for k, v in theirs.items()}


def test_covers_the_families_of_torchvision():
    assert {"resnet50", "resnext50_32x4d", "wide_resnet50_2", *SMALL} <= set(MODELS)


def test_squeeze_excitation_equals_torchvision():
    theirs = torchvision.ops.SqueezeExcitation(16, 4).double().eval()
    ours = nn.SqueezeExcitation(16, 4).astype("float64")
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 16, 5, 7))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    for run in (ours.eager, ours):
        np.testing.assert_allclose(run(x), expected, rtol=1e-12, atol=1e-14)


LAYERS = [
    ("Conv2d", (6, 4, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 6, 9, 8)),
    ("Conv2d", (6, 4, (3, 2)), {"padding": "same", "dilation": 2}, (2, 6, 9, 8)),
    ("Conv1d", (6, 4, 3), {"stride": 2, "padding": 2, "bias": False}, (2, 6, 9)),
    ("ConvTranspose2d", (6, 4, 3, 2, 1, 1, 2), {}, (2, 6, 5, 4)),
    ("Linear", (6, 4), {}, (2, 5, 6)),
    ("BatchNorm2d", (6,), {"eps": 0.1}, (2, 6, 4, 5)),
    ("BatchNorm2d", (6,), {"affine": False}, (2, 6, 4, 5)),
    ("LayerNorm", ((4, 5),), {}, (2, 6, 4, 5)),
    ("LayerNorm", (5,), {"bias": False}, (2, 6, 4, 5)),
    ("LocalResponseNorm", (3,), {"alpha": 0.1}, (2, 6, 4, 5)),
    ("ReLU", (), {"inplace": False}, (2, 6, 4, 5)),
    ("ReLU6", (), {}, (2, 6, 4, 5)),
    ("LeakyReLU", (0.1,), {}, (2, 6, 4, 5)),
    ("GELU", (), {}, (2, 6, 4, 5)),
    ("GELU", ("tanh",), {}, (2, 6, 4, 5)),
    ("SiLU", (), {}, (2, 6, 4, 5)),
    ("Hardswish", (), {}, (2, 6, 4, 5)),
    ("Hardsigmoid", (), {}, (2, 6, 4, 5)),
    ("Sigmoid", (), {}, (2, 6, 4, 5)),
    ("Tanh", (), {}, (2, 6, 4, 5)),
    ("Softmax", (1,), {}, (2, 6, 4, 5)),
    ("LogSoftmax", (1,), {}, (2, 6, 4, 5)),
    ("Identity", (), {}, (2, 6, 4, 5)),
    ("Dropout", (0.5,), {}, (2, 6, 4, 5)),
    ("Dropout2d", (0.5,), {}, (2, 6, 4, 5)),
    ("MaxPool2d", (3, 2, 1), {"ceil_mode": True}, (2, 6, 8, 9)),
    ("AvgPool2d", (3, 2, 1, True, False), {}, (2, 6, 8, 9)),
    ("AdaptiveAvgPool2d", ((3, 2),), {}, (2, 6, 8, 9)),
    ("AdaptiveMaxPool2d", (3,), {}, (2, 6, 8, 9)),
    ("Flatten", (), {}, (2, 6, 4, 5)),
    ("Upsample", (), {"scale_factor": 2, "mode": "bilinear"}, (2, 6, 4, 5)),
    ("Upsample", ((7, 3),), {}, (2, 6, 4, 5)),
    ("ChannelShuffle", (3,), {}, (2, 6, 4, 5)),
    ("PixelShuffle", (2,), {}, (2, 8, 4, 5)),
    ("ZeroPad2d", ((1, 2, 3, 0),), {}, (2, 6, 4, 5)),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS)
def test_layer_equals_torch(name, args, kwargs, shape):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*args, **kwargs).double().eval()
    for buffer in theirs.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    ours = getattr(nn, name)(*args, **kwargs).astype("float64")
    ours.load_state_dict(theirs.state_dict())
    x = 4 * np.random.default_rng(0).standard_normal(shape)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    for run in (ours.eager, ours):
        np.testing.assert_allclose(run(x), expected, rtol=1e-10, atol=1e-12)


def test_layer_norm_2d_equals_torchvision():
    from torchvision.models.convnext import LayerNorm2d

    theirs = LayerNorm2d(6, eps=1e-6).double()
    ours = nn.LayerNorm2d(6, eps=1e-6).astype("float64")
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 5))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    for run in (ours.eager, ours):
        np.testing.assert_allclose(run(x), expected, rtol=1e-10, atol=1e-12)
