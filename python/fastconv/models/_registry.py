"""The list of models, and how one is made by its name."""

from __future__ import annotations

import enum
import fnmatch
import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import numpy.typing as npt

from fastconv._arguments import as_size
from fastconv.models._base import DefaultCfg, ImageClassifier
from fastconv.nn import init
from fastconv.weights._common import check_use_ema

if TYPE_CHECKING:
    from fastconv.models._sources import Weights

_Model = TypeVar("_Model", bound=ImageClassifier)


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
            *,
            use_ema: bool | None = None,
            **kwargs: Any,
        ) -> _Model:
            model = create_model(
                name, weights, num_classes, in_chans, dtype, seed, use_ema=use_ema, **kwargs
            )
            return cast(_Model, model)

        del build.__dict__["__wrapped__"]  # so that help() shows these arguments
        build.__doc__ = (
            f"{factory.__doc__}\n\nThe arguments are those of `create_model` after the name."
        )
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
    TypeError
        If it is no string.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.models.model_entry("resnet50").family
    'resnet'
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be the name of a model, got {type(name).__name__} {name!r}")
    if name not in _registry:
        import difflib

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
    *,
    use_ema: bool | None = None,
    **kwargs: Any,
) -> ImageClassifier:
    """Build a model by its name.

    Parameters
    ----------
    name : str
        One of `list_models()`.
    weights : None, path, str or mapping
        - `None`: random weights drawn from `seed`, as the authors draw them before training.
        - The path of a file that `fastconv.weights.load` reads, or of a folder with ``config.json``
          and ``model.safetensors`` or ``pytorch_model.bin``, or their shards.
        - ``"hub:owner/repo"`` or ``"hub:owner/repo@revision"`` (also ``"hf-hub:..."``): the same on
          the Hugging Face hub, or in its local cache (extra ``[hub]``).
        - ``"package:digits"``: weights that come with fastconv.
        - A mapping from names to arrays.

        Names may be those of torchvision, timm, Hugging Face transformers, EfficientNet-PyTorch
        (lukemelas) or ConvNeXt's authors. Of a checkpoint, also as a mapping, the part is taken
        whose names are the model's, without a prefix such as ``module.`` or ``model.``. A
        ``config.json`` of timm or transformers beside the file selects the model's arguments and
        its `default_cfg`; without one the names do. What was found is in ``model.checkpoint``.
    num_classes : int, optional
        By default that of the weights, or of the model (1000 for ImageNet). Where it differs from
        that of the weights, the classifier is new and random, and a warning says so.
    in_chans : int, optional
        Channels of the input, by default the model's: 3, or 1 for `lenet5`. Weights of a network
        for RGB images are adapted as timm does: for one channel the first convolution's are added
        up, for others they are repeated and scaled by ``3 / in_chans``.
    dtype : dtype
        ``float32`` or ``float64``. One seed gives the same weights in both.
    seed : int
        Of random weights.
    use_ema : bool, optional
        Where a checkpoint has the weights twice, as training left them and as their exponential
        moving average (EMA): which of them. By default the former, and the average where it is
        alone.
    **kwargs
        More arguments of the model, such as ``width_mult`` of `mobilenet_v2`. They come before
        those that a checkpoint selects.

    Returns
    -------
    ImageClassifier

    Raises
    ------
    ValueError
        If `name` is unknown (the message has the nearest names); if `weights` do not fit the model
        (the message lists what is missing, unexpected or of another shape), are of another one by
        their ``config.json``, or fit several variants of it (the message lists these); if that
        file, or ``preprocessor_config.json``, asks for what fastconv does not know; if several
        parts of a checkpoint fit, or none is what `use_ema` asks for. As
        `fastconv.weights.WeightsError`: the file is corrupt or hostile.
    OSError
        If a file cannot be read, or the hub not be reached.
    TypeError
        If the model takes no such argument, or an argument is of another type.

    Examples
    --------
    >>> import fastconv
    >>> model = fastconv.create_model("resnet18", num_classes=10)
    >>> sum(p.size for p in model.parameters())
    11181642
    """
    entry = model_entry(name)
    seed = as_size("seed", seed)
    if kwargs.pop("pretrained", False):
        raise ValueError(f"pretrained=True names no weights: pass one of{_forms()}")
    _refuse_torchvision_name(entry, weights)
    if in_chans is not None:
        kwargs["in_chans"] = as_size("in_chans", in_chans)
    check_use_ema(use_ema)
    if weights is None:
        if use_ema is not None:
            raise ValueError(
                f"use_ema={use_ema} chooses among trained weights: pass one of{_forms()}"
            )
        model = _build(name, entry, dtype, kwargs)
        if num_classes is not None:
            with init.skip():
                model.reset_classifier(num_classes)
        if not init.is_skipping():
            model.reset_parameters(seed)
        return model

    # Here, as networks without trained weights need none of it: import fastconv must stay fast.
    from fastconv.models._checkpoint import load_checkpoint, understand
    from fastconv.models._sources import Wanted, open_weights

    if num_classes is not None:
        num_classes = as_size("num_classes", num_classes)
    wanted = Wanted(name, functools.partial(model_keys, name), use_ema)
    checkpoint = understand(name, open_weights(weights, wanted), kwargs, list_models())
    model = _build(name, entry, dtype, {**checkpoint.arguments, **kwargs})
    cfg = {**model.default_cfg, **checkpoint.facts.default_cfg}
    cfg = {key: value for key, value in cfg.items() if value is not None}
    model.default_cfg = cast(DefaultCfg, cfg)
    channels = kwargs.get("in_chans")
    if channels not in (None, model.default_cfg["input_size"][0]):
        model.default_cfg = _with_channels(model.default_cfg, channels)
    nearest = functools.partial(_nearest, name)
    load_checkpoint(model, checkpoint, num_classes, channels, seed, nearest)
    return model


def _forms() -> str:
    from fastconv.models._sources import FORMS

    return FORMS


_TORCHVISION_WEIGHTS = re.compile(r"(\w+_Weights\.)?(DEFAULT|IMAGENET\d+K_\w+)")


def _refuse_torchvision_name(entry: ModelEntry, weights: Any) -> None:
    """Say what to pass instead of a name or a member of torchvision's enumerations of weights."""
    is_member = isinstance(weights, enum.Enum) and hasattr(weights, "url")
    is_name = isinstance(weights, str) and _TORCHVISION_WEIGHTS.fullmatch(weights)
    if is_member or (is_name and not os.path.exists(weights)):
        url = getattr(weights, "url", "the file that torchvision's weights.url names")
        hub = f'weights="hub:{entry.hub}", or ' if entry.hub else ""
        raise ValueError(
            f"weights={str(weights)!r} is a name that torchvision knows: pass {hub}the path of a "
            f"download of {url}. All that can be passed:{_forms()}"
        )


def _build(
    name: str, entry: ModelEntry, dtype: npt.DTypeLike, arguments: Mapping[str, Any]
) -> ImageClassifier:
    """Build a model whose weights are zero."""
    with init.skip():
        model = entry.factory(**arguments).astype(dtype)
    model.name = name
    model.default_cfg = cast(DefaultCfg, {**model.default_cfg, **entry.default_cfg})
    channels = arguments.get("in_chans")
    if channels not in (None, model.default_cfg["input_size"][0]):
        model.default_cfg = _with_channels(model.default_cfg, channels)
    return model


def model_keys(name: str) -> list[str]:
    """Return the names in a model's state dict."""
    return list(_build(name, model_entry(name), "float32", {}).state_dict())


def _nearest(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return the model of the same family whose names and shapes these are, but for the classes."""

    def comparable(shapes: Mapping[str, tuple[int, ...]], classifier: str) -> dict[str, Any]:
        return {
            key: shape
            for key, shape in shapes.items()
            if not key.startswith(f"{classifier}.") and not key.endswith("num_batches_tracked")
        }

    family = model_entry(name).family
    for other, entry in _registry.items():
        if entry.family == family and other != name:
            model = _build(other, entry, "float32", {})
            theirs = {key: value.shape for key, value in model.state_dict().items()}
            if comparable(theirs, model._classifier) == comparable(shapes, model._classifier):
                return other
    return None


def _with_channels(cfg: DefaultCfg, channels: int) -> DefaultCfg:
    """Return `cfg` for another number of channels, all normalised by the mean of the old ones."""
    mean, std = (sum(values) / len(values) for values in (cfg["mean"], cfg["std"]))
    changed: DefaultCfg = {
        **cfg,
        "input_size": (channels, *cfg["input_size"][1:]),
        "mean": (mean,) * channels,
        "std": (std,) * channels,
    }
    if "test_input_size" in cfg:
        changed["test_input_size"] = (channels, *cfg["test_input_size"][1:])
    return changed
