"""Operators that native code tries first: what it takes, Python would have computed alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import _core
from fastconv.ops import activation
from fastconv.ops._pointwise import INSTRUCTIONS

PLAIN = {
    "matmul": _core.matmul_plain,
    "linear": _core.linear_plain,
    **{
        name: _core.instruction_plain(name, len(kinds))
        for name, (kinds, result) in INSTRUCTIONS.items()
        if kinds in ("f", "ff") and result == "f"
    },
    **{name: _core.activate_plain(name) for name in activation.__all__},
}
SHAPES = {
    "matmul": {"a": (2, 4, 4), "b": (4, 4)},
    "linear": {"x": (2, 4, 4), "weight": (4, 4), "bias": (4,), "residual": (2, 4, 4)},
    **{
        name: {"a": (3, 4), "b": (3, 4)}
        for name, (kinds, result) in INSTRUCTIONS.items()
        if kinds == "ff" and result == "f"
    },
}
OPTIONAL = {"bias", "residual"}


def operands(name: str, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Fresh arrays, the same ones each time."""
    rng = np.random.default_rng(0)
    shapes = SHAPES.get(name, {"x": (3, 4)})
    return {key: rng.standard_normal(shape).astype(dtype) for key, shape in shapes.items()}


def outcome(function: Callable[..., Any], make: Callable[[], tuple[Any, dict[str, Any]]]) -> Any:
    """What a call returns or raises, and what becomes of its arrays."""
    args, kwargs = make()
    try:
        y = function(*args, **kwargs)
    except Exception as error:
        result: Any = (type(error), str(error))
    else:
        result = (type(y), y.dtype, y.shape, y.strides, y.tobytes(), y is kwargs.get("out"))
    arrays = [value for value in (*args, *kwargs.values()) if isinstance(value, np.ndarray)]
    return result, [array.tobytes() for array in arrays]


def check(name: str, make: Callable[[], tuple[Any, dict[str, Any]]]) -> None:
    function = getattr(fastconv, name)
    assert outcome(function, make) == outcome(function.__wrapped__, make)


class Sub(np.ndarray):
    """A class of the user's."""


def misaligned(array: np.ndarray) -> np.ndarray:
    room = np.empty(array.nbytes + 1, np.uint8)[1:]
    view = room.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def between(array: np.ndarray) -> np.ndarray:
    """In the fields of records, at distances that are no multiples of the item size."""
    records = np.zeros(array.shape, [("value", array.dtype), ("more", np.uint8)])
    records["value"] = array
    return records["value"]


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "plain": lambda a: a,
    "columns first": np.asfortranarray,
    "every other": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "backwards": lambda a: a[::-1],
    "repeated": lambda a: np.broadcast_to(a[..., :1], a.shape),
    "read-only": read_only,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "own dtype object": lambda a: a.view(np.dtype(a.dtype, metadata={"of": "mine"})),
    "misaligned": misaligned,
    "in records": between,
    "subclass": lambda a: a.view(Sub),
    "masked": lambda a: np.ma.masked_less(a, -10.0),
    "list": lambda a: a.tolist(),
    "float16": lambda a: a.astype(np.float16),
    "float64": lambda a: a.astype(np.float64),
    "float32": lambda a: a.astype(np.float32),
    "longdouble": lambda a: a.astype(np.longdouble),
    "int": lambda a: a.astype(int),
    "bool": lambda a: a > 0,
    "one more": lambda a: np.concatenate([a, a[..., :1]], -1),
    "one less": lambda a: a[..., 1:].copy(),
    "none": lambda a: a[..., :0],
    "no rows": lambda a: a[:0],
    "another axis": lambda a: a[None],
    "no axes": lambda a: np.array(a.flat[0]),
    "a number": lambda a: float(a.flat[0]),
    "None": lambda a: None,
    "a word": lambda a: "words",
    "an object": lambda a: object(),
}


def names_and_operands() -> list[tuple[str, str]]:
    return [(name, key) for name in PLAIN for key in operands(name)]


def test_all_of_them_are_here() -> None:
    functions = {name: getattr(fastconv, name) for name in fastconv.ops.__all__}
    codes = {name: getattr(function, "__code__", None) for name, function in functions.items()}
    native = {name for name, code in codes.items() if code and "_native.py" in code.co_filename}
    assert native == set(PLAIN)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_calls_are_taken(name: str, dtype: Any) -> None:
    given = operands(name, dtype)
    places = [value for key, value in given.items() if key != "residual"]
    names = {key: value for key, value in given.items() if key == "residual"}
    expected = getattr(fastconv, name).__wrapped__(*places, **names)
    out = np.full_like(expected, np.nan)
    for args, kwargs in ((places, names), ([], given), (places, {**names, "out": None})):
        y = PLAIN[name](tuple(args), kwargs)
        np.testing.assert_array_equal(y, expected, strict=True)
    assert PLAIN[name](tuple(places), {**names, "out": out}) is out
    np.testing.assert_array_equal(out, expected)
    required = {key: value for key, value in given.items() if key not in OPTIONAL}
    assert PLAIN[name]((), required) is not NotImplemented


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "key"), names_and_operands())
def test_operands(name: str, key: str, form: str, dtype: Any) -> None:
    def make() -> tuple[Any, dict[str, Any]]:
        given = operands(name, dtype)
        return (), {**given, key: FORMS[form](given[key])}

    check(name, make)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PLAIN)
def test_out(name: str, form: str, dtype: Any) -> None:
    def make() -> tuple[Any, dict[str, Any]]:
        given = operands(name, dtype)
        shape = next(iter(given.values())).shape  # the result has it
        return (), {**given, "out": FORMS[form](np.zeros(shape, dtype))}

    check(name, make)


@pytest.mark.parametrize(("name", "key"), names_and_operands())
def test_out_that_overlaps(name: str, key: str, dtype: Any) -> None:
    shape = next(iter(operands(name, dtype).values())).shape
    size = int(np.prod(shape))
    for begin in (0, 1, size // 2, size - 1, size):
        for step in (1, -1):

            def make(begin: int = begin, step: int = step) -> tuple[Any, dict[str, Any]]:
                given = operands(name, dtype)
                room = np.zeros(3 * size, dtype)
                out = room[size : 2 * size].reshape(shape)
                operand = room[begin : begin + given[key].size].reshape(given[key].shape)
                behind = room[size + begin :][: given[key].size].reshape(given[key].shape)
                for place in (operand, behind):
                    place[...] = given[key]
                return (), {**given, key: (operand if step > 0 else behind), "out": out}

            check(name, make)


@pytest.mark.parametrize(("name", "key"), names_and_operands())
def test_out_that_is_an_operand(name: str, key: str, dtype: Any) -> None:
    for form in ("plain", "columns first", "every other", "read-only", "backwards"):

        def make(form: str = form) -> tuple[Any, dict[str, Any]]:
            given = operands(name, dtype)
            same = FORMS[form](given[key])
            return (), {**given, key: same, "out": same}

        check(name, make)


@pytest.mark.parametrize("name", PLAIN)
def test_arguments(name: str) -> None:
    given = operands(name)
    values, first = list(given.values()), next(iter(given))
    calls: list[tuple[Any, dict[str, Any]]] = [
        ((), {}),
        (values[:1], {}),
        ([*values, 1, 2, 3, 4], {}),
        (values, {"more": 1}),
        (values[:1], {first: values[0]}),
        (values[:1], {**given}),
        (values[1:], {"input": values[0]}),
        ((), {**given, "inplace": True}),
        ((), {**given, "activation": "relu"}),
        ((), {**given, "activation": "none"}),
        ((), {**given, "approximate": "tanh"}),
        ((), {**given, "negative_slope": 0.5}),
        ((*values[:1], 0.5), {}),
        ((), {**given, "device": "cpu"}),
        ((), {**given, "": 2}),
    ]
    for args, kwargs in calls:
        check(name, lambda args=args, kwargs=kwargs: (tuple(args), dict(kwargs)))


def test_results_are_new_arrays_that_may_be_written_to() -> None:
    x = np.ones((200, 200), np.float32)
    results = [fastconv.matmul(x, x), fastconv.add(x, x), fastconv.relu(x), fastconv.linear(x, x)]
    for y in results:
        assert y.flags.c_contiguous
        y[...] = 3
    assert all((y == 3).all() for y in results)
    assert not any(np.shares_memory(y, x) for y in results)
