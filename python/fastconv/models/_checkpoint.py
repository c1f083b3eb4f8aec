"""Weights into a model: what they are of, whether they fit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastconv.models._config import from_config
from fastconv.models._facts import Facts
from fastconv.models._provenance import Checkpoint
from fastconv.models._sources import UNUSED, Opened
from fastconv.models._variants import decide
from fastconv.models.naming import NATIVE, recognise, rename
from fastconv.nn import Conv2d, init
from fastconv.nn._state import is_floating, listed, state_array
from fastconv.weights._common import quote

if TYPE_CHECKING:
    from fastconv.models._base import ImageClassifier


class Understood(NamedTuple):
    """A checkpoint of which the variant is known."""

    opened: Opened
    naming: str
    arguments: Mapping[str, Any]
    facts: Facts


def understand(
    name: str, opened: Opened, explicit: Mapping[str, Any], models: list[str]
) -> Understood:
    """Find out which variant of the model `name` a checkpoint is of."""
    naming = recognise(opened.state_dict)
    facts = Facts({})
    if opened.config is not None and opened.config_source is not None:
        config = opened.config
        if {"architecture", "model_type"} & config.keys():
            facts = from_config(name, config, opened.preprocessor, opened.config_source, models)
        else:
            opened = opened._replace(config=None, config_source=None)
    arguments = decide(name, naming, facts.arguments, explicit)
    return Understood(opened, naming, arguments, facts)


class Translated(NamedTuple):
    """A state dict in the model's own names."""

    naming: str
    """The naming that it had."""
    state: dict[str, npt.NDArray[Any]]
    """Arrays by the model's names, in the model's layout."""
    files: dict[str, str]
    """The file's names by the model's."""


def translate(model: ImageClassifier, state_dict: Mapping[str, npt.ArrayLike]) -> Translated:
    """Rename and reshape weights to those of a model; whether they fit is not checked."""
    assert model.name is not None
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    naming, names = rename(state_dict, model.name, shapes)
    state = {ours: state_array(key, state_dict[key]) for key, ours in names.items()}
    if naming != NATIVE:
        state = {ours: _laid_out(value, shapes.get(ours)) for ours, value in state.items()}
    return Translated(naming, state, {ours: key for key, ours in names.items()})


def load_checkpoint(
    model: ImageClassifier,
    checkpoint: Understood,
    num_classes: int | None,
    in_chans: int | None,
    seed: int,
    nearest: Callable[[Mapping[str, tuple[int, ...]]], str | None],
) -> None:
    """Fill a model that has zero weights from a checkpoint.

    Parameters
    ----------
    model : ImageClassifier
        Built with the checkpoint's arguments.
    checkpoint : Understood
        The checkpoint.
    num_classes : int, optional
        What the caller asks for; by default what the checkpoint has.
    in_chans : int, optional
        The same of the input.
    seed : int
        Of a new classifier, where the numbers differ.
    nearest : callable
        Takes names and shapes and returns the model that has them, for the error.
    """
    opened, _, arguments, facts = checkpoint
    naming, state, files = translate(model, opened.state_dict)
    adapted = None if in_chans is None else _adapt_input(model, state, in_chans)

    weight = state.get(f"{model._classifier}.weight")
    head = None
    # Where the inputs differ no classifier is made: so many outputs might need any memory.
    if weight is not None and weight.ndim and weight[:1].size == model.num_features:
        head = len(weight)
    if num_classes is None and None not in (head, facts.num_classes) and head != facts.num_classes:
        raise ValueError(
            f"{opened.source}: the classifier has {head} classes, but {opened.config_source} says "
            f"{facts.num_classes}: expected the same, or num_classes={head} passed"
        )
    if head is None and num_classes is None and facts.num_classes == 0:
        num_classes = 0
    if head is not None or num_classes is not None:
        with init.skip():
            model.reset_classifier(head or 0)

    slots = {key: value.shape for key, value in model.state_dict().items()}
    auxiliary = tuple(f"{name}." for name, _ in getattr(model, "_aux_classifiers", ()))
    ignored = [
        ours
        for ours in state
        if ours not in slots and (ours.startswith(auxiliary) or UNUSED.fullmatch(ours))
    ]
    for ours in ignored:
        del state[ours]
    problems = _problems(state, slots, files)
    if problems:
        problems += _other_places(opened)
        if weight is None and num_classes is None:
            problems.append("  no classifier: num_classes=0 leaves it out, another number adds one")
        if other := nearest({ours: value.shape for ours, value in state.items()}):
            problems.append(f"  names and shapes are those of {other!r}")
        raise ValueError(
            f"{opened.source} does not fit {type(model).__name__} {model.name!r} "
            f"(naming recognised: {naming}):\n" + "\n".join(problems)
        )
    model.load_state_dict(state)
    model.weights_source = opened.source
    if num_classes is not None and num_classes != head:
        model.reset_classifier(num_classes, seed)
        if num_classes:
            warnings.warn(
                f"{opened.source} has "
                + (f"{head} classes" if head else "no classifier")
                + f": the classifier of {num_classes} classes is new and random",
                stacklevel=3,
            )
    kept = num_classes in (None, head)
    labels = facts.labels if kept and facts.labels and len(facts.labels) == head else None
    model.checkpoint = Checkpoint(
        source=opened.source,
        naming=naming,
        config=opened.config_source,
        arguments=dict(arguments),
        ignored=tuple(files[ours] for ours in ignored),
        absent=tuple(key for key in slots if key not in state),
        background=labels[0].lower() == "background" if labels else kept and head == 1001,
        labels=labels,
        preprocessing=facts.preprocessing,
        key=opened.part.key,
        ema=opened.part.ema,
        left_out=opened.part.beside,
        adapted=adapted,
    )


def _adapt_input(
    model: ImageClassifier, state: dict[str, npt.NDArray[Any]], in_chans: int
) -> str | None:
    """Make the first convolution's weights for RGB images fit others, as timm does.

    One channel gets the sum of the three; more of them get the three in turn, scaled so that a
    picture with equal channels gives what it gave.
    """
    key = next(
        f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Conv2d)
    )
    weight = state.get(key)
    is_rgb = weight is not None and weight.ndim == 4 and weight.shape[1] == 3
    if in_chans == 3 or weight is None or not is_rgb or not is_floating(weight.dtype):
        return None
    dtype = np.result_type(weight.dtype, np.float32)
    if in_chans == 1:
        state[key] = weight.sum(axis=1, keepdims=True, dtype=dtype)
        return f"{key}: 3 input channels added up to 1"
    state[key] = weight[:, np.arange(in_chans) % 3].astype(dtype) * dtype.type(3 / in_chans)
    return f"{key}: 3 input channels repeated to {in_chans} and scaled by 3/{in_chans}"


def _laid_out(value: npt.NDArray[Any], shape: tuple[int, ...] | None) -> npt.NDArray[Any]:
    """Return another library's values in the model's shape, where only the kind of layer differs.

    A convolution over the whole picture is a linear layer on the flattened one; a linear layer
    is a 1x1 convolution; a scale per channel may have trailing axes or not.
    """
    if shape is None or value.shape == shape or value.shape[:1] != shape[:1]:
        return value
    ndim = min(value.ndim, len(shape))
    squeezed = value.shape[:ndim] == shape[:ndim] and value.size == math.prod(shape[:ndim])
    flattened = len(shape) == 2 and value.size == math.prod(shape)
    same = math.prod(value.shape) == math.prod(shape)
    return value.reshape(shape) if same and (squeezed or flattened) else value


def _other_places(opened: Opened) -> list[str]:
    """Say where the weights were taken from, and what else is there."""
    lines = []
    if kinds := opened.part.unreadable:
        shown = [f"{quote(name)[1:-1]} is {kind}" for name, kind in [*kinds.items()][:5]]
        lines.append(f"  of kinds that NumPy lacks ({len(kinds)}): {', '.join(shown)}")
    if opened.part.beside and opened.part.key:
        shown = [quote(name)[1:-1] for name in opened.part.beside[:5]]
        lines.append(
            f"  taken from {quote(opened.part.key)}, beside ({len(opened.part.beside)}): "
            f"{', '.join(shown)}"
        )
    return lines


def _problems(
    state: Mapping[str, npt.NDArray[Any]],
    slots: Mapping[str, tuple[int, ...]],
    files: Mapping[str, str],
) -> list[str]:
    """List the keys that are missing, unexpected or of wrong shapes, with the file's own names."""

    def shown(ours: str) -> str:
        file = files.get(ours, ours)
        name = quote(ours)[1:-1]
        return name if file == ours else f"{name}, in the file {quote(file)[1:-1]}"

    missing = [key for key in slots if key not in state and not UNUSED.fullmatch(key)]
    unexpected = [key for key in state if key not in slots]
    wrong = [key for key in state if key in slots and state[key].shape != slots[key]]
    return [
        *listed("missing keys", missing, unexpected, shown),
        *listed("unexpected keys", unexpected, missing or list(slots), shown),
        *listed(
            "wrong shapes",
            wrong,
            show=lambda key: f"{shown(key)}: expected {slots[key]}, got {state[key].shape}",
        ),
    ]
