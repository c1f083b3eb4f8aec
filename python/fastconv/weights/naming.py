"""Names of weights: from those of other implementations to those of fastconv's models.

fastconv's models name their modules as torchvision does, and as timm does where torchvision lacks
the model, so weights from these two need no renaming.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from fastconv.weights._common import quote

T = TypeVar("T")

EFFICIENTNET_LITE0_REPEATS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks per stage of EfficientNet-B0 and -Lite0 (Tan and Le 2019, table 1)."""

_LUKEMELAS_OUTSIDE = {
    "_conv_stem": "features.0.0",
    "_bn0": "features.0.1",
    "_conv_head": "features.8.0",
    "_bn1": "features.8.1",
    "_fc": "classifier.1",
}

_LUKEMELAS_SEPARABLE = {
    "_depthwise_conv": "block.0.0",
    "_bn1": "block.0.1",
    "_project_conv": "block.1.0",
    "_bn2": "block.1.1",
}

_LUKEMELAS_INVERTED_RESIDUAL = {
    "_expand_conv": "block.0.0",
    "_bn0": "block.0.1",
    "_depthwise_conv": "block.1.0",
    "_bn1": "block.1.1",
    "_project_conv": "block.2.0",
    "_bn2": "block.2.1",
}


def recognise(state_dict: Mapping[str, object]) -> str:
    """Say whose names a state dict uses.

    Parameters
    ----------
    state_dict : mapping from str
        Weights; only the names are looked at.

    Returns
    -------
    str
        ``"lukemelas"`` for the EfficientNets of lukemelas/EfficientNet-PyTorch, else ``"native"``:
        no renaming is known, or needed.

    Examples
    --------
    >>> from fastconv import weights
    >>> weights.recognise({"_conv_stem.weight": ..., "_blocks.0._bn1.weight": ...})
    'lukemelas'
    """
    if "_conv_stem.weight" in state_dict and any(key.startswith("_blocks.") for key in state_dict):
        return "lukemelas"
    return "native"


def to_model_names(state_dict: Mapping[str, T], model_name: str) -> dict[str, T]:
    """Rename weights to the names of the model ``model_name``, where they use other ones.

    Parameters
    ----------
    state_dict : mapping from str
        Weights, as `load` returns them.
    model_name : str
        A name of `fastconv.list_models`.

    Returns
    -------
    dict
        The same values in the same order; whether they fit the model, its ``load_state_dict``
        checks.

    Raises
    ------
    ValueError
        The names are recognised, but belong to another model.

    Examples
    --------
    >>> from fastconv import weights
    >>> names = {"_conv_stem.weight": 1, "_blocks.0._bn1.bias": 2, "_fc.bias": 3}
    >>> weights.to_model_names(names, "efficientnet_lite0")
    {'features.0.0.weight': 1, 'features.1.0.block.0.1.bias': 2, 'classifier.1.bias': 3}
    """
    if recognise(state_dict) == "native":
        return dict(state_dict)
    if model_name != "efficientnet_lite0":
        raise ValueError(
            f"the weights are those of an EfficientNet in lukemelas' naming (_conv_stem, "
            f"_blocks.0, ...); expected a model of that kind (efficientnet_lite0), got "
            f"{model_name!r}"
        )
    return lukemelas_efficientnet(state_dict)


def lukemelas_efficientnet(
    state_dict: Mapping[str, T], repeats: tuple[int, ...] = EFFICIENTNET_LITE0_REPEATS
) -> dict[str, T]:
    """Rename the weights of lukemelas' EfficientNets without squeeze-excitation to fastconv's.

    Parameters
    ----------
    state_dict : mapping from str
        Weights named as in https://github.com/lukemelas/EfficientNet-PyTorch: blocks counted
        through (``_blocks.3._expand_conv.weight``).
    repeats : tuple of int
        Blocks per stage; the first stage has blocks without expansion.

    Returns
    -------
    dict
        The same values in the same order, named as torchvision names EfficientNets: blocks counted
        per stage, stages from 1 (``features.3.0.block.0.0.weight``).

    Raises
    ------
    ValueError
        A name does not belong to such a network.

    Examples
    --------
    >>> from fastconv.weights.naming import lukemelas_efficientnet
    >>> lukemelas_efficientnet({"_blocks.15._project_conv.weight": 0})
    {'features.7.0.block.2.0.weight': 0}
    """
    blocks = [(stage, index) for stage, count in enumerate(repeats) for index in range(count)]
    renamed = {}
    for key, value in state_dict.items():
        match = re.fullmatch(r"(?:_blocks\.(\d{1,4})\.)?(_\w+)\.(\w+)", key)
        names, prefix = _LUKEMELAS_OUTSIDE, ""
        if match and match[1] and int(match[1]) < len(blocks):
            stage, index = blocks[int(match[1])]
            names = _LUKEMELAS_SEPARABLE if stage == 0 else _LUKEMELAS_INVERTED_RESIDUAL
            prefix = f"features.{stage + 1}.{index}."
        if not match or match[2] not in names or bool(match[1]) != bool(prefix):
            raise ValueError(
                f"state_dict has {quote(key)}, which is no weight of an EfficientNet-Lite of "
                f"{len(blocks)} blocks in lukemelas' naming"
            )
        renamed[f"{prefix}{names[match[2]]}.{match[3]}"] = value
    return renamed
