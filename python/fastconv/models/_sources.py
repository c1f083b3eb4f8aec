"""Where weights are: a mapping, a file, a folder, the package, the hub; and which part is meant."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy.typing as npt

from fastconv.models.naming import rename
from fastconv.nn._state import freeze, is_array_like
from fastconv.weights._common import Fail, WeightsError, quote
from fastconv.weights._parts import (
    IsWeight,
    Part,
    beside,
    by_prefix,
    find_parts,
    is_stored,
    limited,
    select_ema,
)

Weights = str | os.PathLike[str] | Mapping[str, npt.ArrayLike]

FORMS = """
    weights=None                       random, seeded: outputs mean nothing
    weights="model.safetensors"        a file: .safetensors, .pth, .pt, .bin or .npz
    weights="folder"                   with config.json and model.safetensors or pytorch_model.bin
    weights="hub:owner/repo"           the same on the Hugging Face hub; also "...@revision"
    weights="package:digits"           weights that come with fastconv
    weights=state_dict                 a mapping from names to arrays"""

UNUSED = re.compile(r"(.*\.)?(num_batches_tracked|position_ids|n_averaged)")
"""What inference does not need."""


class Opened(NamedTuple):
    """A checkpoint that has been read, and not yet understood."""

    source: str
    state_dict: Mapping[str, npt.ArrayLike]
    part: Part
    config: Mapping[str, Any] | None = None
    config_source: str | None = None
    preprocessor: Mapping[str, Any] | None = None


class Wanted(NamedTuple):
    """What a checkpoint is searched for."""

    name: str
    """Of the model."""
    model_keys: Callable[[], Collection[str]]
    """Returns the names in the model's state dict."""
    use_ema: bool | None

    def choose(self, root: object, fail: Fail, is_weight: IsWeight = is_stored) -> Part:
        """Return the part of a checkpoint whose names are the model's, and what is beside it.

        Raises
        ------
        ValueError
            There are several of them, or none of the kind that `use_ema` asks for.
        """
        found = find_parts(root, is_weight, fail)
        parts = limited((group for part in found for group in by_prefix(part)), fail)
        chosen = select_ema(parts, self.use_ema, fail)
        if len(parts) > 1:  # where none fits, the error about the first one tells what is missing
            keys = frozenset(self.model_keys())
            best = self._best(chosen, keys)
            if not best and self.use_ema is None:
                averages = self._best([part for part in parts if part.ema], keys)
                if averages:
                    raise fail(
                        f"of its weights only averages (EMA) fit {self.name!r}, those of "
                        f"{quote(averages[0].key)}: pass use_ema=True to take them"
                    )
            if len(best) > 1:
                raise fail(self._alike(best))
            chosen = best or chosen
        return chosen[0]._replace(beside=beside(root, chosen[0]))

    def _best(self, parts: list[Part], keys: Collection[str]) -> list[Part]:
        """Return the parts that have the most of the model's weights, if any has some."""
        fits = [self._fit(part, keys) for part in parts]
        most = max(fits, default=0)
        return [part for part, fit in zip(parts, fits, strict=True) if fit == most > 0]

    def _fit(self, part: Part, keys: Collection[str]) -> int:
        """Count the weights of the model, which has these keys, that a part has."""
        try:
            names = rename(part.values, self.name, keys).names
        except ValueError:
            return 0
        return sum(not UNUSED.fullmatch(ours) for ours in {*names.values()}.intersection(keys))

    def _alike(self, parts: list[Part]) -> str:
        """Return the error about parts that fit alike."""
        keys = [f"key={quote(part.key)}" for part in parts if part.key]
        shown = " or ".join(keys[:5]) + (" or ..." if len(keys) > 5 else "")
        top = "" if len(keys) == len(parts) else ", one of them at its top level"
        return (
            f"the checkpoint has {len(parts)} state dicts that fit {self.name!r} alike{top}: read "
            f"one of them with fastconv.weights.load(path, {shown}), and pass that as weights"
        )


def open_weights(weights: Weights, wanted: Wanted) -> Opened:
    """Read what `weights` stands for; see `fastconv.create_model`."""
    if isinstance(weights, Mapping):
        return _open_mapping(weights, wanted)
    if not isinstance(weights, str | os.PathLike):
        raise TypeError(
            f"weights must be None, a path or a mapping, got {type(weights).__name__}: pass one of"
            f"{FORMS}"
        )
    if isinstance(weights, str) and weights.startswith(("hub:", "hf-hub:")):
        from fastconv.weights._hub import fetch

        files = fetch(weights)
        source = f"hub:{files.repo}@{files.revision}"
        opened = _open_file(source, files.weights, wanted)
        return opened._replace(
            config=files.config,
            config_source=f"{source}, config.json",
            preprocessor=files.preprocessor,
        )
    if isinstance(weights, str) and weights.startswith("package:"):
        from fastconv.models._packaged import packaged_weights

        return _open_file(weights, packaged_weights(weights.removeprefix("package:")), wanted)

    source = os.fspath(weights)
    opened = _open_file(source, source, wanted)
    folder = source if os.path.isdir(source) else os.path.dirname(source)
    config_path = os.path.join(folder, "config.json")
    config = _read_json(config_path)
    if config is None or not {"architecture", "model_type"} & config.keys():
        return opened
    preprocessor = _read_json(os.path.join(folder, "preprocessor_config.json"))
    return opened._replace(config=config, config_source=config_path, preprocessor=preprocessor)


def _open_mapping(weights: Mapping[Any, Any], wanted: Wanted) -> Opened:
    source = "a state dict"
    for key, value in weights.items():
        if not isinstance(key, str) and is_array_like(value):
            raise TypeError(f"{source} must have names as keys, got a {type(key).__name__}")

    def fail(message: str) -> WeightsError:
        return WeightsError(f"{source}: {message}")

    part = wanted.choose(weights, fail, is_array_like)
    return Opened(source, part.values, part)


def _open_file(source: str, path: str | os.PathLike[str], wanted: Wanted) -> Opened:
    """Read a file into arrays that a model keeps as they are, without a copy."""
    from fastconv.weights._load import read

    arrays, part = read(path, wanted.choose)
    for array in arrays.values():
        freeze(array)
    return Opened(source, arrays, part)


def _read_json(path: str) -> dict[str, Any] | None:
    from fastconv.weights._json import read_json_object

    return read_json_object(path) if os.path.isfile(path) else None
