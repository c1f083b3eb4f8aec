"""Names of weights: from those of other implementations to those of fastconv's models.

fastconv's models name their modules as torchvision does, and as timm does where torchvision lacks
the model, so weights from these two mostly need no renaming. Each file here has the names of one
other implementation, as tables.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from fastconv.models.naming import facebook, lukemelas, timm, torchvision, transformers
from fastconv.models.naming._format import Renamed
from fastconv.weights._common import quote

__all__ = ["NATIVE", "Naming", "recognise", "rename"]

NATIVE = "torchvision"
"""The naming of all models but those that torchvision lacks."""

_FORMATS = (
    *lukemelas.FORMATS,
    *timm.FORMATS,
    *transformers.FORMATS,
    *facebook.FORMATS,
    *torchvision.FORMATS,
)


class Naming(NamedTuple):
    """What `rename` found."""

    naming: str
    """As `recognise` returns it."""
    names: Renamed
    """From the file's keys to the model's, in the file's order."""


def recognise(state_dict: Collection[str]) -> str:
    """Say whose names a state dict uses.

    Parameters
    ----------
    state_dict : mapping from str
        Weights; only the names are looked at.

    Returns
    -------
    str
        ``"timm"``, ``"transformers"``, ``"lukemelas"`` (EfficientNet-PyTorch), ``"facebook"``
        (ConvNeXt), else ``"torchvision"``: fastconv's own names, where no other is recognised.
        Names that torchvision and timm share, such as those of ResNet, are torchvision's.

    Examples
    --------
    >>> from fastconv import models
    >>> models.recognise({"_conv_stem.weight": ..., "_blocks.0._bn1.weight": ...})
    'lukemelas'
    >>> models.recognise({"conv1.weight": ..., "layer1.0.conv1.weight": ...})
    'torchvision'
    """
    return next((f.naming for f in _FORMATS if f.marks(state_dict)), NATIVE)


def rename(keys: Collection[str], model_name: str, model_keys: Collection[str]) -> Naming:
    """Find the model's keys for those of a file.

    Parameters
    ----------
    keys : collection of str
        Of the file.
    model_name : str
        A name of `fastconv.list_models`.
    model_keys : collection of str
        Of the model's state dict.

    Raises
    ------
    ValueError
        The names are recognised, but belong to networks of another kind; or two of them stand for
        one weight.

    Examples
    --------
    >>> from fastconv.models.naming import rename
    >>> rename(["head.fc.bias", "s1.b2.conv1.bn.bias"], "regnet_y_400mf", []).names["head.fc.bias"]
    'fc.bias'
    """
    found = [form for form in _FORMATS if form.marks(keys)]
    if not found:
        return Naming(NATIVE, {key: key for key in keys})
    fitting = next((form for form in found if re.match(form.models, model_name)), None)
    if fitting is None:
        kinds = " or ".join(f"{form.networks} in the naming of {form.naming}" for form in found)
        marker = re.compile(found[0].marker, re.ASCII)
        example = next(key for key in keys if marker.match(key))
        raise ValueError(
            f"the weights are those of {kinds} ({quote(example)}, ...), which {model_name!r} is "
            "not: expected weights of that model, or a model of that kind"
        )
    names = fitting.rename(keys, model_name, model_keys)
    files: dict[str, str] = {}
    for key, ours in names.items():
        if (other := files.setdefault(ours, key)) != key:
            raise ValueError(
                f"the weights {quote(other)} and {quote(key)} both stand for {quote(ours)}, in the "
                f"naming of {fitting.naming}: expected one of them"
            )
    return Naming(fitting.naming, names)
