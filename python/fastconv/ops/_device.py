"""Ops on CUDA devices: a call is recorded as a graph, compiled for the device and run there.

Arrays of data lie on the device, before and after. Weights, which are packed on the host, may lie
anywhere; every call packs them anew, so that a network, which packs them once, is the way to be
fast.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from fastconv import cuda
from fastconv._arguments import as_array, is_number
from fastconv._cache import Bounded
from fastconv.cuda._array import ON_HOST, is_on_device
from fastconv.cuda._devices import device_index
from fastconv.ops._pointwise import INSTRUCTIONS

_Function = TypeVar("_Function", bound=Callable[..., Any])

_new_graph: Callable[[np.dtype[Any]], Any]


def record_with(new_graph: Callable[[np.dtype[Any]], Any]) -> None:
    """Say what records ops, which the module of symbolic values does where it is imported.

    ``new_graph(dtype)`` makes an empty graph. Its method ``input(shape, dtype)`` returns a symbolic
    value (`fastconv.ops._symbols`) with an ``id``; ``native`` is the graph that extension modules
    take.
    """
    global _new_graph
    _new_graph = new_graph


def _is_attribute(value: Any) -> bool:
    """Whether `repr` says all of a value, unlike that of an array."""
    if isinstance(value, (tuple, list)):
        return all(map(_is_attribute, value))
    return value is None or isinstance(value, (int, float, str, np.integer))


def takes_device_arrays(*data: str) -> Callable[[_Function], _Function]:
    """Let an op take arrays on a CUDA device, for which it then returns `fastconv.cuda.Array`.

    Parameters
    ----------
    *data : str
        Its arguments that are data, the first of which it always has; other arrays are weights.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for value in args:
                if type(value) not in ON_HOST and is_on_device(value):
                    return _run(function, data, args, kwargs)
            if kwargs:
                if device_index(kwargs.get("device")) is not None:
                    return _run(function, data, args, kwargs)
                for value in kwargs.values():
                    if type(value) not in ON_HOST and is_on_device(value):
                        return _run(function, data, args, kwargs)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate


def _run(
    function: Callable[..., Any],
    data: Sequence[str],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    given = inspect.signature(function).bind(*args, **kwargs).arguments
    if given.pop("out", None) is not None:
        raise TypeError("out cannot be given for arrays on a device: results are new arrays")
    device = given.pop("device", None)
    options = {name: given.pop(name) for name in ("accuracy", "algorithm") if name in given}

    operands: dict[str, Any] = {}
    for name in data:
        value = given.get(name)
        if name == "arrays" and isinstance(value, (list, tuple)):
            operands |= {f"arrays[{i}]": item for i, item in enumerate(value)}
        elif value is not None and not is_number(value):
            operands[name] = value
    if not operands:
        came = type(given.get(data[0])).__name__
        raise TypeError(f"{data[0]} must be an array, got {came}")
    kinds, _ = INSTRUCTIONS.get(function.__name__, ("", ""))
    masks = [name for name, kind in zip(data, kinds, strict=False) if kind == "m"]
    arrays = _placed(operands, device, given, masks)
    for name, value in given.items():
        if name in data:
            continue
        if is_on_device(value):
            given[name] = value = cuda.asarray(value).numpy()
        is_weight = isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype.kind == "f"
        if is_weight and value.dtype != np.float32:
            raise TypeError(
                f"{name} is {value.dtype}, but {data[0]} is float32: convert it, for example "
                f"{name}.astype(np.float32)"
            )

    def with_data(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments, with these values in the place of the arrays on the device."""
        if "arrays" in data:
            return {**given, "arrays": list(values.values())}
        return {**given, **values}

    inputs = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    index = next(iter(arrays.values()))._native.device

    def make() -> _Compiled:
        return _Compiled(function, with_data, inputs, options | {"device": index})

    attributes = {name: value for name, value in given.items() if name not in data}
    if all(map(_is_attribute, attributes.values())):
        numbers = {name: given[name] for name in data if is_number(given.get(name))}
        key = (function.__name__, index, repr((inputs, attributes, numbers, options)))
        compiled = _cache.get(key, make)
    else:
        compiled = make()
    return compiled(list(arrays.values()))


def _placed(
    operands: Mapping[str, Any], device: Any, given: Mapping[str, Any], masks: Sequence[str]
) -> dict[str, cuda.Array]:
    """Return all data as arrays on one device: where they are, or where `device` asks for them.

    Those of `masks` are bool, the others float32.
    """
    there = [name for name, value in operands.items() if is_on_device(value)]
    index = device_index(device)
    if not there and index is None:  # some weight has brought us here
        weight = next(name for name, value in given.items() if is_on_device(value))
        raise TypeError(
            f"{weight} is on a CUDA device, but {next(iter(operands))} is not: "
            f"pass both there, with fastconv.cuda.asarray, or neither"
        )
    if device is not None and index is None:
        raise TypeError(f"device={device!r}, but {there[0]} is on a CUDA device")
    arrays: dict[str, cuda.Array] = {}
    for name, value in operands.items():
        if there and name not in there:
            raise TypeError(
                f"{there[0]} is on a CUDA device, but {name} is {type(value).__name__} in host "
                f"memory: pass fastconv.cuda.asarray({name})"
            )
        array = cuda.asarray(value if there else as_array(name, value), device=index)
        if name in masks:
            if array.dtype != np.bool_:
                raise TypeError(
                    f"{name} must be bool, got {array.dtype}: compare, for example "
                    f"fastconv.not_equal({name}, 0)"
                )
        elif array.dtype != np.float32:
            raise TypeError(
                f"{name} must be float32 on a CUDA device, got {array.dtype}: convert it first, "
                f"for example {name}.astype(np.float32)"
            )
        arrays[name] = array
    first, *others = arrays.items()
    for name, array in others:
        if array.device != first[1].device:
            raise ValueError(f"{first[0]} is on {first[1].device}, but {name} on {array.device}")
    return arrays


class _Compiled:
    """One call of an op as a network, for arrays of these shapes and dtypes."""

    def __init__(
        self,
        function: Callable[..., Any],
        with_data: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        inputs: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
        options: dict[str, Any],
    ) -> None:
        graph = _new_graph(np.dtype(np.float32))
        values = {name: graph.input(shape, dtype) for name, (shape, dtype) in inputs.items()}
        y = function(**with_data(values))
        self._several = isinstance(y, tuple)
        outputs = [value.id for value in (y if self._several else (y,))]
        self._native = cuda._native().Network(graph.native, outputs, **options)

    def __call__(self, arrays: Sequence[cuda.Array]) -> Any:
        natives = self._native.run_on_device([a._native for a in arrays], False)
        results = tuple(cuda.Array._wrap(native) for native in natives)
        return results if self._several else results[0]


_cache: Bounded[_Compiled] = Bounded(32)  # of ops without weights
