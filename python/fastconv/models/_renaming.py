"""Weights under the names of other implementations, renamed to those of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from fastconv.models._registry import model_keys
from fastconv.models.naming import rename

T = TypeVar("T")


def to_model_names(state_dict: Mapping[str, T], model_name: str) -> dict[str, T]:
    """Rename weights to the names of the model ``model_name``, where they use other ones.

    Parameters
    ----------
    state_dict : mapping from str
        Weights, as `fastconv.weights.load` returns them.
    model_name : str
        A name of `fastconv.list_models`.

    Returns
    -------
    dict
        The same values in the same order; whether they fit the model, `fastconv.create_model`
        checks, and it knows the few values that need another shape.

    Raises
    ------
    ValueError
        The names are recognised, but belong to another model.

    Examples
    --------
    >>> from fastconv import models
    >>> names = {"_conv_stem.weight": 1, "_blocks.0._bn1.bias": 2, "_fc.bias": 3}
    >>> list(models.to_model_names(names, "efficientnet_lite0"))
    ['features.0.0.weight', 'features.1.0.block.0.1.bias', 'classifier.1.bias']
    """
    names = rename(state_dict, model_name, model_keys(model_name)).names
    return {names[key]: value for key, value in state_dict.items()}
