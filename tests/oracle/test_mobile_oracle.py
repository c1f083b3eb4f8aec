"""Mobile networks give timm's results where torchvision lacks the model or its padding."""

import fastconv
import numpy as np
import pytest
import timm
import torch
import torchvision
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


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread():
    """Small convolutions in float64 are many times slower where torch's threads wait for a core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def conditioned(model, size):
    """Give every weight of a torch model a value that matters, representable in float32.

    The statistics of batch norms are those of a random batch, then disturbed, so that signals
    neither die nor explode.
    """
    generator = torch.Generator().manual_seed(0)

    def uniform(like, low, high):
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            else:
                low, high = (-0.2, 0.2) if key.endswith("bias") else (0.5, 1.0)
                parameter.copy_(uniform(parameter, low, high))
        for norm in norms:
            norm.momentum = 1.0
        model.train()(torch.randn(32, 3, size, size, generator=generator))
        for norm in norms:
            norm.running_mean += norm.running_var.sqrt() * uniform(norm.running_mean, -0.1, 0.1)
            norm.running_var *= uniform(norm.running_var, 0.8, 1.2)
    return model.eval().double()


def with_names_of(model, state_dict):
    """Rename timm's weights to those of `model`: the order of both is that of the computation."""
    names = model.state_dict()
    assert len(names) == len(state_dict)
    return {
        name: value.numpy().reshape(ours.shape)  # timm has a 1x1 convolution for a linear layer
        for (name, ours), value in zip(names.items(), state_dict.values(), strict=True)
    }


@pytest.mark.parametrize("size", [64, 75])
@pytest.mark.parametrize(
    ("timm_name", "timm_kwargs", "name", "kwargs"), CASES, ids=[case[0] for case in CASES]
)
def test_model_equals_timm(timm_name, timm_kwargs, name, kwargs, size):
    theirs = conditioned(timm.create_model(timm_name, **timm_kwargs), size)
    ours = fastconv.create_model(name, **kwargs)
    state = with_names_of(ours, theirs.state_dict())
    x = np.random.default_rng(1).standard_normal((2, 3, size, size)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x).double()).numpy()
    scale = np.abs(expected).max()
    assert 0.1 < scale < 1000
    for dtype, tolerance in TOLERANCE.items():
        ours.astype(dtype).load_state_dict(state)
        for run in (ours.eager, ours):
            result = run(x.astype(dtype))
            assert result.dtype == dtype
            assert np.abs(result - expected).max() <= tolerance * scale


@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_padding_matters(padding):
    """The comparison above could not pass with the other padding."""
    theirs = conditioned(timm.create_model("tf_efficientnet_lite0"), 64)
    ours = fastconv.create_model("efficientnet_lite0", padding=padding)
    ours.load_state_dict(with_names_of(ours, theirs.state_dict()))
    x = np.random.default_rng(1).standard_normal((2, 3, 64, 64)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x).double()).numpy()
    error = np.abs(ours(x) - expected).max() / np.abs(expected).max()
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
    with nn.init.skip():
        ours = getattr(fastconv.models, name)(width_mult=width_mult)
    expected = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == expected
