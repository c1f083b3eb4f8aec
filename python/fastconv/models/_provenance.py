"""`Checkpoint`: what a model tells of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


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
    """Whose names it has, as `fastconv.models.recognise` says."""
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
    key: str = ""
    """Where in the file the weights were: entries and a prefix of their names, such as
    ``"state_dict.model"``; `fastconv.weights.load` takes it."""
    ema: bool = False
    """Whether they are an exponential moving average (EMA)."""
    left_out: tuple[str, ...] = ()
    """What else the file holds: ``"epoch"``, ``"args (argparse.Namespace)"``, other weights."""
    adapted: str | None = None
    """How the first convolution was made to fit `in_chans`."""
