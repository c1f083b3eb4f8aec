"""Checkpoints of timm and transformers: every name, every shape, and the same logits."""

import re

import fastconv
import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from conditioning import condition
from fastconv.models import _checkpoint, _config
from fastconv.nn import init
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.oracle

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}

TIMM = [
    name
    for name in timm.list_models()
    if _config.timm_architecture(name)[0] in fastconv.list_models()
]


def shapes(state_dict):
    return {
        key: tuple(value.shape)
        for key, value in state_dict.items()
        if not key.endswith("num_batches_tracked")
    }


def without_values(state_dict):
    """Return arrays of the shapes of a model on the meta device, which take no memory."""
    return {
        key: np.broadcast_to(np.float32(0), tuple(value.shape)) for key, value in state_dict.items()
    }


def built(name, **arguments):
    with init.skip():
        model = fastconv.models.model_entry(name).factory(**arguments)
    model.name = name
    return model


# ---- Names and shapes ----------------------------------------------------------------------------


def test_timm_architectures_are_those_of_the_families():
    assert {"resnet50", "seresnet50", "vgg16_bn", "densenet121", "inception_v3"} <= set(TIMM)
    assert {"regnety_080_tv", "regnetx_320", "convnext_large", "mnasnet_100"} <= set(TIMM)
    assert {"tf_efficientnet_b7", "efficientnet_b0", "tf_efficientnetv2_l"} <= set(TIMM)
    assert {"tf_efficientnet_lite4", "efficientnet_lite0", "mobilenetv3_small_100"} <= set(TIMM)
    assert {"tf_mobilenetv3_large_100", "mobilenetv2_050", "mobilenetv1_100"} <= set(TIMM)
    assert len(TIMM) > 90


@pytest.mark.parametrize("architecture", TIMM)
def test_every_key_of_timm(architecture):
    name, arguments = _config.timm_architecture(architecture)
    with torch.device("meta"):
        theirs = timm.create_model(architecture).state_dict()
    model = built(name, **arguments)
    naming, state, files = _checkpoint.translate(model, without_values(theirs))
    assert shapes(state) == shapes(model.state_dict())
    assert naming == "timm" or set(files) == set(theirs)


def transformers_model(kind, **arguments):
    config = getattr(transformers, f"{kind}Config")(**arguments)
    return getattr(transformers, f"{kind}ForImageClassification")(config)


def efficientnet(width, depth, hidden_dim):
    return {
        "width_coefficient": width,
        "depth_coefficient": depth,
        "hidden_dim": hidden_dim,
        "image_size": 224,
    }


EFFICIENTNET_B0 = efficientnet(1.0, 1.0, 1280)
CONVNEXT_LARGE = {"hidden_sizes": [192, 384, 768, 1536], "depths": [3, 3, 27, 3]}
RESNET18 = {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
REGNET_Y_400MF = {"hidden_sizes": [48, 104, 208, 440], "depths": [1, 3, 6, 6], "groups_width": 8}
REGNET_X_400MF = {
    "hidden_sizes": [32, 64, 160, 400],
    "depths": [1, 2, 7, 12],
    "groups_width": 16,
    "layer_type": "x",
}


@pytest.mark.parametrize("base", [False, True])
@pytest.mark.parametrize(
    ("name", "kind", "arguments"),
    [
        ("resnet18", "ResNet", RESNET18),
        ("resnet152", "ResNet", {"depths": [3, 8, 36, 3]}),
        ("convnext_large", "ConvNext", CONVNEXT_LARGE),
        ("efficientnet_b0", "EfficientNet", EFFICIENTNET_B0),
        ("efficientnet_b3", "EfficientNet", efficientnet(1.2, 1.4, 1536)),
        ("efficientnet_b7", "EfficientNet", efficientnet(2.0, 3.1, 2560)),
        ("mobilenetv1_100", "MobileNetV1", {}),
        ("mobilenet_v2", "MobileNetV2", {}),
        ("regnet_x_400mf", "RegNet", REGNET_X_400MF),
        ("regnet_y_400mf", "RegNet", REGNET_Y_400MF),
    ],
)
def test_every_key_of_transformers(name, kind, arguments, base):
    with torch.device("meta"):
        theirs = transformers_model(kind, num_labels=1000, **arguments)
        theirs = (theirs.base_model if base else theirs).state_dict()
    model = built(name)
    naming, state, _ = _checkpoint.translate(model, without_values(theirs))
    assert naming == "transformers"
    if base:
        model.reset_classifier(0)
    assert shapes(state) == shapes(model.state_dict())


# ---- Logits --------------------------------------------------------------------------------------


def logits_of(model, x):
    with torch.no_grad():
        result = model(x.double())
    return getattr(result, "logits", result).numpy()


def check(name, folder, x, expected, **arguments):
    """Load in both precisions and compare; return the model."""
    scale = np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > 0.02 * scale  # the images matter
    for dtype, tolerance in TOLERANCE.items():
        model = fastconv.create_model(name, folder, dtype=dtype, **arguments)
        difference = np.abs(model(x.numpy().astype(dtype)) - expected).max()
        assert difference <= tolerance * scale
    return model


@pytest.mark.parametrize(
    "architecture",
    [
        "convnext_tiny",
        "efficientnet_b0",
        "efficientnet_lite0",
        "inception_v3",
        "mnasnet_050",
        "mobilenetv1_100",
        "mobilenetv2_050",
        "mobilenetv3_small_100",
        "regnety_004",
        "seresnet50",
        "tf_efficientnet_b0",
        "tf_efficientnet_lite0",
        "tf_efficientnetv2_s",
        "tf_mobilenetv3_small_100",
        "vgg11_bn",
    ],
)
def test_logits_of_timm(architecture, tmp_path):
    size = 107 if architecture == "inception_v3" else 64
    theirs, x = condition(timm.create_model(architecture, num_classes=7), size, batch=2)
    expected = logits_of(theirs, x)
    timm.models.save_for_hf(theirs.float(), tmp_path, safe_serialization=True)
    name, _ = _config.timm_architecture(architecture)
    model = check(name, tmp_path, x, expected)
    cfg = {**theirs.pretrained_cfg, **timm.data.resolve_model_data_config(theirs)}
    assert model.default_cfg == {key: cfg[key] for key in model.default_cfg}
    assert model.checkpoint.config == str(tmp_path / "config.json")
    assert model.num_classes == 7


@pytest.mark.parametrize(
    ("name", "kind", "arguments", "selected"),
    [
        ("resnet18", "ResNet", RESNET18, {}),
        ("resnet50", "ResNet", {}, {"stride_in_1x1": False}),
        ("resnet50", "ResNet", {"downsample_in_bottleneck": True}, {"stride_in_1x1": True}),
        ("convnext_tiny", "ConvNext", {}, {"head_norm_eps": 1e-12}),
        ("convnext_tiny", "ConvNext", {"layer_norm_eps": 0.1}, {"head_norm_eps": 0.1}),
        ("mobilenetv1_100", "MobileNetV1", {}, {"padding": "same", "bn_eps": 1e-3}),
        (
            "mobilenetv1_100",
            "MobileNetV1",
            {"tf_padding": False, "layer_norm_eps": 0.1, "depth_multiplier": 0.5},
            {"padding": "symmetric", "bn_eps": 0.1, "width_mult": 0.5},
        ),
        ("mobilenet_v2", "MobileNetV2", {}, {"padding": "same", "bn_eps": 1e-3}),
        (
            "mobilenet_v2",
            "MobileNetV2",
            {"tf_padding": False, "depth_multiplier": 0.35},
            {"padding": "symmetric", "bn_eps": 1e-3, "width_mult": 0.35},
        ),
        ("efficientnet_b0", "EfficientNet", EFFICIENTNET_B0, {"padding": "same", "bn_eps": 1e-3}),
        ("regnet_x_400mf", "RegNet", REGNET_X_400MF, {}),
        ("regnet_y_400mf", "RegNet", REGNET_Y_400MF, {}),
    ],
)
def test_logits_of_transformers(name, kind, arguments, selected, tmp_path):
    theirs, x = condition(transformers_model(kind, num_labels=7, **arguments), 64, batch=2)
    expected = logits_of(theirs, x)
    theirs.float().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    model = check(name, tmp_path, x, expected)
    assert model.checkpoint.naming == "transformers"
    assert model.checkpoint.arguments == selected
    assert model.num_classes == 7


@pytest.mark.parametrize(
    ("architecture", "variant"),
    [
        ("mobilenetv3_small_100", {"padding": "symmetric"}),
        ("tf_mobilenetv3_small_100", {"bn_eps": 1e-3}),
    ],
)
def test_one_argument_can_decide(architecture, variant, tmp_path):
    theirs, x = condition(timm.create_model(architecture), 64, batch=2)
    expected = logits_of(theirs, x)
    save_file(theirs.float().state_dict(), tmp_path / "weights.safetensors")
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ValueError, match="several variants of 'mobilenet_v3_small'"):
        fastconv.create_model("mobilenet_v3_small", path)
    check("mobilenet_v3_small", path, x, expected, **variant)


# ---- Saving --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("mobilenet_v3_small", lambda: timm.create_model("mobilenetv3_small_100")),
        ("resnet18", lambda: transformers_model("ResNet", num_labels=1000, **RESNET18)),
        ("convnext_tiny", lambda: transformers_model("ConvNext", num_labels=1000)),
    ],
)
def test_what_is_saved_loads_in_torchvision(name, make, tmp_path):
    model = make()
    if isinstance(model, transformers.PreTrainedModel):
        model.save_pretrained(tmp_path)
        (tmp_path / "preprocessor_config.json").write_text("{}")
    else:
        timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    ours = fastconv.create_model(name, tmp_path)
    path = tmp_path / "torchvision.safetensors"
    fastconv.weights.save(path, ours.state_dict())
    theirs = getattr(torchvision.models, name)(weights=None)
    theirs.load_state_dict(load_file(path))
    key = next(key for key in ours.state_dict() if key.endswith("weight"))
    np.testing.assert_array_equal(theirs.state_dict()[key].numpy(), ours.state_dict()[key])


# ---- Preprocessing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "arguments", "processor", "options"),
    [
        ("resnet18", "ResNet", RESNET18, "ConvNext", {"size": {"shortest_edge": 224}}),
        ("convnext_tiny", "ConvNext", {}, "ConvNext", {"crop_pct": 0.95, "resample": 2}),
        ("mobilenet_v2", "MobileNetV2", {}, "MobileNetV2", {}),
        ("mobilenetv1_100", "MobileNetV1", {}, "MobileNetV1", {"do_normalize": False}),
        ("efficientnet_b0", "EfficientNet", EFFICIENTNET_B0, "EfficientNet", {}),
        (
            "efficientnet_b0",
            "EfficientNet",
            EFFICIENTNET_B0,
            "EfficientNet",
            {"rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": False},
        ),
    ],
)
def test_preprocessing_of_transformers(name, kind, arguments, processor, options, tmp_path):
    transformers_model(kind, **arguments).save_pretrained(tmp_path)
    processor = getattr(transformers, f"{processor}ImageProcessor")(**options)
    processor.save_pretrained(tmp_path)
    model = fastconv.create_model(name, tmp_path)
    # A picture of one colour: filters differ a little, between torchvision and Pillow.
    image = np.tile(np.uint8([10, 100, 250]), (600, 600, 1))
    expected = processor(image, return_tensors="np")["pixel_values"]
    ours = fastconv.preprocess(image, model)
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, atol=1e-4)


# ---- Files of torchvision ------------------------------------------------------------------------


def test_auxiliary_heads_of_torchvision():
    with torch.device("meta"):
        theirs = torchvision.models.googlenet(init_weights=False, aux_logits=True).state_dict()
    state = {key: np.zeros(tuple(value.shape), np.float32) for key, value in theirs.items()}
    model = fastconv.create_model("googlenet", state, transform_input=True)
    assert set(model.checkpoint.ignored) == {key for key in theirs if key.startswith("aux")}
    with pytest.raises(ValueError, match="transform_input=True    for torchvision's published"):
        fastconv.create_model("googlenet", state)


def test_first_names_of_densenet():
    with torch.device("meta"):
        theirs = torchvision.models.densenet121().state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))", r"\1.", key): value
        for key, value in without_values(theirs).items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    naming, state, _ = _checkpoint.translate(built("densenet121"), old)
    assert naming == "torchvision"
    assert state.keys() == theirs.keys()
