"""What a module must offer to be recorded and compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Recordable(Protocol):
    """What recording and compiling know of `fastconv.nn.Module`."""

    @property
    def input_ndim(self) -> int | None:
        """Dimensions of a batched input; one less is an unbatched input, `None` means any."""

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the parameters, `None` where there are none."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; what it does to symbolic values is recorded."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `forward`; on symbolic values tell their recorder when it begins and ends."""

    def named_modules(self) -> Iterator[tuple[str, Recordable]]:
        """Yield this module as ``""`` and all below it by dotted names, each once."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that it computes with, by their names."""
