"""The list of models, and how one is made by its name."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from fastconv.models._base import DefaultCfg, ImageClassifier
from fastconv.nn import init

_Model = TypeVar("_Model", bound=ImageClassifier)
Weights = str | os.PathLike[str] | Mapping[str, npt.ArrayLike]


class ModelEntry(NamedTuple):
    """What the registry knows of a model."""

    factory: Callable[..., ImageClassifier]
    """Builds it from the arguments of its class."""
    family: str
    """The file that defines it, such as ``"resnet"``."""
    paper: str
    """Authors, title, year and where to find it."""
    hub: str | None
    """A repository of the Hugging Face hub with trained weights."""
    default_cfg: dict[str, Any]
    """What differs from the `default_cfg` of the model's class."""


_registry: dict[str, ModelEntry] = {}

_FORMS = """
    weights=None                       random, seeded: outputs mean nothing
    weights="model.safetensors"        a file: .safetensors, .pth, .pt or .npz
    weights=state_dict                 a mapping from names to arrays"""


def register_model(
    paper: str, hub: str | None = None, **default_cfg: Any
) -> Callable[[Callable[..., _Model]], Callable[..., _Model]]:
    """Add a function that builds a model to the registry, under the function's name.

    The decorated function becomes the public one: it takes the arguments of `create_model` after
    the name.

    Parameters
    ----------
    paper : str
        ``"Author et al., Title (year), arXiv:number"``, for the table in ``docs/models.md``.
    hub : str, optional
        ``"owner/repo"`` of the Hugging Face hub, with trained weights.
    **default_cfg
        What differs from the `default_cfg` of the model's class: the preprocessing of the weights
        that torchvision publishes first (``IMAGENET1K_V1``), else of those at `hub`.
    """

    def register(factory: Callable[..., _Model]) -> Callable[..., _Model]:
        name = factory.__name__
        if name in _registry:
            raise ValueError(f"a model named {name!r} is already registered")
        if unknown := default_cfg.keys() - DefaultCfg.__annotations__.keys():
            raise ValueError(f"default_cfg has no {', '.join(sorted(unknown))}")
        family = factory.__module__.rpartition(".")[2]
        _registry[name] = ModelEntry(factory, family, paper, hub, default_cfg)

        @functools.wraps(factory)
        def build(
            weights: Weights | None = None,
            num_classes: int | None = None,
            in_chans: int | None = None,
            dtype: npt.DTypeLike = "float32",
            seed: int = 0,
            **kwargs: Any,
        ) -> _Model:
            model = create_model(name, weights, num_classes, in_chans, dtype, seed, **kwargs)
            return cast(_Model, model)

        del build.__dict__["__wrapped__"]  # so that help() shows these arguments
        return build

    return register


def list_models(filter: str | None = None) -> list[str]:
    """Return the names of all models, sorted.

    Parameters
    ----------
    filter : str, optional
        Shell-style pattern that the names must match.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.list_models("wide_*")
    ['wide_resnet101_2', 'wide_resnet50_2']
    """
    return sorted(name for name in _registry if filter is None or fnmatch.fnmatch(name, filter))


def model_entry(name: str) -> ModelEntry:
    """Return what the registry knows of a model: its paper, where trained weights are found.

    Raises
    ------
    ValueError
        If `name` is unknown; the message has the nearest names.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.models.model_entry("resnet50").family
    'resnet'
    """
    if name not in _registry:
        near = difflib.get_close_matches(str(name), _registry, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "fastconv.list_models() lists all"
        raise ValueError(f"unknown model {name!r}: {hint}")
    return _registry[name]


def create_model(
    name: str,
    weights: Weights | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    dtype: npt.DTypeLike = "float32",
    seed: int = 0,
    **kwargs: Any,
) -> ImageClassifier:
    """Build a model by its name.

    Parameters
    ----------
    name : str
        One of `list_models()`.
    weights : None, path or mapping
        `None` gives random weights drawn from `seed`, as the model's authors draw them before
        training. A path is read by `fastconv.weights.load`; a mapping holds arrays by the names of
        torchvision, timm, or another naming that `fastconv.weights` knows.
    num_classes : int, optional
        By default that of the weights, or of the model (1000 for ImageNet). Where it differs from
        that of the weights, the classifier is new and random.
    in_chans : int, optional
        Channels of the input, by default the model's: 3, or 1 for `lenet5`.
    dtype : dtype
        ``float32`` or ``float64``. One seed gives the same weights in both.
    seed : int
        Of random weights.
    **kwargs
        More arguments of the model, such as ``width_mult`` of `mobilenet_v2`.

    Returns
    -------
    ImageClassifier

    Raises
    ------
    ValueError
        If `name` is unknown (the message has the nearest names) or `weights` do not fit the model.
    TypeError
        If the model takes no such argument.

    Examples
    --------
    >>> import fastconv
    >>> model = fastconv.create_model("resnet18", num_classes=10)
    >>> sum(p.size for p in model.parameters())
    11181642
    """
    entry = model_entry(name)
    if kwargs.pop("pretrained", False):
        raise ValueError(f"pretrained=True names no weights: pass one of{_FORMS}")
    state_dict = _read(name, weights)

    if in_chans is not None:
        kwargs["in_chans"] = in_chans
    with init.skip():
        model = entry.factory(**kwargs).astype(dtype)
        classes = num_classes if state_dict is None else _classes_of(model, state_dict)
        if classes is not None:
            model.reset_classifier(classes)
    model.name = name
    model.default_cfg = cast(DefaultCfg, {**model.default_cfg, **entry.default_cfg})
    if in_chans not in (None, model.default_cfg["input_size"][0]):
        model.default_cfg = _with_channels(model.default_cfg, in_chans)
    if state_dict is None:
        model.reset_parameters(seed)
        return model
    model.load_state_dict(state_dict)
    if not isinstance(weights, Mapping):
        model.weights_source = os.fspath(cast(os.PathLike[str], weights))
    if num_classes is not None and num_classes != classes:
        model.reset_classifier(num_classes, seed)
    return model


def _with_channels(cfg: DefaultCfg, channels: int) -> DefaultCfg:
    """Return `cfg` for another number of channels, all normalised by the mean of the old ones."""
    mean, std = (sum(values) / len(values) for values in (cfg["mean"], cfg["std"]))
    return {
        **cfg,
        "input_size": (channels, *cfg["input_size"][1:]),
        "mean": (mean,) * channels,
        "std": (std,) * channels,
    }


def _read(name: str, weights: Weights | None) -> Mapping[str, npt.ArrayLike] | None:
    """Return the state dict that `weights` stands for, by the model's own names."""
    if weights is None:
        return None
    from fastconv.weights import load
    from fastconv.weights.naming import to_model_names

    if isinstance(weights, str) and weights.startswith(("hub:", "hf-hub:")):
        raise ValueError(
            f"weights={weights!r}: the hub is not supported yet: download the file and pass one of"
            f"{_FORMS}"
        )
    if isinstance(weights, str | os.PathLike):
        weights = load(weights)
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"weights must be None, a path or a mapping, got {type(weights).__name__}: pass one of"
            f"{_FORMS}"
        )
    return to_model_names(weights, name)


def _classes_of(model: ImageClassifier, state_dict: Mapping[str, npt.ArrayLike]) -> int | None:
    """Return how many classes the classifier in `state_dict` has, `None` if there is none."""
    weight = state_dict.get(f"{model._classifier}.weight")
    return len(np.asarray(weight)) if weight is not None and np.ndim(weight) else None
