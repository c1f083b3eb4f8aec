"""Random numbers in `forward`: they would be drawn once, when it is recorded, and never again.

Constants do not tell where they come from. So two things make a recording suspect: a generator that
has moved on, or constants that no module holds. Then `forward` is recorded once more, and what
differs is random. A difference is proof; draws that leave none, such as a coin that fell on the
same side, are known by the generator alone, where no other thread may have used it; where one may,
more recordings give the coin more chances.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastconv._symbolic import Graph

if TYPE_CHECKING:
    from fastconv.nn import Module

_GLOBAL: Any = {"numpy.random": np.random.random, "random": random.random}  # methods of generators
_TRIES = 8  # how often a coin may fall on the same side
_KINDS = (np.random.Generator, np.random.RandomState, random.Random)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.getstate()


def _equal(a: Any, b: Any) -> bool:
    """Whether two recorded operators, constants or states are the same, bit for bit."""
    if a is b:
        return True
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return bool(a == b)


class _Generators:
    """The generators of the process and of a module's tree, as they were at the last look."""

    def __init__(self, module: Module) -> None:
        found = {name: method.__self__ for name, method in _GLOBAL.items()}
        for path, child in module.named_modules():
            for name, value in vars(child).items():
                if isinstance(value, _KINDS):
                    found[f"{path}.{name}" if path else name] = value
        self._found = {name: (value, _state(value)) for name, value in found.items()}

    def moved(self) -> list[str]:
        """Return the names of those from which somebody has drawn since then."""
        return [
            name
            for name, (generator, state) in self._found.items()
            if not _equal(_state(generator), state)
        ]


class _Watch(Graph):
    """A recording that notes whose `forward` draws random numbers."""

    def __init__(self, module: Module, first: Graph) -> None:
        super().__init__(first.dtype, convert=first.convert)
        self._generators = _Generators(module)
        self.drawn: tuple[Module, list[str]] | None = None

    def enter_module(self, module: Module) -> None:
        self._look()
        super().enter_module(module)

    def mark_module(self, module: Module, y: Any) -> None:
        self._look()
        super().mark_module(module, y)

    def _look(self) -> None:
        if self.drawn is None and self.calls and (names := self._generators.moved()):
            self.drawn = self.calls[-1], names


class RandomnessCheck:
    """Notes, before `module` is recorded, how far its random generators are."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._generators = _Generators(module)

    def refuse_random(self, first: Graph, again: Callable[[Graph], Any]) -> None:
        """Raise a `TypeError` if what was recorded depends on random numbers.

        Parameters
        ----------
        first : Graph
            The recording.
        again : callable
            Runs ``module.forward`` on symbolic inputs of the graph that it is given.
        """
        moved = self._generators.moved()
        if not moved and not self._has_foreign_constants(first):
            return
        others = threading.active_count() > 1  # they may be what has moved a global generator
        drawn = None
        for _ in range(_TRIES if moved and others else 1):
            graph = _Watch(self._module, first)
            again(graph)
            for (module, a), (_, b) in zip(first.recorded, graph.recorded, strict=False):
                if not _equal(a, b):
                    self._refuse(module, moved)
            if len(first.recorded) != len(graph.recorded):
                self._refuse(None, moved)
            if (drawn := graph.drawn) is None:
                return
        if drawn is not None and not (others and all(name in _GLOBAL for name in drawn[1])):
            self._refuse(*drawn)

    def _has_foreign_constants(self, graph: Graph) -> bool:
        held = {
            id(value)
            for module in self._module.modules()
            for value in vars(module).values()
            if isinstance(value, np.ndarray)
        }
        return any(isinstance(v, np.ndarray) and id(v) not in held for _, v in graph.recorded)

    def _refuse(self, module: Module | None, names: list[str]) -> NoReturn:
        module = module or self._module
        path = dict((id(m), path) for path, m in self._module.named_modules()).get(id(module))
        where = f"{type(module).__name__}.forward" + (f" ({path!r})" if path else "")
        raise TypeError(
            f"{where} draws random numbers"
            + (f" from {', '.join(names)}" if names else "")
            + ", or something else that changes from call to call: a compiled network would keep "
            "those of its recording for ever. Pass them as an input, model(x, noise), or run "
            "model.eager(x), which draws anew"
        )
