"""What a module is called with: the shapes of its inputs, by place or by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fastconv._arguments import as_int, is_sequence

if TYPE_CHECKING:
    from fastconv.graph._module import Recordable

Shape = tuple[int, ...]
InputShape = Sequence[int] | Sequence[Sequence[int]] | Mapping[str, Sequence[int]]
"""One input's shape; those of several, by place; or by the names of `forward`'s arguments."""


class Inputs(NamedTuple):
    """The shapes of inputs; the last ones are passed by name."""

    shapes: tuple[Shape, ...]
    keywords: tuple[str, ...] = ()
    """Names of the last ones."""

    @property
    def given(self) -> Shape | tuple[Shape, ...] | dict[str, Shape]:
        """As a user passes them: one shape, or several, by place or by name."""
        if self.keywords:
            return dict(zip(self.keywords, self.shapes, strict=True))
        return self.shapes[0] if len(self.shapes) == 1 else self.shapes

    def is_unbatched(self, ndim: int | None) -> bool:
        """Whether a module whose batched inputs have `ndim` dimensions gets none with a batch."""
        return ndim is not None and all(len(shape) == ndim - 1 for shape in self.shapes)

    def batched(self) -> Inputs:
        """Return the same with batches of one."""
        return self._replace(shapes=tuple((1, *shape) for shape in self.shapes))

    def call(self, function: Callable[..., Any], values: Sequence[Any]) -> Any:
        """Call a function with values in the places of these inputs."""
        places = len(values) - len(self.keywords)
        return function(*values[:places], **dict(zip(self.keywords, values[places:], strict=True)))


def parse(
    module: Recordable, input_shape: Any, smallest: int = 0
) -> tuple[Inputs, tuple[str, ...]]:
    """Return the inputs that an argument `input_shape` stands for, and what `forward` calls them.

    Raises
    ------
    TypeError, ValueError
        If it is no shape, a size is less than `smallest`, or `forward` takes other arguments.
    """
    if isinstance(input_shape, Mapping):
        if not all(isinstance(name, str) for name in input_shape):
            raise TypeError(f"input_shape must have strings as keys, got {list(input_shape)}")
        named = {
            name: _sizes(f"input_shape[{name!r}]", shape, smallest)
            for name, shape in input_shape.items()
        }
        names = argument_names(module, 0, tuple(named))
        return Inputs(tuple(named[name] for name in names), names), names
    if is_sequence(input_shape) and any(map(is_sequence, input_shape)):
        shapes = tuple(
            _sizes(f"input_shape[{i}]", shape, smallest) for i, shape in enumerate(input_shape)
        )
    else:
        shapes = (_sizes("input_shape", input_shape, smallest),)
    return Inputs(shapes), argument_names(module, len(shapes))


def _sizes(name: str, value: Any, smallest: int) -> Shape:
    if not is_sequence(value):
        raise TypeError(
            f"{name} must be a sequence of integers such as (1, 3, 224, 224), got {value!r}"
        )
    shape = tuple(as_int(name, size) for size in value)
    if not shape or min(shape) < smallest:
        kind = "positive sizes" if smallest else "sizes"
        raise ValueError(f"{name} must be {kind} such as (1, 3, 224, 224), got {shape}")
    return shape


def argument_names(
    module: Recordable, places: int, keywords: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return what `forward` calls so many values and these keywords, in its own order.

    Raises
    ------
    TypeError
        If it takes other ones.
    """
    method = module.forward
    function = getattr(method, "__func__", None)
    try:
        if function is None:  # an attribute of this module alone, which no cache shall keep alive
            return _bound_names(method, False, places, keywords)
        return _names_of_method(function, True, places, keywords)
    except TypeError as error:
        import inspect

        count = places + len(keywords)
        raise TypeError(
            f"{type(module).__name__}.forward takes {inspect.signature(method)}, got {count} "
            f"input{'' if count == 1 else 's'}: {error}"
        ) from None


def _bound_names(
    function: Callable[..., Any], is_method: bool, places: int, keywords: tuple[str, ...]
) -> tuple[str, ...]:
    import inspect  # here, as import fastconv must stay fast

    signature = inspect.signature(function)
    bound = signature.bind(*range(is_method + places), **dict.fromkeys(keywords)).arguments
    names: list[str] = []
    for name, value in bound.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            names += (f"{name}[{i}]" for i in range(len(value)))
        elif kind is inspect.Parameter.VAR_KEYWORD:
            names += value
        else:
            names.append(name)
    return tuple(names[is_method:])


_names_of_method = functools.lru_cache(256)(_bound_names)
