"""Every model that torchvision has gives torchvision's result, with the same random weights."""

import functools

import fastconv
import numpy as np
import pytest
import timm
import torch
import torchvision
from conditioning import condition, float32_state
from fastconv import nn
from fastconv.models import blocks
from test_models import PARAMETERS
from torch.overrides import TorchFunctionMode

pytestmark = pytest.mark.oracle

MODELS = [name for name in fastconv.list_models() if hasattr(torchvision.models, name)]
SMALL = ["resnet18", "mobilenet_v2", "convnext_tiny"]
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
ROUNDING = 5  # times the error of torch's own float32, at most
LARGE = 100e6  # parameters; two such models are never tested at the same time
HUGE = 300e6  # parameters; what takes more than 6 GB is left to .ci/long
RUNS = {dtype: (nn.Module.eager, nn.Module.__call__) for dtype in TOLERANCE}
HUGE_RUNS = {"float32": (nn.Module.eager,)}
LONG_RUNS = {"float32": (nn.Module.__call__,), "float64": (nn.Module.eager,)}


def create(name, **kwargs):
    """Return our model with weights of zero, which cost no time and no memory."""
    with nn.init.skip():
        return fastconv.create_model(name, **kwargs)


def count(arrays):
    return sum(array.size for array in arrays)


def theirs(name, **kwargs):
    """Return torchvision's model, without what only serves training."""
    if name in ("googlenet", "inception_v3"):
        kwargs |= {"aux_logits": False, "init_weights": False}
    return getattr(torchvision.models, name)(weights=None, **kwargs)


class EmptyOnMeta(TorchFunctionMode):
    """Parameters without memory; RegNet computes its widths by tensors, which keep theirs."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        device = {"device": "meta"} if func is torch.empty else {}
        return func(*args, **{**(kwargs or {}), **device})


def smallest(name):
    """Return a size of images on which every layer still has work to do."""
    return {"inception_v3": 107}.get(name, 64)


def check(model, make, size, runs=RUNS):
    """Compare with a torch model under random weights; frees it before ours computes."""
    assert count(make().parameters()) == sum(p.numel() for p in model.parameters())
    model, x = condition(model, size)
    with torch.no_grad():
        expected = model(x[:2].double()).numpy()
        rounding = np.abs(model.float()(x[:2]).numpy() - expected).max()
    state = float32_state(model)
    del model
    scale = np.abs(expected).max()
    assert 0.1 < scale < 1000
    assert np.abs(expected[0] - expected[1]).max() > 0.02 * scale  # the images matter
    for dtype, ways in runs.items():
        ours = make(dtype=dtype)
        ours.load_state_dict(state)
        compare(ours, ways, x[:2].numpy().astype(dtype), expected, rounding)
        del ours


def compare(model, ways, x, expected, rounding):
    """One precision, called in these ways, against a float64 result.

    `rounding` is the error of torch's float32.
    """
    scale = np.abs(expected).max()
    for way in ways:
        result = way(model, x)
        assert result.dtype == x.dtype
        error = np.abs(result - expected).max()
        assert error <= TOLERANCE[x.dtype.name] * scale
        assert error <= ROUNDING * rounding


def marks(name):
    """Return the marks of a model: all but small ones are slow."""
    if PARAMETERS[name] > HUGE:
        return [pytest.mark.long, pytest.mark.xdist_group("large")]
    slow = [] if name in SMALL else [pytest.mark.slow]
    large = [pytest.mark.xdist_group("large")] if PARAMETERS[name] > LARGE else []
    return slow + large


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in MODELS])
def test_model_equals_torchvision(name):
    runs = HUGE_RUNS if PARAMETERS[name] > HUGE else RUNS
    check(theirs(name), functools.partial(create, name), smallest(name), runs)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in MODELS if PARAMETERS[name] > HUGE])
def test_huge_model_equals_torchvision_compiled_and_in_float64(name):
    check(theirs(name), functools.partial(create, name), smallest(name), LONG_RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "densenet121", "convnext_tiny"])
def test_model_equals_torchvision_at_full_size(name):
    check(theirs(name), functools.partial(create, name), 224)


def test_width_multiplier_equals_torchvision():
    arguments = {"width_mult": 0.35, "num_classes": 7}
    make = functools.partial(create, "mobilenet_v2", **arguments)
    check(theirs("mobilenet_v2", **arguments), make, 64)


@pytest.mark.parametrize("name", MODELS)
def test_state_dict_has_torchvision_names_and_shapes(name):
    with EmptyOnMeta():
        expected = theirs(name).state_dict()
    found = create(name).state_dict()
    assert {k: v.shape for k, v in found.items()} == {
        k: tuple(v.shape) for k, v in expected.items()
    }


def test_covers_the_convolutional_classifiers_of_torchvision():
    theirs = set(torchvision.models.list_models(module=torchvision.models))
    others = {name for name in theirs if name.startswith(("vit_", "swin_", "maxvit_"))}
    assert set(MODELS) == theirs - others


@pytest.mark.parametrize("name", MODELS)
def test_default_cfg_is_that_of_the_weights_that_torchvision_published_first(name):
    weights = torchvision.models.get_model_weights(name)
    expected = getattr(weights, "IMAGENET1K_V1", next(iter(weights))).transforms()
    # The two Inceptions have an argument for images that are normalised like all others.
    inception = {"transform_input": True} if name in ("googlenet", "inception_v3") else {}
    cfg = create(name, **inception).default_cfg
    of_nn_module = set(torch.nn.Module().__dict__)
    assert set(vars(expected)) - of_nn_module == {
        *("crop_size", "resize_size", "interpolation", "mean", "std"),
        "antialias",  # which Pillow always does
    }
    assert expected.antialias
    assert cfg["crop_mode"] == "center"
    (crop,), (resize,) = expected.crop_size, expected.resize_size
    assert cfg["input_size"] == (3, crop, crop)
    assert cfg["crop_pct"] == crop / resize
    assert cfg["interpolation"] == expected.interpolation.value
    assert (cfg["mean"], cfg["std"]) == (tuple(expected.mean), tuple(expected.std))


@pytest.mark.parametrize("name", fastconv.list_models())
def test_hub_repository_is_one_of_timms(name):
    hub = fastconv.models.model_entry(name).hub
    assert hub is None or hub.removeprefix("timm/") in timm.list_pretrained()


def test_squeeze_excitation_equals_torchvision():
    theirs = torchvision.ops.SqueezeExcitation(16, 4).double().eval()
    ours = blocks.SqueezeExcitation(16, 4).astype("float64")
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
    ("Mish", (), {}, (2, 6, 4, 5)),
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
