"""Checkpoints in the naming of other libraries: names, variants, reports and errors."""

import copy
import json
import pickle
import re
import sys
import types
from pathlib import Path

import fastconv
import numpy as np
import pytest
from fastconv import models, weights
from fastconv.cli import main
from fastconv.models._registry import model_keys
from fastconv.models.naming import rename

# ---- Names ---------------------------------------------------------------------------------------


def block(prefix, *parts):
    """Return weights of the parts of a block."""
    return [f"{prefix}{part}.weight" for part in parts]


# Naming, model, names in the file, names in the model.
NAMES = [
    (
        "lukemelas",
        "efficientnet_b0",
        [
            *block("_", "conv_stem", "bn0", "conv_head", "bn1", "fc"),
            *block("_blocks.0._", "depthwise_conv", "bn1", "se_reduce", "se_expand"),
            *block("_blocks.0._", "project_conv", "bn2"),
            *block("_blocks.2._", "expand_conv", "bn0", "depthwise_conv", "bn1", "se_reduce"),
            *block("_blocks.2._", "project_conv", "bn2"),
        ],
        [
            *block("", "features.0.0", "features.0.1", "features.8.0", "features.8.1"),
            "classifier.1.weight",
            *block("features.1.0.block.", "0.0", "0.1", "1.fc1", "1.fc2", "2.0", "2.1"),
            *block("features.2.1.block.", "0.0", "0.1", "1.0", "1.1", "2.fc1", "3.0", "3.1"),
        ],
    ),
    (
        "lukemelas",
        "efficientnet_lite0",
        [
            *block("_blocks.0._", "depthwise_conv", "bn1", "project_conv", "bn2"),
            *block("_blocks.15._", "expand_conv", "bn0", "depthwise_conv", "bn1"),
            *block("_blocks.15._", "project_conv", "bn2"),
        ],
        [
            *block("features.1.0.block.", "0.0", "0.1", "1.0", "1.1"),
            *block("features.7.0.block.", "0.0", "0.1", "1.0", "1.1", "2.0", "2.1"),
        ],
    ),
    (
        "timm",
        "efficientnet_v2_s",
        [
            *block("blocks.0.1.", "conv", "bn1"),
            *block("blocks.1.0.", "conv_exp", "bn1", "conv_pwl", "bn2"),
            *block("blocks.3.2.", "conv_pw", "bn1", "conv_dw", "bn2", "se.conv_reduce"),
            *block("blocks.3.2.", "conv_pwl", "bn3"),
            *block("", "conv_stem", "bn1", "conv_head", "bn2", "classifier"),
        ],
        [
            *block("features.1.1.block.", "0.0", "0.1"),
            *block("features.2.0.block.", "0.0", "0.1", "1.0", "1.1"),
            *block("features.4.2.block.", "0.0", "0.1", "1.0", "1.1", "2.fc1", "3.0", "3.1"),
            *block("", "features.0.0", "features.0.1", "features.7.0", "features.7.1"),
            "classifier.1.weight",
        ],
    ),
    (
        "timm",
        "mobilenet_v3_small",
        [
            *block("blocks.0.0.", "conv_dw", "bn1", "se.conv_reduce", "conv_pw", "bn2"),
            *block("blocks.1.0.", "conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"),
            *block("blocks.5.0.", "conv", "bn1"),
            *block("", "conv_stem", "bn1", "conv_head", "classifier"),
        ],
        [
            *block("features.1.block.", "0.0", "0.1", "1.fc1", "2.0", "2.1"),
            *block("features.2.block.", "0.0", "0.1", "1.0", "1.1", "2.0", "2.1"),
            *block("features.3.", "0", "1"),
            *block("", "features.0.0", "features.0.1", "classifier.0", "classifier.3"),
        ],
    ),
    (
        "timm",
        "mobilenet_v2",
        [
            *block("blocks.0.0.", "conv_dw", "bn1", "conv_pw", "bn2"),
            *block("blocks.1.0.", "conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"),
            *block("", "conv_head", "bn2"),
        ],
        [
            *block("features.1.conv.", "0.0", "0.1", "1", "2"),
            *block("features.2.conv.", "0.0", "0.1", "1.0", "1.1", "2", "3"),
            *block("features.3.", "0", "1"),
        ],
    ),
    (
        "timm",
        "mnasnet1_0",
        [
            *block("", "conv_stem", "bn1", "conv_head", "bn2", "classifier"),
            *block("blocks.0.0.", "conv_dw", "bn1", "conv_pw", "bn2"),
            *block("blocks.1.2.", "conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"),
        ],
        [
            *block("", "layers.0", "layers.1", "layers.14", "layers.15", "classifier.1"),
            *block("layers.", "3", "4", "6", "7"),
            *block("layers.8.2.layers.", "0", "1", "3", "4", "6", "7"),
        ],
    ),
    (
        "timm",
        "regnet_y_400mf",
        [
            *block("s2.b3.", "conv1.conv", "conv1.bn", "conv2.conv", "conv3.bn", "se.fc1"),
            *block("", "s2.b1.downsample.bn", "stem.conv", "head.fc"),
        ],
        [
            *block("trunk_output.block2.block2-2.f.", "a.0", "a.1", "b.0", "c.1", "se.fc1"),
            *block("", "trunk_output.block2.block2-0.proj.1", "stem.0", "fc"),
        ],
    ),
    (
        "timm",
        "vgg16",
        block("", "features.0", "pre_logits.fc1", "pre_logits.fc2", "head.fc"),
        block("", "features.0", "classifier.0", "classifier.3", "classifier.6"),
    ),
    (
        "timm",
        "convnext_tiny",
        [
            *block("", "stem.0", "stem.1", "head.norm", "head.fc", "stages.1.downsample.0"),
            *block("stages.2.blocks.7.", "conv_dw", "norm", "mlp.fc1", "mlp.fc2"),
            "stages.2.blocks.7.gamma",
        ],
        [
            *block("", "features.0.0", "features.0.1", "classifier.0", "classifier.2"),
            "features.2.0.weight",
            *block("features.5.7.block.", "0", "2", "3", "5"),
            "features.5.7.layer_scale",
        ],
    ),
    (
        "facebook",
        "convnext_tiny",
        [
            *block("", "downsample_layers.0.0", "norm", "head", "downsample_layers.1.1"),
            *block("stages.2.7.", "dwconv", "norm", "pwconv1", "pwconv2"),
            "stages.2.7.gamma",
        ],
        [
            *block("", "features.0.0", "classifier.0", "classifier.2", "features.2.1"),
            *block("features.5.7.block.", "0", "2", "3", "5"),
            "features.5.7.layer_scale",
        ],
    ),
    (
        "transformers",
        "convnext_tiny",
        [
            *block("convnext.", "embeddings.patch_embeddings", "embeddings.layernorm"),
            *block("convnext.encoder.stages.2.layers.7.", "dwconv", "layernorm", "pwconv1"),
            "convnext.encoder.stages.1.downsampling_layer.1.bias",
            "convnext.encoder.stages.2.layers.7.layer_scale_parameter",
            *block("", "convnext.layernorm", "classifier"),
        ],
        [
            *block("features.0.", "0", "1"),
            *block("features.5.7.block.", "0", "2", "3"),
            "features.2.1.bias",
            "features.5.7.layer_scale",
            *block("", "classifier.0", "classifier.2"),
        ],
    ),
    (
        "transformers",
        "regnet_x_400mf",
        [
            *block("regnet.embedder.embedder.", "convolution", "normalization"),
            *block("regnet.encoder.stages.0.layers.0.", "shortcut.convolution"),
            *block("regnet.encoder.stages.1.layers.1.layer.", "1.convolution", "2.normalization"),
            "classifier.1.weight",
        ],
        [
            *block("stem.", "0", "1"),
            "trunk_output.block1.block1-0.proj.0.weight",
            *block("trunk_output.block2.block2-1.f.", "b.0", "c.1"),
            "fc.weight",
        ],
    ),
    (
        "transformers",
        "efficientnet_b0",
        [
            *block("encoder.blocks.2.", "expansion.expand_conv", "depthwise_conv.depthwise_norm"),
            *block("encoder.blocks.2.", "squeeze_excite.reduce", "projection.project_bn"),
            *block("", "embeddings.batchnorm", "encoder.top_conv", "classifier"),
        ],
        [
            *block("features.2.1.block.", "0.0", "1.1", "2.fc1", "3.1"),
            *block("", "features.0.1", "features.8.0", "classifier.1"),
        ],
    ),
    (
        "transformers",
        "mobilenetv1_100",
        [
            *block("mobilenet_v1.conv_stem.", "convolution", "normalization"),
            *block("mobilenet_v1.layer.", "4.convolution", "5.convolution", "5.normalization"),
            "classifier.weight",
        ],
        [
            *block("", "conv_stem", "bn1"),
            *block("blocks.1.1.", "conv_dw", "conv_pw", "bn2"),
            "classifier.weight",
        ],
    ),
    (
        "transformers",
        "mobilenet_v2",
        [
            *block("mobilenet_v2.conv_stem.", "first_conv.convolution", "conv_3x3.normalization"),
            *block("mobilenet_v2.conv_stem.", "reduce_1x1.convolution"),
            *block("mobilenet_v2.layer.0.", "expand_1x1.convolution", "conv_3x3.convolution"),
            *block("mobilenet_v2.layer.0.", "reduce_1x1.normalization"),
        ],
        [
            *block("features.", "0.0", "1.conv.0.1", "1.conv.1", "2.conv.0.0", "2.conv.1.0"),
            "features.2.conv.3.weight",
        ],
    ),
    (
        "torchvision",
        "densenet121",
        ["features.denseblock1.denselayer2.norm.1.weight", "features.norm0.weight"],
        ["features.denseblock1.denselayer2.norm1.weight", "features.norm0.weight"],
    ),
    (
        "torchvision",
        "resnet18",
        ["conv1.weight", "layer1.0.conv1.weight"],
        ["conv1.weight", "layer1.0.conv1.weight"],
    ),
]


@pytest.mark.parametrize(
    ("naming", "name", "theirs", "ours"), NAMES, ids=lambda x: x if isinstance(x, str) else ""
)
def test_rename(naming, name, theirs, ours):
    assert models.recognise(theirs) == naming
    assert rename(theirs, name, model_keys(name)) == (
        naming,
        dict(zip(theirs, ours, strict=True)),
    )
    assert list(models.to_model_names(dict.fromkeys(theirs), name)) == ours


def test_unknown_keys_keep_their_names():
    keys = ["_conv_stem.weight", "_blocks.16._bn1.weight", "_blocks.x", "_blocks.0.se.weight"]
    names = rename(keys, "efficientnet_lite0", model_keys("efficientnet_lite0")).names
    assert list(names.values()) == ["features.0.0.weight", *keys[1:]]


def test_names_of_another_kind_of_network():
    with pytest.raises(ValueError, match=r"naming of lukemelas .*'resnet18' is not"):
        rename(["_conv_stem.weight"], "resnet18", [])
    with pytest.raises(ValueError, match="ResNet in the naming of transformers or RegNet"):
        rename(["embedder.embedder.convolution.weight"], "vgg11", [])


def test_two_names_of_one_weight():
    keys = ["_conv_stem.weight", "features.0.0.weight"]
    with pytest.raises(ValueError, match=r"both stand for 'features\.0\.0\.weight'"):
        rename(keys, "efficientnet_lite0", model_keys("efficientnet_lite0"))


# ---- Checkpoints to load -------------------------------------------------------------------------


def as_transformers(state_dict):
    """Name the weights of a ResNet as transformers does."""
    rules = (
        (r"^conv1\.", "resnet.embedder.embedder.convolution."),
        (r"^bn1\.", "resnet.embedder.embedder.normalization."),
        (r"^fc\.", "classifier.1."),
        (r"^layer(\d)\.(\d)\.", lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}."),
        (r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution."),
        (r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization."),
        (r"\.downsample\.0\.", ".shortcut.convolution."),
        (r"\.downsample\.1\.", ".shortcut.normalization."),
    )
    named = {}
    for key, value in state_dict.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        named[key] = value
    return named


def as_timm(state_dict):
    """Name the weights of an EfficientNet-Lite as timm does."""
    outside = {
        "features.0.0": "conv_stem",
        "features.0.1": "bn1",
        "features.8.0": "conv_head",
        "features.8.1": "bn2",
        "classifier.1": "classifier",
    }
    inside = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
    first = ("conv_dw", "bn1", "conv_pw", "bn2")

    def name(key):
        layer, _, rest = key.rpartition(".")
        if match := re.fullmatch(r"features\.(\d)\.(\d)\.block\.(\d)\.(\d)", layer):
            stage, index, position, kind = map(int, match.groups())
            layers = first if stage == 1 else inside
            return f"blocks.{stage - 1}.{index}.{layers[2 * position + kind]}.{rest}"
        return f"{outside[layer]}.{rest}"

    return {name(key): value for key, value in state_dict.items()}


@pytest.fixture(scope="module")
def resnet():
    return fastconv.create_model("resnet18", num_classes=3, seed=1)


@pytest.fixture(scope="module")
def lite():
    return fastconv.create_model("efficientnet_lite0", num_classes=3, seed=1)


def write(folder, state_dict, config=None, preprocessor=None, name="model.safetensors"):
    """Lay out a folder as the hub does."""
    if config is not None and "model_type" in config and preprocessor is None:
        preprocessor = {}
    weights.save(folder / name, state_dict)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


RESNET = {"model_type": "resnet", "layer_type": "basic", "hidden_act": "relu"}
LABELS = {"id2label": {"0": "background", "1": "cat", "2": "dog"}}
LITE = {
    "architecture": "tf_efficientnet_lite0",
    "num_classes": 3,
    "pretrained_cfg": {
        "input_size": [3, 192, 192],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "interpolation": "bilinear",
        "crop_pct": 0.9,
        "num_classes": 3,
    },
}


# ---- Reports -------------------------------------------------------------------------------------


def test_report_of_a_mapping(resnet):
    model = fastconv.create_model("resnet18", as_transformers(resnet.state_dict()))
    assert same_weights(model, resnet)
    assert model.checkpoint == models.Checkpoint(
        source="a state dict",
        naming="transformers",
        config=None,
        arguments={},
        ignored=(),
        absent=(),
        background=False,
        labels=None,
        preprocessing=None,
    )
    assert fastconv.create_model("lenet5").checkpoint is None
    model.load_state_dict(resnet.state_dict())
    assert model.checkpoint is None


def test_report_of_a_folder(resnet, tmp_path):
    state = as_transformers(resnet.state_dict())
    counters = {key for key in state if key.endswith("num_batches_tracked")}
    state = {key: value for key, value in state.items() if key not in counters}
    write(tmp_path, {**state, "position_ids": np.arange(3)}, {**RESNET, **LABELS})
    model = models.resnet18(tmp_path)
    assert same_weights(model, resnet)
    found = model.checkpoint
    assert (found.source, found.config) == (str(tmp_path), str(tmp_path / "config.json"))
    assert found.preprocessing == str(tmp_path / "preprocessor_config.json")
    assert len(found.absent) == len(counters) == 20
    assert found.ignored == ("position_ids",)
    assert found.labels == ("background", "cat", "dog")
    assert found.background
    assert model.weights_source == str(tmp_path)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.checkpoint == found
    model.reset_classifier(5)
    assert (model.checkpoint.labels, model.checkpoint.background) == (None, False)


def test_prefix_before_the_names_of_another_library(resnet):
    state = {f"model.{key}": value for key, value in as_transformers(resnet.state_dict()).items()}
    model = fastconv.create_model("resnet18", {**state, "loss.weight": np.ones(3)})
    assert same_weights(model, resnet)
    assert model.checkpoint.naming == "transformers"
    assert (model.checkpoint.key, model.checkpoint.left_out) == ("model", ("loss.weight",))


def test_background_of_1001_classes():
    state = fastconv.create_model("resnet18", num_classes=1001).state_dict()
    model = fastconv.create_model("resnet18", state)
    assert (model.num_classes, model.checkpoint.background) == (1001, True)


def test_a_file_knows_the_config_beside_it(lite, tmp_path):
    write(tmp_path, as_timm(lite.state_dict()), LITE, name="weights.npz")
    model = fastconv.create_model("efficientnet_lite0", tmp_path / "weights.npz")
    assert model.checkpoint.config == str(tmp_path / "config.json")
    assert model.checkpoint.arguments == {"padding": "same", "bn_eps": 1e-3}


def test_other_files_of_that_name_are_left_alone(resnet, tmp_path):
    write(tmp_path, resnet.state_dict(), {"port": 80})
    assert fastconv.create_model("resnet18", tmp_path).checkpoint.config is None


def test_auxiliary_heads_are_ignored():
    state = fastconv.create_model("googlenet", aux_logits=True).state_dict()
    model = fastconv.create_model("googlenet", state, transform_input=False)
    assert set(model.checkpoint.ignored) == {key for key in state if key.startswith("aux")}
    assert len(model.checkpoint.ignored) > 10


def test_hub(lite, tmp_path, monkeypatch):
    hub = types.ModuleType("fastconv.weights._hub")
    path = write(tmp_path, as_timm(lite.state_dict())) / "model.safetensors"

    def fetch(spec):
        assert spec == "hub:timm/some.tag@main"
        return types.SimpleNamespace(
            weights=path, config=LITE, preprocessor=None, repo="timm/some.tag", revision="abc"
        )

    hub.fetch = fetch
    monkeypatch.setitem(sys.modules, "fastconv.weights._hub", hub)
    model = fastconv.create_model("efficientnet_lite0", "hub:timm/some.tag@main")
    assert same_weights(model, lite)
    assert model.checkpoint.source == "hub:timm/some.tag@abc"
    assert model.checkpoint.config == "hub:timm/some.tag@abc, config.json"
    assert model.default_cfg["input_size"] == (3, 192, 192)


def test_classify_takes_folders_and_their_labels(resnet, tmp_path, capsys):
    write(tmp_path, as_transformers(resnet.state_dict()), {**RESNET, **LABELS})
    photo = Path(__file__).parents[1] / "examples" / "coffee.jpg"
    assert (
        main(["classify", str(photo), "--model=resnet18", f"--weights={tmp_path}", "--json"]) == 0
    )
    (result,) = json.loads(capsys.readouterr().out)
    assert sorted(p["class"] for p in result["predictions"]) == ["background", "cat", "dog"]
    assert result["preprocessing"]["crop_mode"] == "squash"  # transformers' at 384 pixels
    (tmp_path / "config.json").write_text('{"architecture": "resnet34"}')
    assert main(["classify", str(photo), "--model=resnet18", f"--weights={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert "which is fastconv's 'resnet34'; expected 'resnet18'" in error
    assert error.count("\n") == 1


# ---- Variants ------------------------------------------------------------------------------------

SAME, SYMMETRIC = ("padding='same', bn_eps=0.001", "padding='symmetric', bn_eps=1e-05")


def test_an_undecided_variant_is_an_error_that_lists_them(lite):
    state = as_timm(lite.state_dict())
    with pytest.raises(ValueError, match="several variants of 'efficientnet_lite0'") as caught:
        fastconv.create_model("efficientnet_lite0", state)
    assert f"{SAME}    for timm's tf_* models" in str(caught.value)
    assert f"{SYMMETRIC}    for timm's own models" in str(caught.value)


@pytest.mark.parametrize(
    ("explicit", "selected"),
    [
        ({"padding": "same"}, {"bn_eps": 1e-3}),
        ({"bn_eps": 1e-5}, {"padding": "symmetric"}),
        ({"padding": "same", "bn_eps": 0.1}, {}),
    ],
)
def test_arguments_decide(lite, explicit, selected):
    model = fastconv.create_model("efficientnet_lite0", as_timm(lite.state_dict()), **explicit)
    assert same_weights(model, lite)
    found = model.checkpoint.arguments
    assert {**found, **explicit} == {**selected, **explicit}
    assert model.features[0][1].eps == {**selected, **explicit}["bn_eps"]


def test_arguments_come_before_the_config(lite, tmp_path):
    write(tmp_path, as_timm(lite.state_dict()), LITE)
    model = fastconv.create_model("efficientnet_lite0", tmp_path, bn_eps=0.5)
    assert model.features[0][1].eps == 0.5
    same = fastconv.create_model("efficientnet_lite0", tmp_path)
    assert same.features[0][1].eps == 1e-3
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    other = fastconv.create_model("efficientnet_lite0", tmp_path, padding="symmetric")
    np.testing.assert_array_equal(same(x), lite(x))
    assert np.abs(same(x) - other(x)).max() > 0.01 * np.abs(same(x)).max()


def test_config_of_timm(lite, tmp_path):
    config = {**LITE, "model_args": {"bn_eps": 0.01, "pad_type": "", "drop_rate": 0.2}}
    write(tmp_path, as_timm(lite.state_dict()), config)
    model = fastconv.create_model("efficientnet_lite0", tmp_path)
    assert model.checkpoint.arguments == {"padding": "symmetric", "bn_eps": 0.01}
    assert model.default_cfg == {
        "input_size": (3, 192, 192),
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "interpolation": "bilinear",
        "crop_pct": 0.9,
        "crop_mode": "center",
    }
    assert model.checkpoint.preprocessing == str(tmp_path / "config.json")
    assert models.EfficientNet.default_cfg["input_size"] != (3, 192, 192)


def test_older_config_of_timm_has_one_level(lite, tmp_path):
    config = {"architecture": "tf_efficientnet_lite0", **LITE["pretrained_cfg"]}
    write(tmp_path, as_timm(lite.state_dict()), config)
    model = fastconv.create_model("efficientnet_lite0", tmp_path)
    assert model.default_cfg["crop_pct"] == 0.9


@pytest.mark.parametrize(
    ("processor", "cfg"),
    [
        (
            {
                "image_processor_type": "BitImageProcessorFast",
                "size": {"shortest_edge": 256},
                "crop_size": {"height": 224, "width": 224},
                "resample": 2,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.25, 0.25, 0.25],
            },
            ((3, 224, 224), "center", 0.875, "bilinear", 0.5, 0.25),
        ),
        (
            {"size": 224, "crop_pct": 0.95, "resample": 1, "do_rescale": False},
            ((3, 224, 224), "center", 0.95, "lanczos", 0.5 / 255, 0.5 / 255),
        ),
        (
            {"size": {"shortest_edge": 384}, "crop_pct": None},
            ((3, 384, 384), "squash", 1.0, "bicubic", 0.5, 0.5),
        ),
        ({}, ((3, 384, 384), "squash", 1.0, "bicubic", 0.5, 0.5)),
        (
            {
                "feature_extractor_type": "EfficientNetFeatureExtractor",
                "size": {"height": 240, "width": 240},
                "rescale_factor": 1 / 127.5,
                "rescale_offset": True,
            },
            ((3, 240, 240), "squash", 1.0, "bicubic", 0.75, 0.125),
        ),
        (
            {
                "image_processor_type": "EfficientNetImageProcessor",
                "size": [300, 200],
                "crop_size": [225, 150],
                "do_center_crop": True,
                "do_normalize": False,
                "image_std": 0.25,
            },
            ((3, 225, 150), "squash", 0.75, "bicubic", 0.0, 0.25),
        ),
    ],
)
def test_preprocessor_of_transformers(resnet, tmp_path, processor, cfg):
    write(tmp_path, as_transformers(resnet.state_dict()), RESNET, processor)
    model = fastconv.create_model("resnet18", tmp_path)
    size, crop_mode, crop_pct, interpolation, mean, std = cfg
    assert model.default_cfg == {
        "input_size": size,
        "mean": pytest.approx((mean,) * 3),
        "std": pytest.approx((std,) * 3),
        "interpolation": interpolation,
        "crop_pct": crop_pct,
        "crop_mode": crop_mode,
        "crop_rounding": "down",
    }
    photo = np.zeros((40, 30, 3), dtype=np.uint8)
    assert fastconv.preprocess(photo, model).shape == (1, *size)


@pytest.mark.parametrize(
    ("processor", "match"),
    [
        ({"do_resize": False}, "do_resize is False"),
        ({"size": {"longest_edge": 224}}, "size is {'longest_edge': 224}"),
        ({"size": {"height": 224, "width": 224}}, "expected shortest_edge"),
        ({"do_center_crop": True, "crop_size": 200}, "crop_size is 200: expected 384"),
        (
            {"image_processor_type": "ViTImageProcessor", "do_center_crop": True},
            "crop_size is None",
        ),
        ({"image_processor_type": "BitImageProcessor", "do_center_crop": False}, "do_center_crop"),
        ({"image_processor_type": "BitImageProcessor", "crop_size": [200, 224]}, "crop_size is"),
        ({"image_processor_type": "LevitImageProcessor"}, "'LevitImageProcessor'; fastconv knows"),
        ({"image_processor_type": "ViTImageProcessor", "crop_pct": 0.9}, "'crop_pct' is 0.9, and"),
        ({"do_pad": True}, "'do_pad' is True, and fastconv does not know"),
    ],
)
def test_preprocessors_that_are_refused(resnet, tmp_path, processor, match):
    write(tmp_path, as_transformers(resnet.state_dict()), RESNET, processor)
    with pytest.raises(ValueError, match=match) as caught:
        fastconv.create_model("resnet18", tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'preprocessor_config.json'}: ")


def test_preprocessor_that_is_missing(resnet, tmp_path):
    write(tmp_path, as_transformers(resnet.state_dict()), {**RESNET, "image_size": 192})
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.warns(UserWarning, match="may not be those of the weights") as caught:
        model = fastconv.create_model("resnet18", tmp_path)
    assert caught[0].filename == __file__
    assert model.checkpoint.preprocessing is None
    assert model.default_cfg == {**resnet.default_cfg, "input_size": (3, 192, 192)}


def test_absent_keys_of_timm_are_those_of_timm(tmp_path):
    """Not the model's own: SE-ResNet-50 has a size for tests, 0.95 and no bilinear filter."""
    weights.save(tmp_path / "model.safetensors", fastconv.create_model("seresnet50").state_dict())
    path = tmp_path / "config.json"
    path.write_text('{"architecture": "seresnet50", "pretrained_cfg": {"mean": null}}')
    assert fastconv.create_model("seresnet50", tmp_path).default_cfg == {
        "input_size": (3, 224, 224),
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "crop_mode": "center",
    }


def test_sizes_for_tests(lite, tmp_path):
    tests = {"test_input_size": [3, 240, 240], "test_crop_pct": 1.0, "crop_mode": "squash"}
    config = {**LITE, "pretrained_cfg": {**LITE["pretrained_cfg"], **tests}}
    write(tmp_path, as_timm(lite.state_dict()), config)
    model = fastconv.create_model("efficientnet_lite0", tmp_path)
    cfg = model.default_cfg
    assert cfg["input_size"] == (3, 192, 192)
    assert (cfg["test_input_size"], cfg["test_crop_pct"]) == ((3, 240, 240), 1.0)
    assert cfg["crop_mode"] == "squash"
    photo = np.zeros((40, 30, 3), dtype=np.uint8)
    assert fastconv.preprocess(photo, model).shape == (1, 3, 240, 240)


def test_channels_of_the_config(tmp_path):
    grey = fastconv.create_model("resnet18", num_classes=3, in_chans=1)
    write(tmp_path, as_transformers(grey.state_dict()), {**RESNET, "num_channels": 1})
    model = fastconv.create_model("resnet18", tmp_path)
    assert same_weights(model, grey)
    assert model.default_cfg["input_size"][0] == len(model.default_cfg["mean"]) == 1


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"architecture": "resnet34"}, "timm's 'resnet34', which is fastconv's 'resnet34'; expec"),
        ({"architecture": "tf_efficientnet_b7"}, "which is fastconv's 'efficientnet_b7'"),
        ({"architecture": "resnet18d"}, "timm's 'resnet18d'; expected 'resnet18'"),
        ({"architecture": ["resnet18"]}, "malformed"),
        ({"architecture": "resnet18", "model_args": {"stem_width": 24}}, "stem_width=24"),
        ({"architecture": "resnet18", "pretrained_cfg": {"mean": 1}}, "malformed"),
        (
            {"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 4]}},
            "input_size is .3, 4.; expected 3 whole numbers",
        ),
        (
            {"architecture": "resnet18", "pretrained_cfg": {"input_size": "224"}},
            "input_size is '224'; expected 3 whole numbers",
        ),
        (
            {"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 224.7, 224]}},
            "input_size is 224.7; expected a whole number",
        ),
        (
            {"architecture": "resnet18", "pretrained_cfg": {"test_crop_pct": 0}},
            "test_crop_pct is 0",
        ),
        (
            {"architecture": "resnet18", "pretrained_cfg": {"crop_pct": "1"}},
            "crop_pct is '1'; expected a number",
        ),
        (
            {"architecture": "resnet18", "pretrained_cfg": None, "mean": "0.5"},
            "mean is '0.5'; expected a list of numbers",
        ),
        ({"architecture": "resnet18", "num_classes": 5}, "has 3 classes, but .* says 5"),
        ({"architecture": "resnet18", "global_pool": "max"}, "global_pool='max'; .* has 'avg'"),
        (
            {"architecture": "resnet18", "pretrained_cfg": {"label_offset": 1}},
            "'label_offset' is 1",
        ),
        ({"architecture": "resnet18", "pretrained_cfg": {"tone": "x"}}, "'tone' is 'x', and fastc"),
        ({"architecture": "resnet18", "pretrained_cfg": {"crop_mode": "x"}}, "center or squash or"),
        ({"architecture": "resnet18", "pretrained_cfg": {}, "crop_pct": 0.9}, "'crop_pct' is 0.9"),
        (
            {"architecture": "resnet18", "pretrained_cfg": {"model_args": {"a": 1}}},
            "model_args' is",
        ),
        (
            {"architecture": "resnet18", "pretrained_cfg": {"interpolation": "random"}},
            "interpolation is 'random'; expected nearest or",
        ),
        (
            {"architecture": "resnet18", "pretrained_cfg": {"test_input_size": [1, 32, 32]}},
            "test_input_size is .* expected 3 channels",
        ),
        (
            {"architecture": "resnet18", "pretrained_cfg": {"test_crop_pct": 9}},
            "test_crop_pct is 9",
        ),
        ({**RESNET, "stem_width": 32}, "'stem_width' is 32, and fastconv does not know"),
        ({"model_type": "convnext"}, "model_type 'convnext'; expected those of 'resnet18'"),
        ({"model_type": "bert"}, "model_type 'bert'"),
        ({**RESNET, "hidden_act": "gelu"}, "hidden_act='gelu'; fastconv's 'resnet18' has 'relu'"),
        ({**RESNET, "downsample_in_first_stage": True}, "downsample_in_first_stage=True"),
        ({**RESNET, "id2label": {"0": "a", "1": "b"}}, "has 3 classes, but .* says 2"),
        ({**RESNET, "id2label": {"a": "b"}}, "malformed"),
    ],
)
def test_configs_that_do_not_fit(resnet, tmp_path, config, match):
    write(tmp_path, as_transformers(resnet.state_dict()), config)
    with pytest.raises(ValueError, match=match) as caught:
        fastconv.create_model("resnet18", tmp_path)
    assert "config.json" in str(caught.value)


def test_unknown_keys_that_ask_for_nothing(resnet, tmp_path):
    config = {
        "architecture": "resnet18",
        "a": None,
        "pretrained_cfg": {"b": False, "c": 0, "d": ""},
    }
    write(tmp_path, resnet.state_dict(), config)
    assert fastconv.create_model("resnet18", tmp_path).num_classes == 3


def test_pretrained_cfg_that_is_null(resnet, tmp_path):
    config = {"architecture": "resnet18", "pretrained_cfg": None, "crop_pct": 0.9}
    write(tmp_path, resnet.state_dict(), config)
    assert fastconv.create_model("resnet18", tmp_path).default_cfg["crop_pct"] == 0.9


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '{"a": NaN'])
def test_configs_that_are_no_objects(resnet, tmp_path, content):
    write(tmp_path, resnet.state_dict())
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(weights.WeightsError, match=r"config\.json: "):
        fastconv.create_model("resnet18", tmp_path)


# ---- Classes -------------------------------------------------------------------------------------


def test_config_that_contradicts_the_head_is_settled_by_an_argument(resnet, tmp_path):
    write(tmp_path, resnet.state_dict(), {"architecture": "resnet18", "num_classes": 5})
    assert fastconv.create_model("resnet18", tmp_path, num_classes=3).num_classes == 3


def test_new_classifier(resnet, tmp_path):
    write(tmp_path, as_transformers(resnet.state_dict()), {**RESNET, **LABELS})
    with pytest.warns(UserWarning, match="has 3 classes: the classifier of 4 .* random") as caught:
        model = fastconv.create_model("resnet18", tmp_path, num_classes=4)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert model.fc.weight.any()
    assert (model.checkpoint.labels, model.checkpoint.background) == (None, False)
    model = fastconv.create_model("resnet18", tmp_path, num_classes=0)  # which needs no new one
    assert model.num_classes == 0


def test_config_of_weights_without_classifier(resnet, tmp_path):
    state = {key: value for key, value in resnet.state_dict().items() if "fc" not in key}
    write(tmp_path, state, {"architecture": "resnet18", "num_classes": 0})
    assert fastconv.create_model("resnet18", tmp_path).num_classes == 0


def test_weights_without_classifier(resnet):
    state = {key: value for key, value in resnet.state_dict().items() if "fc" not in key}
    with pytest.raises(ValueError, match="no classifier: num_classes=0 leaves it out"):
        fastconv.create_model("resnet18", state)
    assert fastconv.create_model("resnet18", state, num_classes=0).num_classes == 0
    with pytest.warns(UserWarning, match="no classifier: the classifier of 4"):
        assert fastconv.create_model("resnet18", state, num_classes=4).num_classes == 4


# ---- Values --------------------------------------------------------------------------------------


def test_layouts_of_other_libraries():
    ours = fastconv.create_model("convnext_tiny", num_classes=3, seed=1)
    rules = (
        (r"^classifier\.0\.", "norm."),
        (r"^classifier\.2\.", "head."),
        (r"^features\.([0246])\.", lambda m: f"downsample_layers.{int(m[1]) // 2}."),
        (r"^features\.([1357])\.", lambda m: f"stages.{int(m[1]) // 2}."),
        (r"\.block\.0\.", ".dwconv."),
        (r"\.block\.2\.", ".norm."),
        (r"\.block\.3\.", ".pwconv1."),
        (r"\.block\.5\.", ".pwconv2."),
        (r"\.layer_scale$", ".gamma"),
    )
    state = {}
    for key, value in ours.state_dict().items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        if key.endswith("gamma"):
            value = value.reshape(-1)
        if "pwconv1.weight" in key:
            value = value[:, :, None, None]
        state[key] = value
    assert same_weights(fastconv.create_model("convnext_tiny", state), ours)
    key = "stages.0.0.pwconv2.weight"
    with pytest.raises(ValueError, match=r"block.5.weight, in the file stages.0.0.pw.*\(384, 96\)"):
        fastconv.create_model("convnext_tiny", {**state, key: state[key].T})


def test_fully_connected_layers_of_vgg_are_convolutions_in_timm():
    ours = fastconv.create_model("vgg11", num_classes=3)
    names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2"}
    names["classifier.6"] = "head.fc"
    state = {}
    for key, value in ours.state_dict().items():
        layer, _, rest = key.rpartition(".")
        if key == "classifier.0.weight":
            value = value.reshape(4096, 512, 7, 7)
        if key == "classifier.3.weight":
            value = value[:, :, None, None]
        state[f"{names.get(layer, layer)}.{rest}"] = value
    model = fastconv.create_model("vgg11", state)
    assert model.checkpoint.naming == "timm"
    assert same_weights(model, ours)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_half_precision(resnet, tmp_path, dtype):
    state = {
        key: value.astype(np.float16) if value.dtype == np.float32 else value
        for key, value in as_transformers(resnet.state_dict()).items()
    }
    weights.save(tmp_path / "half.safetensors", state)
    model = fastconv.create_model("resnet18", tmp_path / "half.safetensors", dtype=dtype)
    assert model.dtype == dtype
    expected = np.asarray(resnet.conv1.weight).astype(np.float16).astype(dtype)
    np.testing.assert_array_equal(model.conv1.weight, expected)


def test_bfloat16(resnet, tmp_path):
    header, data = {}, b""
    for key, value in as_transformers(resnet.state_dict()).items():
        half = np.asarray(value, np.float32).view(np.uint32) >> 16
        half = np.ascontiguousarray(half, np.uint16).reshape(value.shape)
        span = [len(data), len(data) + half.nbytes]
        header[key] = {"dtype": "BF16", "shape": list(value.shape), "data_offsets": span}
        data += half.tobytes()
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    model = fastconv.create_model("resnet18", path)
    np.testing.assert_allclose(model.conv1.weight, resnet.conv1.weight, rtol=2**-7)


def test_a_model_keeps_the_arrays_of_a_file(resnet, tmp_path):
    """They are not copied, and nobody can write to them, nor to what they are views of."""
    weights.save(tmp_path / "model.safetensors", resnet.state_dict())
    model = fastconv.create_model("resnet18", tmp_path / "model.safetensors")
    buffers = set()
    for key, array in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        assert not array.flags.writeable
        while isinstance(array.base, np.ndarray):
            array = array.base
            assert not array.flags.writeable
        buffers.add(id(array))
    assert len(buffers) == 1
    assert same_weights(model, resnet)


# ---- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda s, k: s.pop(k["bn1"]),
            r"missing keys \(1\):\n    features\.3\.0\.block\.1\.1\.running_mean$",
        ),
        (
            lambda s, k: s.update({"blocks.2.0.bn9.bias": np.zeros(3)}),
            r"unexpected keys \(1\):\n    blocks\.2\.0\.bn9\.bias",
        ),
        (
            lambda s, k: s.update({k["bn1"]: np.zeros(3, np.float32)}),
            r"wrong shapes \(1\):\n    features\.3\.0\.block\.1\.1\.running_mean, in the file "
            r"blocks\.2\.0\.bn2\.running_mean: expected \(144,\), got \(3,\)",
        ),
        (
            lambda s, k: s.update({k["conv"]: s[k["conv"]].reshape(32, -1)}),
            r"features\.0\.0\.weight, in the file conv_stem\.weight: expected \(32, 3, 3, 3\), got",
        ),
    ],
)
def test_one_tensor_is_wrong(lite, tmp_path, suffix, change, match):
    state = as_timm(lite.state_dict())
    change(state, {"bn1": "blocks.2.0.bn2.running_mean", "conv": "conv_stem.weight"})
    path = tmp_path / f"weights{suffix}"
    weights.save(path, state)
    with pytest.raises(ValueError, match=re.compile(match, re.MULTILINE)) as caught:
        fastconv.create_model("efficientnet_lite0", path, padding="same")
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        f"{path} does not fit EfficientNet 'efficientnet_lite0' (naming recognised: timm):"
    )
    assert len(lines) == 3


def test_misspelt_key(resnet):
    state = dict(resnet.state_dict())
    state["layer1.0.conv_1.weight"] = state.pop("layer1.0.conv1.weight")
    with pytest.raises(ValueError, match=r"conv1\.weight \(nearest: layer1\.0\.conv_1\.weight\)"):
        fastconv.create_model("resnet18", state)


def test_weights_of_another_model_of_the_family(resnet):
    state = as_transformers(resnet.state_dict())
    with pytest.raises(ValueError, match="names and shapes are those of 'resnet18'"):
        fastconv.create_model("resnet34", state)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({1: np.zeros(3)}, TypeError, "names as keys, got a int"),
        (3, TypeError, 'got int: pass one of(.|\n)*"hub:owner/repo"(.|\n)*"package:digits"'),
        ({"fc1.weight": np.zeros((3, 84), int)}, ValueError, "does not fit LeNet5 'lenet5'"),
    ],
)
def test_bad_weights(given, error, match):
    with pytest.raises(error, match=match):
        fastconv.create_model("lenet5", given)


def test_folder_without_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights; expected model\.safetensors or p"):
        fastconv.create_model("lenet5", tmp_path)


def test_pretrained_shows_all_forms():
    with pytest.raises(ValueError, match="pretrained=True names no weights") as caught:
        fastconv.create_model("resnet18", pretrained=True)
    for form in ("None", '"model.safetensors"', '"folder"', '"hub:owner/repo"', "state_dict"):
        assert f"weights={form}" in str(caught.value)
