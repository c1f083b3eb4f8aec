"""Random numbers in `forward`: they would be drawn once, when it is recorded, and never again.

Constants do not tell where they come from. So two things make a recording suspect: a generator that
has moved on, or constants that no module holds. Then `forward` is recorded once more, and what
differs is random. A difference is proof; draws that leave none, such as a coin that fell on the
same side, are known by the generator alone, where no other thread may have used it; where one may,
more recordings give the coin more chances.

The generators are those of the process, those that modules hold, and those that `forward`, or a
function that it calls by name, has as a global variable or in its closure.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastconv.graph._symbols import Array, Recorder

if TYPE_CHECKING:
    from fastconv.graph._module import Recordable

    Modules = Sequence[tuple[str, Recordable]]

_TRIES = 8  # how often a coin may fall on the same side
_PLAIN = {type(None), bool, int, float, str, tuple, dict, frozenset, np.ndarray}  # no generators


def _loaded(name: str) -> Any:
    """Return a module if somebody has imported it; before that nobody has generators of it."""
    return sys.modules.get(name)


def _of_process() -> list[tuple[str, Any]]:
    """Return the generators that belong to nobody, with their names."""
    found = [("random", random.random.__self__)]  # type: ignore[attr-defined]
    if (numpy_random := _loaded("numpy.random")) is not None:
        found.append(("numpy.random", numpy_random.random.__self__))
    if (torch := _loaded("torch")) is not None:
        found.append(("torch", torch.default_generator))
    return found


def _state(value: Any) -> Any:
    """Return how far a generator is, `None` for anything else."""
    if isinstance(value, random.Random):  # that of the system has no state
        return None if isinstance(value, random.SystemRandom) else hash(value.getstate())
    if (numpy_random := _loaded("numpy.random")) is not None:
        if isinstance(value, numpy_random.Generator):
            return value.bit_generator.state
        if isinstance(value, numpy_random.RandomState):
            return value.get_state(legacy=False)
    if (torch := _loaded("torch")) is not None and isinstance(value, torch.Generator):
        return value.get_state().numpy()
    return None


def _equal(a: Any, b: Any) -> bool:
    """Whether two recorded operators, constants or states are the same, bit for bit."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b or (a != a and b != b))  # NaN is NaN


def _variables(function: Any, seen: set[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the global and the enclosing variables of a function, and of the functions in them."""
    own = str(getattr(function, "__module__", "")).partition(".")[0] == "fastconv"  # draw nothing
    if not isinstance(function, FunctionType) or own or function in seen:
        return
    seen.add(function)
    codes = [function.__code__]
    for code in codes:  # it grows by the functions inside
        codes += (value for value in code.co_consts if isinstance(value, CodeType))
    names = dict.fromkeys(name for code in codes for name in code.co_names)
    found = [(n, function.__globals__[n]) for n in names if n in function.__globals__]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # it is empty yet
            found.append((name, cell.cell_contents))
    for name, value in found:
        yield f"{function.__module__}.{name}", value
        yield from _variables(value, seen)


class _Generators:
    """The generators that a module may draw from, as they were at the last look.

    Attributes
    ----------
    shared : set of str
        The names of those that others may draw from, too.
    """

    def __init__(self, modules: Modules) -> None:
        found = _of_process()
        classes = {type(child) for _, child in modules}
        known = _PLAIN | classes
        held = [
            (f"{path}.{name}" if path else name, value)
            for path, child in modules
            for name, value in vars(child).items()
            if type(value) not in known
        ]
        seen: set[Any] = set()
        forwards = [each.forward for each in classes]
        for function in (*forwards, *(value for _, value in held)):
            found += _variables(function, seen)
        self.shared = {name for name, _ in found} | {"numpy.random", "torch"}
        states = ((name, value, _state(value)) for name, value in found + held)
        self._found = [each for each in states if each[2] is not None]

    def moved(self) -> list[str]:
        """Return the names of those from which somebody has drawn since then, or may have."""
        known = {name for name, _, _ in self._found}
        new = [name for name, _ in _of_process() if name not in known]
        return new + [name for name, g, state in self._found if not _equal(_state(g), state)]


class _Watch(Recorder):
    """A recording that notes whose `forward` draws random numbers. It computes nothing."""

    def __init__(self, modules: Modules, first: Recorder) -> None:
        super().__init__(first.dtype, convert=first.convert)
        self._generators = _Generators(modules)
        self.drawn: tuple[Recordable, list[str]] | None = None

    def _constant(self, array: Array, dtype: np.dtype[Any], name: str) -> int:
        unread = np.empty(array.shape, dtype)
        constant: int = self.native.constant(unread, name)
        return constant

    def enter_module(self, module: Recordable) -> None:
        self._look()
        super().enter_module(module)

    def mark_module(self, module: Recordable, y: Any) -> None:
        self._look()
        super().mark_module(module, y)

    def _look(self) -> None:
        if self.drawn is None and self.calls and (names := self._generators.moved()):
            self.drawn = self.calls[-1][0], names


class RandomnessCheck:
    """Notes, before a module is recorded, how far its random generators are.

    Parameters
    ----------
    modules : sequence of (str, Recordable)
        The module itself and all below it, with their paths.
    """

    def __init__(self, modules: Modules) -> None:
        self._modules = modules
        self._generators = _Generators(modules)

    def refuse_random(self, first: Recorder, again: Callable[[Recorder], Any]) -> None:
        """Raise a `TypeError` if what was recorded depends on random numbers.

        Parameters
        ----------
        first : Recorder
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
            graph = _Watch(self._modules, first)
            again(graph)
            for (module, a), (_, b) in zip(first.recorded, graph.recorded, strict=False):
                if not _equal(a, b):
                    self._refuse(module, moved)
            if len(first.recorded) != len(graph.recorded):
                self._refuse(None, moved)
            if (drawn := graph.drawn) is None:
                return
        if drawn is not None and not (others and self._generators.shared.issuperset(drawn[1])):
            self._refuse(*drawn)

    def _has_foreign_constants(self, graph: Recorder) -> bool:
        foreign = {
            id(value)
            for _, value in graph.recorded
            if isinstance(value, np.ndarray) and id(value) not in graph.keys
        }
        if not foreign:
            return False
        held = {
            id(value)
            for _, module in self._modules
            for value in vars(module).values()
            if isinstance(value, np.ndarray)
        }
        return not foreign <= held

    def _refuse(self, module: Recordable | None, names: list[str]) -> NoReturn:
        module = module or self._modules[0][1]
        path = dict((id(m), path) for path, m in self._modules).get(id(module))
        where = f"{type(module).__name__}.forward" + (f" ({path!r})" if path else "")
        raise TypeError(
            f"{where} draws random numbers"
            + (f" from {', '.join(names)}" if names else "")
            + ", or something else that changes from call to call: a compiled network would keep "
            "those of its recording for ever. Pass them as an input, model(x, noise), or run "
            "model.eager(x), which draws anew"
        )
