"""Weights from anywhere into a model: where they are, what they are of, whether they fit."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy.typing as npt

from fastconv.models._config import from_config
from fastconv.models._facts import Facts
from fastconv.models._variants import decide
from fastconv.nn import init
from fastconv.nn.module import freeze, listed, state_array
from fastconv.weights._common import quote
from fastconv.weights.naming import NATIVE, recognise, rename

if TYPE_CHECKING:
    from fastconv.models._base import ImageClassifier

Weights = str | os.PathLike[str] | Mapping[str, npt.ArrayLike]

FORMS = """
    weights=None                       random, seeded: outputs mean nothing
    weights="model.safetensors"        a file: .safetensors, .pth, .pt, .bin or .npz
    weights="folder"                   with config.json and model.safetensors or pytorch_model.bin
    weights="hub:owner/repo"           the same on the Hugging Face hub; also "...@revision"
    weights="package:digits"           weights that come with fastconv
    weights=state_dict                 a mapping from names to arrays"""

_UNUSED = re.compile(r"(.*\.)?(num_batches_tracked|position_ids)")
"""What inference does not need."""


class Checkpoint(NamedTuple):
    """Where a model's weights come from, and what was made of them: ``model.checkpoint``.

    Examples
    --------
    >>> import fastconv
    >>> trained = fastconv.create_model("lenet5", seed=1)
    >>> model = fastconv.create_model("lenet5", weights=trained.state_dict())
    >>> model.checkpoint.naming, model.checkpoint.ignored
    ('torchvision', ())
    """

    source: str
    """The file, the repository with its revision, or ``"a state dict"``."""
    naming: str
    """Whose names it has, as `fastconv.weights.recognise` says."""
    config: str | None
    """The ``config.json`` that was used."""
    arguments: Mapping[str, Any]
    """The arguments of the model that the checkpoint selected, such as ``padding``."""
    ignored: tuple[str, ...]
    """Names in the file that the model does not need: auxiliary heads, counters."""
    absent: tuple[str, ...]
    """Names in the model that the file does not have and inference does not need."""
    background: bool
    """Whether class 0 is the background, so that ImageNet's first class is class 1."""
    labels: tuple[str, ...] | None
    """Names of the classes, where the configuration has them."""
    preprocessing: str | None = None
    """The file that `default_cfg` is of; `None` where it is the model's own."""


class Opened(NamedTuple):
    """A checkpoint that has been read, and not yet understood."""

    source: str
    state_dict: Mapping[str, npt.ArrayLike]
    config: Mapping[str, Any] | None = None
    config_source: str | None = None
    preprocessor: Mapping[str, Any] | None = None


def open_weights(weights: Weights) -> Opened:
    """Read what `weights` stands for; see `fastconv.create_model`."""
    if isinstance(weights, Mapping):
        return Opened("a state dict", weights)
    if not isinstance(weights, str | os.PathLike):
        raise TypeError(
            f"weights must be None, a path or a mapping, got {type(weights).__name__}: pass one of"
            f"{FORMS}"
        )
    if isinstance(weights, str) and weights.startswith(("hub:", "hf-hub:")):
        from fastconv.weights._hub import fetch

        files = fetch(weights)
        source = f"hub:{files.repo}@{files.revision}"
        return Opened(
            source,
            _load(files.weights),
            files.config,
            f"{source}, config.json",
            files.preprocessor,
        )
    if isinstance(weights, str) and weights.startswith("package:"):
        from fastconv.models._packaged import packaged_weights

        return Opened(weights, _load(packaged_weights(weights.removeprefix("package:"))))

    source = os.fspath(weights)
    folder, path = os.path.split(source)[0], source
    if os.path.isdir(source):
        from fastconv.weights._hub import WEIGHT_FILES

        folder = source
        path = next((p for n in WEIGHT_FILES if os.path.isfile(p := os.path.join(source, n))), "")
        if not path:
            raise FileNotFoundError(
                f"{source}: the folder has no weights; expected {' or '.join(WEIGHT_FILES)}, or "
                "the path of a file"
            )
    state_dict = _load(path)
    config_path = os.path.join(folder, "config.json")
    config = _read_json(config_path)
    if config is None or not {"architecture", "model_type"} & config.keys():
        return Opened(source, state_dict)
    preprocessor = _read_json(os.path.join(folder, "preprocessor_config.json"))
    return Opened(source, state_dict, config, config_path, preprocessor)


def _load(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Read a file into arrays that a model keeps as they are, without a copy."""
    from fastconv.weights import load

    state_dict = load(path)
    for array in state_dict.values():
        freeze(array)
    return state_dict


def _read_json(path: str) -> dict[str, Any] | None:
    from fastconv.weights._json import read_json_object

    return read_json_object(path) if os.path.isfile(path) else None


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
    for key in opened.state_dict:
        if not isinstance(key, str):
            raise TypeError(f"{opened.source} must have names as keys, got a {type(key).__name__}")
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
    seed : int
        Of a new classifier, where the numbers differ.
    nearest : callable
        Takes names and shapes and returns the model that has them, for the error.
    """
    opened, _, arguments, facts = checkpoint
    naming, state, files = translate(model, opened.state_dict)

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
        if ours not in slots and (ours.startswith(auxiliary) or _UNUSED.fullmatch(ours))
    ]
    for ours in ignored:
        del state[ours]
    problems = _problems(state, slots, files)
    if problems:
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
    )


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

    missing = [key for key in slots if key not in state and not _UNUSED.fullmatch(key)]
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
