"""The registry, and every model in it."""

import copy
import pickle

import fastconv
import numpy as np
import pytest
from fastconv import models, nn
from fastconv.models import blocks

PARAMETERS = {
    "alexnet": 61_100_840,
    "convnext_base": 88_591_464,
    "convnext_large": 197_767_336,
    "convnext_small": 50_223_688,
    "convnext_tiny": 28_589_128,
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
    "efficientnet_v2_l": 118_515_272,
    "efficientnet_v2_m": 54_139_356,
    "efficientnet_v2_s": 21_458_488,
    "googlenet": 6_624_904,
    "inception_v3": 23_834_568,
    "lenet5": 61_706,
    "mnasnet0_5": 2_218_512,
    "mnasnet0_75": 3_170_208,
    "mnasnet1_0": 4_383_312,
    "mnasnet1_3": 6_282_256,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_small": 2_542_856,
    "mobilenetv1_100": 4_231_976,
    "regnet_x_16gf": 54_278_536,
    "regnet_x_1_6gf": 9_190_136,
    "regnet_x_32gf": 107_811_560,
    "regnet_x_3_2gf": 15_296_552,
    "regnet_x_400mf": 5_495_976,
    "regnet_x_800mf": 7_259_656,
    "regnet_x_8gf": 39_572_648,
    "regnet_y_128gf": 644_812_894,
    "regnet_y_16gf": 83_590_140,
    "regnet_y_1_6gf": 11_202_430,
    "regnet_y_32gf": 145_046_770,
    "regnet_y_3_2gf": 19_436_338,
    "regnet_y_400mf": 4_344_144,
    "regnet_y_800mf": 6_432_512,
    "regnet_y_8gf": 39_381_472,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnext101_32x8d": 88_791_336,
    "resnext101_64x4d": 83_455_272,
    "resnext50_32x4d": 25_028_904,
    "seresnet101": 49_326_872,
    "seresnet152": 66_821_848,
    "seresnet18": 11_779_624,
    "seresnet34": 21_960_416,
    "seresnet50": 28_088_024,
    "shufflenet_v2_x0_5": 1_366_792,
    "shufflenet_v2_x1_0": 2_278_604,
    "shufflenet_v2_x1_5": 3_503_624,
    "shufflenet_v2_x2_0": 7_393_996,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "wide_resnet101_2": 126_886_696,
    "wide_resnet50_2": 68_883_240,
}
SMALL = [
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_lite0",
    "lenet5",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenetv1_100",
    "regnet_y_400mf",
    "resnet18",
    "squeezenet1_1",
]


def image(model, batch=2, size=64):
    channels = model.default_cfg["input_size"][0]
    size = min(size, model.default_cfg["input_size"][1])
    shape = (batch, channels, size, size)
    return np.random.default_rng(0).standard_normal(shape).astype(model.dtype)


# ---- Every model ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", fastconv.list_models())
def test_interface(name):
    with nn.init.skip():
        model = getattr(models, name)()
    assert isinstance(model, models.ImageClassifier)
    assert sum(p.size for p in model.parameters()) == PARAMETERS[name]
    assert (model.name, model.weights_source) == (name, None)
    assert model.num_classes == (10 if name == "lenet5" else 1000)
    assert getattr(models, name).__doc__
    assert f"{name}, weights: random, not trained" in repr(model)
    cfg = model.default_cfg
    keys = {"input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode"}
    assert keys <= set(cfg) <= {*keys, "test_input_size", "test_crop_pct"}
    assert len(cfg["mean"]) == len(cfg["std"]) == cfg["input_size"][0]
    head = dict(model.named_modules())[model._classifier]
    assert head.weight.shape[:2] == (model.num_classes, model.num_features)


@pytest.mark.parametrize("name", SMALL)
def test_runs_compiled_and_eagerly_with_equal_results(name):
    model = fastconv.create_model(name)
    x = image(model)
    y = model(x)
    assert y.shape == (2, model.num_classes)
    assert y.dtype == np.float32
    assert np.isfinite(y).all()
    assert y.std() > 0
    scale = np.abs(y).max()
    assert np.abs(model.eager(x) - y).max() <= 1e-4 * scale
    assert np.abs(model(x[0]) - y[0]).max() <= 1e-4 * scale
    assert model(x[0]).shape == model.eager(x[0]).shape == (model.num_classes,)


@pytest.mark.parametrize("name", SMALL)
def test_head_of_features_is_the_model(name):
    model = fastconv.create_model(name)
    x = image(model)
    features = model.forward_features(x)
    assert features.ndim == 4
    y = model(x)
    difference = np.abs(model.forward_head(features) - y).max()
    assert difference <= 1e-4 * np.abs(y).max()


@pytest.mark.parametrize("name", SMALL)
def test_state_dict_round_trip(name):
    a, b = fastconv.create_model(name), fastconv.create_model(name, seed=1)
    x = image(a)
    assert not np.array_equal(a(x), b(x))
    b.load_state_dict(a.state_dict())
    np.testing.assert_array_equal(a(x), b(x))
    assert "weights: a state dict" in repr(b)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_models_can_be_copied(duplicate):
    model = fastconv.create_model("mobilenet_v2", num_classes=5)
    x = image(model)
    y = model(x)
    twin = duplicate(model)
    np.testing.assert_array_equal(twin(x), y)
    assert (twin.name, twin.default_cfg) == (model.name, model.default_cfg)


# ---- Arguments -----------------------------------------------------------------------------------


def test_seeds():
    a, b, c = (fastconv.create_model("resnet18", seed=s).state_dict() for s in (5, 5, 6))
    assert all(np.array_equal(a[key], b[key]) for key in a)
    assert not np.array_equal(a["fc.weight"], c["fc.weight"])
    wide = fastconv.create_model("resnet18", seed=5, dtype="float64").state_dict()
    assert wide["conv1.weight"].dtype == np.float64
    assert all(np.array_equal(a[key], wide[key]) for key in a)


def test_in_chans_and_model_arguments():
    model = fastconv.create_model("mobilenet_v2", in_chans=4, width_mult=0.35)
    assert model.default_cfg["input_size"] == (4, 224, 224)
    assert model.default_cfg["mean"] == pytest.approx((0.449,) * 4)
    with nn.init.skip():
        tested = fastconv.create_model("mobilenetv1_100", in_chans=1)
    assert tested.default_cfg["test_input_size"] == (1, 256, 256)
    assert model.features[0][0].weight.shape == (16, 4, 3, 3)
    assert models.MobileNetV2.default_cfg["input_size"] == (3, 224, 224)
    assert fastconv.create_model("lenet5").default_cfg["input_size"] == (1, 32, 32)


def test_reset_classifier():
    model = fastconv.create_model("resnet18", dtype="float64")
    x = image(model)
    before = model(x)
    model.reset_classifier(7)
    assert model(x).shape == (2, 7)
    assert model.fc.weight.dtype == np.float64
    first = model.fc.weight
    model.reset_classifier(7)
    np.testing.assert_array_equal(model.fc.weight, first)
    model.reset_classifier(7, seed=1)
    assert not np.array_equal(model.fc.weight, first)
    model.reset_classifier(0)
    assert model(x).shape == (2, 512)
    assert model.num_classes == 0
    assert before.shape == (2, 1000)
    with pytest.raises(ValueError, match="negative, got -1"):
        model.reset_classifier(-1)
    with pytest.raises(TypeError, match="seed must be an integer, got str 'x'"):
        model.reset_classifier(3, seed="x")


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1", "alexnet"])
def test_num_classes_zero_gives_pooled_features(name):
    model = fastconv.create_model(name, num_classes=0)
    y = model(image(model))
    assert y.shape == (2, model.num_features)
    assert model.num_classes == 0


def test_classifier_that_is_a_convolution():
    model = fastconv.create_model("squeezenet1_1", num_classes=7, dtype="float64")
    x = image(model)
    assert model.classifier[1].weight.shape == (7, 512, 1, 1)
    assert model(x).shape == (2, 7)
    model.reset_classifier(0)
    pooled = model.forward_features(x).mean(axis=(2, 3))
    np.testing.assert_allclose(model(x), pooled, rtol=1e-12)
    model.reset_classifier(5)
    assert model.num_classes == 5
    assert model(x).shape == (2, 5)
    with pytest.warns(UserWarning, match="classifier of 9 classes is new"):
        wider = fastconv.create_model("squeezenet1_1", model.state_dict(), num_classes=9)
    assert wider.num_classes == 9
    np.testing.assert_array_equal(wider.features[0].weight, model.features[0].weight.astype("f4"))


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_0", "densenet121"])
def test_other_input_sizes(name):
    model = fastconv.create_model(name, num_classes=5, in_chans=2)
    x = np.random.default_rng(0).standard_normal((1, 2, 96, 70)).astype(np.float32)
    y = model(x)
    assert y.shape == (1, 5)
    np.testing.assert_allclose(model.eager(x), y, rtol=1e-4, atol=1e-4 * np.abs(y).max())


def test_weights_from_a_mapping():
    trained = fastconv.create_model("resnet18", num_classes=7, seed=1)
    x = image(trained)
    model = fastconv.create_model("resnet18", weights=trained.state_dict())
    np.testing.assert_array_equal(model(x), trained(x))
    assert "weights: a state dict" in repr(model)
    assert model.conv1.weight is trained.conv1.weight  # read-only, so there is no need to copy


def test_other_number_of_classes_than_the_weights_makes_a_new_classifier():
    trained = fastconv.create_model("resnet18", num_classes=7, seed=1)
    state = trained.state_dict()
    with pytest.warns(UserWarning, match="7 classes: the classifier of 5 classes is new"):
        model = fastconv.create_model("resnet18", weights=state, num_classes=5)
    assert model.num_classes == 5
    assert model.fc.weight.any()
    np.testing.assert_array_equal(model.conv1.weight, trained.conv1.weight)
    assert "a state dict, new classifier" in repr(model)


def test_weights_from_a_file(tmp_path):
    trained = fastconv.create_model("lenet5", seed=1)
    path = tmp_path / "lenet5.npz"
    np.savez(path, **trained.state_dict())
    for weights in (path, str(path)):
        model = models.lenet5(weights)
        np.testing.assert_array_equal(model(image(model)), trained(image(model)))
        assert model.weights_source == str(path)


def test_efficientnet_lite_paddings_differ_at_strides_only():
    same = fastconv.create_model("efficientnet_lite0")
    symmetric = fastconv.create_model("efficientnet_lite0", padding="symmetric")
    symmetric.load_state_dict(same.state_dict())
    x = image(same)
    assert same.forward_features(x).shape == symmetric.forward_features(x).shape
    y = same(x)
    assert np.abs(symmetric(x) - y).max() > 1e-2 * np.abs(y).max()
    block = "features.3.1"  # of stride 1
    left, right = (dict(m.named_modules())[block] for m in (same, symmetric))
    y = np.random.default_rng(0).standard_normal((1, 40, 9, 9)).astype(np.float32)
    np.testing.assert_allclose(left.eager(y), right.eager(y), rtol=1e-5, atol=1e-5)


def test_googlenet_of_2014():
    model = models.googlenet(variant="2014")
    assert sum(p.size for p in model.parameters()) == 6_998_552
    state = model.state_dict()
    assert not [key for key in state if ".bn." in key]
    assert state["inception3a.branch3.1.conv.weight"].shape == (32, 16, 5, 5)
    x = 100 * np.random.default_rng(0).standard_normal((1, 3, 97, 130), np.float32)
    network = model.compile(x.shape)
    y, taps = network(x, taps=["maxpool1", "norm1", "maxpool4"])
    assert np.abs(model.eager(x) - y).max() <= 1e-4 * np.abs(y).max()
    assert np.abs(taps["norm1"] - taps["maxpool1"]).max() > 0.1 * np.abs(taps["maxpool1"]).max()
    assert taps["maxpool1"].shape == (1, 64, 24, 32)  # rounded up from 49x65
    assert taps["maxpool4"].shape == (1, 832, 3, 4)


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        (lambda: blocks.InceptionBlock(20, 7, 5, 9, 3, 6, 4), (26, 9, 11)),
        (lambda: blocks.InceptionA(20, 10), (234, 9, 11)),
        (lambda: blocks.InceptionB(20), (500, 4, 5)),
        (lambda: blocks.InceptionC(20, 24), (768, 9, 11)),
        (lambda: blocks.InceptionD(20), (532, 4, 5)),
        (lambda: blocks.InceptionE(20), (2048, 9, 11)),
        (lambda: blocks.ShuffleUnit(20, 20, 1), (20, 9, 11)),
        (lambda: blocks.ShuffleUnit(20, 50, 2), (50, 5, 6)),
    ],
)
def test_blocks_with_branches(block, shape):
    module = block()
    module.reset_parameters(0)
    x = np.random.default_rng(0).standard_normal((2, 20, 9, 11), np.float32)
    y = module(x)
    assert y.shape == (2, *shape)
    assert module(x[0]).shape == shape
    assert np.abs(module.eager(x) - y).max() <= 1e-5 * np.abs(y).max()


def test_shuffle_unit_leaves_half_of_the_channels_alone():
    x = np.random.default_rng(0).standard_normal((1, 20, 4, 4), np.float32)
    np.testing.assert_array_equal(blocks.ShuffleUnit(20, 20, 1)(x)[:, ::2], x[:, :10])
    for inp, oup, stride in ((20, 40, 1), (20, 25, 2)):
        with pytest.raises(ValueError, match=f"got inp=20, oup={oup}, stride={stride}"):
            blocks.ShuffleUnit(inp, oup, stride)


@pytest.mark.parametrize(
    ("name", "heads", "parameters"),
    [("googlenet", {"aux1", "aux2"}, 13_004_888), ("inception_v3", {"AuxLogits"}, 27_161_264)],
)
def test_auxiliary_heads_hold_parameters_only(name, heads, parameters):
    model = fastconv.create_model(name, aux_logits=True)
    assert sum(p.size for p in model.parameters()) == parameters
    without = fastconv.create_model(name)
    state = model.state_dict()
    assert {key.partition(".")[0] for key in state.keys() - without.state_dict()} == heads
    without.load_state_dict({key: state[key] for key in without.state_dict()})
    x = image(model, batch=1, size=80)
    np.testing.assert_array_equal(model(x), without(x))
    with pytest.raises(ValueError, match="unexpected keys"):
        without.load_state_dict(state)


def test_auxiliary_heads_have_as_many_classes_as_the_model():
    trained = fastconv.create_model("googlenet", num_classes=7, aux_logits=True, dtype="float64")
    arguments = {"aux_logits": True, "transform_input": False}
    loaded = fastconv.create_model("googlenet", trained.state_dict(), **arguments)
    assert loaded.aux1.fc2.weight.shape == loaded.aux2.fc2.weight.shape == (7, 1024)
    np.testing.assert_array_equal(loaded.aux2.fc2.weight, trained.aux2.fc2.weight)
    trained.reset_classifier(0)
    trained.reset_classifier(5)
    head = trained.aux1.fc2
    assert head.weight.shape == (5, 1024)
    assert head.weight.dtype == np.float64
    assert not np.array_equal(head.weight, trained.aux2.fc2.weight)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transform_input_agrees_with_default_cfg(dtype):
    """The preprocessing that `default_cfg` asks for gives the same logits both ways."""
    pixels = np.random.default_rng(0).random((1, 3, 64, 64))
    logits = []
    for transform_input in (False, True):
        model = models.googlenet(variant="2014", dtype=dtype, transform_input=transform_input)
        mean, std = (np.reshape(model.default_cfg[key], (3, 1, 1)) for key in ("mean", "std"))
        x = ((pixels - mean) / std).astype(dtype)
        logits += [model(x), model.eager(x)]
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    for other in logits[1:]:
        assert np.abs(other - logits[0]).max() <= tolerance * np.abs(logits[0]).max()
    assert not [key for key in model.state_dict() if "transform" in key]
    assert models.inception_v3(transform_input=True).default_cfg["std"] == (0.229, 0.224, 0.225)
    assert models.inception_v3().default_cfg["std"] == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: fastconv.create_model("resnet51"), ValueError, "did you mean .*resnet50"),
        (lambda: fastconv.create_model("zzz"), ValueError, r"fastconv.list_models\(\)"),
        (lambda: fastconv.create_model("lenet5", pretrained=True), ValueError, "weights=state_"),
        (lambda: fastconv.create_model("lenet5", "hub:a"), ValueError, "names no repository"),
        (lambda: fastconv.create_model("lenet5", "hf-hub:a"), ValueError, "names no repository"),
        (lambda: fastconv.create_model("lenet5", weights=3), TypeError, "mapping, got int"),
        (lambda: fastconv.create_model("lenet5", dtype="float16"), TypeError, "got float16"),
        (lambda: fastconv.create_model("lenet5", width=2), TypeError, "width"),
        (lambda: fastconv.create_model(["lenet5"]), TypeError, "name must be .*, got list"),
        (lambda: fastconv.create_model("lenet5", dtype=None), TypeError, "float64, got None"),
        (lambda: fastconv.create_model("lenet5", seed="x"), TypeError, "seed must be an integer"),
        (lambda: fastconv.create_model("lenet5", seed=-1), ValueError, "seed must not be negative"),
        (lambda: fastconv.create_model("lenet5", in_chans="3"), TypeError, "in_chans must be"),
        (lambda: fastconv.create_model("lenet5", variant=["1998"]), ValueError, "variant must be"),
        (lambda: models.googlenet(variant=["2014"]), ValueError, "variant must be"),
        (lambda: models.googlenet(transform_input="False"), TypeError, "transform_input must be"),
        (lambda: models.googlenet(aux_logits="no"), TypeError, "aux_logits must be True or"),
        (lambda: models.inception_v3(aux_logits=0), TypeError, "aux_logits must be True or"),
        (lambda: models.efficientnet_b0(scale_ends="no"), TypeError, "scale_ends must be True or"),
        (lambda: models.efficientnet_b0(stem=None), TypeError, "stem must be an integer"),
        (lambda: models.efficientnet_b0(bn_eps="x"), TypeError, "eps must be a number, got str"),
        (lambda: models.efficientnet_b0(depth_mult=2**70), ValueError, "depth_mult must be .* 100"),
        (lambda: models.resnet18(groups=None), TypeError, "groups must be an integer"),
        (lambda: models.resnet50(width_per_group="x"), TypeError, "width_per_group must be an int"),
        (lambda: models.resnet18(se_ratio=-1), ValueError, "se_ratio must be above 0"),
        (lambda: models.vgg11(batch_norm="no"), TypeError, "batch_norm must be True or False"),
        (lambda: models.convnext_tiny(stochastic_depth_prob=None), TypeError, "stochastic_depth_p"),
        (lambda: models.densenet121(growth_rate="x"), TypeError, "growth_rate must be an integer"),
        (lambda: fastconv.create_model("lenet5", num_classes=-2), ValueError, "negative, got -2"),
        (
            lambda: fastconv.create_model("lenet5", {"a": 1}),
            ValueError,
            "no tensors at its top",
        ),
        (lambda: models.efficientnet_lite0(padding="valid"), ValueError, "symmetric, same, got"),
        (
            lambda: models.googlenet(variant="2015"),
            ValueError,
            "'torchvision' or '2014', got '2015'",
        ),
        (lambda: models.googlenet(transform_input=True, in_chans=1), ValueError, "in_chans=3"),
        (lambda: models.inception_v3(transform_input=True, in_chans=4), ValueError, "in_chans=4"),
    ],
)
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_integers_of_numpy_are_integers():
    model = fastconv.create_model("lenet5", num_classes=np.array(3), in_chans=np.int64(2), seed=1)
    assert model.num_classes == 3
    assert [type(size) for size in model.default_cfg["input_size"]] == [int, int, int]


def test_pretrained_false_is_harmless():
    assert fastconv.create_model("lenet5", pretrained=False).name == "lenet5"


def test_missing_file_is_named(tmp_path):
    with pytest.raises((OSError, ValueError), match="absent"):
        fastconv.create_model("lenet5", tmp_path / "absent.pth")


# ---- The registry --------------------------------------------------------------------------------


def test_list_models():
    assert fastconv.list_models() == sorted(PARAMETERS)
    assert fastconv.list_models("resnext*") == [
        "resnext101_32x8d",
        "resnext101_64x4d",
        "resnext50_32x4d",
    ]
    assert fastconv.list_models("vgg*9") == ["vgg19"]
    assert fastconv.list_models("zzz*") == []
    assert all(callable(getattr(models, name)) for name in fastconv.list_models())


def test_register_model_checks_what_it_gets():
    def lenet5(**kwargs):
        return models.LeNet5(**kwargs)

    with pytest.raises(ValueError, match="already registered"):
        models.register_model("A paper")(lenet5)

    def lenet5_copy(**kwargs):
        return models.LeNet5(**kwargs)

    with pytest.raises(ValueError, match="default_cfg has no crop"):
        models.register_model("A paper", crop=1)(lenet5_copy)
    assert "lenet5_copy" not in fastconv.list_models()
