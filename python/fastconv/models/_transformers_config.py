"""What a ``config.json`` of transformers says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fastconv.models._facts import Facts, as_number, as_numbers, note_channels, refuse_unknown


class _ModelType(NamedTuple):
    """A model of transformers."""

    models: str
    """Pattern of fastconv's models."""
    arguments: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Takes the configuration, with its defaults, and returns the arguments of the model."""
    defaults: dict[str, Any]
    """Those that `arguments` needs, where the configuration does not say."""
    fixed: dict[str, tuple[Any, ...]]
    """What other values would make a network that fastconv has not."""
    shapes: frozenset[str]
    """Keys that the names and shapes of the weights say too, so that another value does not fit."""


def _resnet_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    if config["layer_type"] != "bottleneck":
        return {}
    return {"stride_in_1x1": bool(config["downsample_in_bottleneck"])}


def _mobilenet_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "padding": "same" if config["tf_padding"] else "symmetric",
        "bn_eps": float(config["layer_norm_eps"]),
    }
    if config["depth_multiplier"] != 1:  # which is about channels, in spite of its name
        arguments["width_mult"] = float(config["depth_multiplier"])
    return arguments


_MOBILENET_DEFAULTS = {"tf_padding": True, "layer_norm_eps": 1e-3, "depth_multiplier": 1.0}

_MODEL_TYPES = {
    "resnet": _ModelType(
        r"resnet\d",
        _resnet_arguments,
        {"layer_type": "bottleneck", "downsample_in_bottleneck": False},
        {"hidden_act": ("relu",), "downsample_in_first_stage": (False,)},
        frozenset({"embedding_size", "hidden_sizes", "depths"}),
    ),
    "regnet": _ModelType(
        r"regnet_",
        lambda config: {},
        {},
        {"hidden_act": ("relu",), "downsample_in_first_stage": (True,)},
        frozenset({"embedding_size", "hidden_sizes", "depths", "groups_width", "layer_type"}),
    ),
    "convnext": _ModelType(
        r"convnext_",
        lambda config: {"head_norm_eps": float(config["layer_norm_eps"])},
        {"layer_norm_eps": 1e-12},
        {"hidden_act": ("gelu",), "patch_size": (4,)},
        frozenset({"num_stages", "hidden_sizes", "depths", "layer_scale_init_value"}),
    ),
    "efficientnet": _ModelType(
        r"efficientnet_b",
        lambda config: {"padding": "same", "bn_eps": float(config["batch_norm_eps"])},
        {"batch_norm_eps": 1e-3},
        {
            "hidden_act": ("swish", "silu"),
            "pooling_type": ("mean",),
            "strides": ([1, 2, 2, 2, 1, 2, 1],),
        },
        frozenset(
            {
                *("width_coefficient", "depth_coefficient", "depth_divisor", "hidden_dim"),
                *("kernel_sizes", "in_channels", "out_channels", "expand_ratios"),
                *("num_block_repeats", "num_hidden_layers", "squeeze_expansion_ratio"),
            }
        ),
    ),
    "mobilenet_v1": _ModelType(
        r"mobilenetv1_",
        _mobilenet_arguments,
        _MOBILENET_DEFAULTS,
        {"hidden_act": ("relu6",), "min_depth": (8,)},
        frozenset(),
    ),
    "mobilenet_v2": _ModelType(
        r"mobilenet_v2",
        _mobilenet_arguments,
        _MOBILENET_DEFAULTS,
        {
            "hidden_act": ("relu6",),
            "output_stride": (32,),
            "expand_ratio": (6,),
            "depth_divisible_by": (8,),
            "min_depth": (8,),
            "first_layer_is_expansion": (True,),
        },
        frozenset({"finegrained_output"}),
    ),
}

_USED = ("model_type", "num_channels", "image_size", "id2label", "num_labels")

_NO_EFFECT = {
    **dict.fromkeys(
        ("_name_or_path", "_commit_hash", "transformers_version", "architectures", "problem_type"),
        "about the file",
    ),
    **dict.fromkeys(
        ("torch_dtype", "dtype", "use_bfloat16", "torchscript", "return_dict", "use_cache"),
        "how transformers runs a model",
    ),
    **dict.fromkeys(
        ("output_hidden_states", "output_attentions", "chunk_size_feed_forward"),
        "how transformers runs a model",
    ),
    **dict.fromkeys(("tie_word_embeddings", "is_encoder_decoder"), "of networks for text"),
    **dict.fromkeys(
        ("stage_names", "out_features", "out_indices"), "of networks that detect and segment"
    ),
    **dict.fromkeys(
        ("initializer_range", "batch_norm_momentum", "drop_path_rate", "drop_connect_rate"),
        "of training",
    ),
    **dict.fromkeys(
        ("dropout_rate", "classifier_dropout_prob", "semantic_loss_ignore_index"), "of training"
    ),
    "label2id": "id2label the other way round",
    "depthwise_padding": "which layers have inputs of odd size; padding='same' looks at the input",
}
"""Keys without effect, and why."""


def read_transformers(name: str, config: Mapping[str, Any], where: str) -> Facts:
    """Read a ``config.json``; see `fastconv.models._config.from_config`."""
    kind = _MODEL_TYPES.get(config["model_type"])
    if kind is None or not re.match(kind.models, name):
        raise ValueError(
            f"{where}: the weights are of transformers' model_type {config['model_type']!r}; "
            f"expected those of {name!r}"
        )
    for key, values in kind.fixed.items():
        if config.get(key, values[0]) not in values:
            raise ValueError(
                f"{where}: the network has {key}={config[key]!r}; fastconv's {name!r} has "
                f"{' or '.join(map(repr, values))}"
            )
    known = (*_USED, *_NO_EFFECT, *kind.fixed, *kind.defaults, *kind.shapes)
    refuse_unknown(config, known, where)
    arguments = kind.arguments({**kind.defaults, **config})
    channels = as_number("num_channels", config.get("num_channels", 3), int)
    note_channels(arguments, channels)
    preprocessing: dict[str, Any] = {}
    if size := config.get("image_size"):
        sides = (size, size) if isinstance(size, int) else size
        height, width = as_numbers("image_size", sides, int, 2)
        preprocessing["input_size"] = (channels, height, width)
        preprocessing.update(test_input_size=None, test_crop_pct=None)
    labels = None
    if id2label := config.get("id2label"):
        labels = tuple(str(id2label[str(index)]) for index in range(len(id2label)))
    number = config.get("num_labels") if labels is None else len(labels)
    if labels and labels[0] == "LABEL_0":  # named by transformers, not by people
        labels = None
    if number is not None:
        number = as_number("num_labels", number, int)
    return Facts(arguments, number, preprocessing, labels)
