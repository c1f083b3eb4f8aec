"""LeNet-5 in both variants, and its weights in the package."""

import fastconv
import numpy as np
import pytest
from fastconv import models, weights
from fastconv.models._packaged import packaged_weights
from fastconv.models.lenet import CONNECTIONS
from numpy.lib.stride_tricks import sliding_window_view


def image(size=(32, 32), batch=3, dtype="float32"):
    return np.random.default_rng(0).standard_normal((batch, 1, *size)).astype(dtype)


def parameters(module):
    return sum(p.size for p in module.parameters())


# ---- Both variants -------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["plain", "1998"])
@pytest.mark.parametrize("size", [(32, 32), (28, 28), (16, 16), (47, 36)])
def test_other_input_sizes(variant, size):
    model = fastconv.create_model("lenet5", variant=variant)
    y = model(image(size))
    assert y.shape == (3, 10)
    assert y.std() > 0
    np.testing.assert_allclose(model.eager(image(size)), y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["plain", "1998"])
def test_no_pooling_of_images_of_the_papers_size(variant):
    model = fastconv.create_model("lenet5", variant=variant)
    features = model.forward_features(image())
    assert features.shape == (3, 16, 5, 5)
    np.testing.assert_array_equal(model.avgpool(features), features)


@pytest.mark.parametrize("variant", ["1999", "", None, 1998])
def test_variants_are_named(variant):
    with pytest.raises(ValueError, match=f"must be 'plain' or '1998', got {variant!r}"):
        fastconv.create_model("lenet5", variant=variant)


# ---- 1998 ----------------------------------------------------------------------------------------


def test_parameters_are_those_of_the_paper():
    model = models.lenet5(variant="1998")
    expected = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164, "output": 0}
    assert {name: parameters(getattr(model, name)) for name in expected} == expected
    assert parameters(model) == 60_000
    assert isinstance(model, models.LeNet1998)
    assert (model.num_classes, model.num_features) == (10, 84)


def test_equals_its_formulas():
    """The paper's layers in NumPy, C3 as a full convolution with zeros."""
    model = fastconv.create_model("lenet5", variant="1998", dtype="float64")
    w = model.state_dict()

    def conv(x, weight, bias):
        windows = sliding_window_view(x, (5, 5), axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None]

    def subsample(x, name):
        n, c, height, width = x.shape
        sums = x.reshape(n, c, height // 2, 2, width // 2, 2).sum(axis=(3, 5))
        return sums * w[f"{name}.weight"] + w[f"{name}.bias"]

    def squash(x):
        return 1.7159 * np.tanh(2 * x / 3)

    full = np.zeros((16, 6, 5, 5))
    for i, maps in enumerate(CONNECTIONS):
        full[i, list(maps)] = w[f"c3.{i}.weight"][0]
    bias = np.concatenate([w[f"c3.{i}.bias"] for i in range(16)])

    x = image(dtype="float64")
    y = squash(conv(x, w["c1.weight"], w["c1.bias"]))
    y = squash(subsample(y, "s2"))
    y = squash(conv(y, full, bias))
    y = squash(subsample(y, "s4"))
    y = squash(conv(y, w["c5.weight"], w["c5.bias"]))[:, :, 0, 0]
    y = squash(y @ w["f6.weight"].T + w["f6.bias"])
    y = -((y[:, None] - w["output.weight"]) ** 2).sum(axis=2)
    for run in (model, model.eager):
        np.testing.assert_allclose(run(x), y, rtol=1e-12)


def test_connections_are_table_1_of_the_paper():
    assert sorted(map(len, CONNECTIONS)) == [3] * 6 + [4] * 9 + [6]
    assert len(set(CONNECTIONS)) == 16
    # Its rows: how many maps of C3 see each map of S2.
    assert [sum(m in maps for maps in CONNECTIONS) for m in range(6)] == [10] * 6


def test_codes_are_pictures_of_the_digits():
    codes = fastconv.create_model("lenet5", variant="1998").output.weight
    assert codes.shape == (10, 84)
    assert set(np.unique(codes)) == {-1.0, 1.0}
    different = (codes[:, None] != codes).sum(axis=2)
    assert different[~np.eye(10, dtype=bool)].min() >= 10
    one = codes[1].reshape(12, 7)
    assert (one[-1] == [-1, 1, 1, 1, 1, 1, 1]).all()  # the foot of the 1


def test_outputs_are_distances_to_the_codes():
    layer = fastconv.create_model("lenet5", variant="1998").output
    y = layer.eager(layer.weight)
    np.testing.assert_array_equal(y.argmax(axis=1), np.arange(10))
    np.testing.assert_array_equal(np.diag(y), 0)
    different = (layer.weight[:, None] != layer.weight).sum(axis=2)
    np.testing.assert_allclose(y, -4 * different, rtol=1e-6)


def test_codes_of_another_number_of_classes_are_random():
    def make(seed):
        return fastconv.create_model("lenet5", variant="1998", num_classes=26, seed=seed)

    codes = make(0).output.weight
    assert codes.shape == (26, 84)
    assert set(np.unique(codes)) == {-1.0, 1.0}
    np.testing.assert_array_equal(make(0).output.weight, codes)
    assert not np.array_equal(make(1).output.weight, codes)
    assert len(np.unique(codes, axis=0)) == 26


def test_classifier_of_codes_can_be_replaced():
    model = fastconv.create_model("lenet5", variant="1998", dtype="float64")
    x = image(dtype="float64")
    model.reset_classifier(3)
    assert model(x).shape == (3, 3)
    assert model.output.weight.dtype == np.float64
    model.reset_classifier(0)
    assert model(x).shape == (3, 84)
    assert model.num_classes == 0


def test_codes_are_loaded_with_the_weights():
    trained = fastconv.create_model("lenet5", variant="1998", num_classes=26, seed=1)
    model = fastconv.create_model("lenet5", trained.state_dict(), variant="1998")
    assert model.num_classes == 26
    np.testing.assert_array_equal(model(image()), trained(image()))


# ---- Weights in the package ----------------------------------------------------------------------


def test_digits_are_packaged():
    path = packaged_weights("digits")
    assert path.stat().st_size < 300_000
    state = weights.load(path)
    model = fastconv.create_model("lenet5")
    assert {k: v.shape for k, v in state.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    model.load_state_dict(state)


def test_packaged_weights_are_trained():
    """A digit of 8x8 pixels, drawn here, is what it is."""
    model = fastconv.create_model("lenet5", packaged_weights("digits"))
    zero = "..XXXX.. .XX..XX. .XX..XX. .X....X. .X....X. .XX..XX. .XX..XX. ..XXXX.."
    one = "...XX... ..XXX... .XXXX... ...XX... ...XX... ...XX... ...XX... ..XXXX.."
    for label, rows in enumerate((zero.split(), one.split())):
        pixels = np.array([[0.9 * (pixel == "X") for pixel in row] for row in rows])
        assert model(fastconv.preprocess(pixels, model)).argmax() == label


@pytest.mark.parametrize("name", ["digit", "", "../digits", "imagenet"])
def test_unknown_packaged_weights(name):
    with pytest.raises(ValueError, match=f"no weights named '{name}'; it has: digits"):
        packaged_weights(name)
