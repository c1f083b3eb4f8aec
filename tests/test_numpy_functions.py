"""NumPy's functions on symbolic values: what is recorded is what arrays give, or an error."""

import numpy as np
import pytest
from fastconv import nn
from fastconv.graph import _numpy_functions as numpy_functions
from fastconv.graph._symbols import Recorder, Symbol

X = np.random.default_rng(0).standard_normal((2, 4, 6, 5))
W = np.linspace(-1, 1, 4)[:, None, None]
NUMPY2 = np.lib.NumpyVersion(np.__version__) >= "2.1.0"


class Forward(nn.Module):
    def __init__(self, function):
        self._function = function

    def forward(self, x):
        return self._function(x)


def changed(x, y):
    """What both are after ``y += 1``."""
    y += 1
    return x + 0, y


VAR = [lambda x: np.var(x, -1, correction=1)] if NUMPY2 else []
CALLS = {
    "amax": [lambda x: np.amax(x, 1), lambda x: np.amax(x, axis=(2, 3), keepdims=True)],
    "amin": [lambda x: np.amin(x, -1)],
    "argmax": [lambda x: np.argmax(x, 1), lambda x: np.argmax(x, axis=1, keepdims=True)],
    "argmin": [lambda x: np.argmin(x), lambda x: np.argmin(x, -2)],
    "around": [lambda x: np.around(3 * x)],
    "array_split": [lambda x: np.array_split(x, 3, axis=1), lambda x: np.array_split(x, [1], 3)],
    "broadcast_to": [
        lambda x: np.broadcast_to(x[:, :1], (2, 3, 6, 5)),
        lambda x: np.broadcast_to(x, (3, *x.shape), subok=True),
    ],
    "clip": [
        lambda x: np.clip(x, -0.5, 0.5),
        lambda x: np.clip(x, a_min=None, a_max=W),
        lambda x: np.clip(W, x, x + 1),
        *([lambda x: np.clip(x, min=-0.5, max=W)] if NUMPY2 else []),
    ],
    "concatenate": [
        lambda x: np.concatenate([x, x * 2], 1),
        lambda x: np.concatenate((x, X[:1]), casting="same_kind"),
        lambda x: np.concatenate([x, x[0]], axis=None),
    ],
    "copy": [np.copy, lambda x: changed(x, np.copy(x, order="C"))],
    "cumsum": [np.cumsum, lambda x: np.cumsum(x, 2), lambda x: np.cumsum(x, axis=-1, dtype="f8")],
    "cumulative_sum": [lambda x: np.cumulative_sum(x, axis=1, include_initial=False)],
    "expand_dims": [lambda x: np.expand_dims(x, 1), lambda x: np.expand_dims(x, (0, -1))],
    "flip": [np.flip, lambda x: np.flip(x, 1), lambda x: np.flip(x, axis=(-1, 0))],
    "fliplr": [np.fliplr],
    "flipud": [np.flipud],
    "full_like": [
        lambda x: x + np.full_like(x, 2.5),
        lambda x: x[0, 0, :, 0] * np.full_like(x, W[:, 0, 0], shape=(6, 4))[:, 1],
    ],
    "linalg.matrix_transpose": [lambda x: np.linalg.matrix_transpose(x)],
    "linalg.norm": [
        np.linalg.norm,
        lambda x: np.linalg.norm(x, axis=1),
        lambda x: np.linalg.norm(x, 1, 2, True),
        lambda x: np.linalg.norm(x, np.inf, axis=(3,)),
        lambda x: np.linalg.norm(x, axis=(1, 2), keepdims=True),
        lambda x: np.linalg.norm(x, "fro", (1, 2)),
        lambda x: np.linalg.norm(x[0, 0, 0], 3),
    ],
    "linalg.vector_norm": [
        lambda x: np.linalg.vector_norm(x, axis=(1, 2), ord=3),
        lambda x: np.linalg.vector_norm(x, keepdims=True),
    ],
    "matrix_transpose": [lambda x: np.matrix_transpose(x)],
    "max": [lambda x: np.max(x, 1), np.max],
    "mean": [
        np.mean,
        lambda x: np.mean(x, (2, 3), keepdims=True),
        lambda x: np.mean(x, 1, np.float64, None, True),
        lambda x: np.mean(x, axis=-1, where=True),
    ],
    "min": [lambda x: np.min(x, axis=(0, 2))],
    "moveaxis": [
        lambda x: np.moveaxis(x, 1, -1),
        lambda x: np.moveaxis(x, [0, 1], [-1, 0]),
        lambda x: np.moveaxis(x, (), ()),
    ],
    "ndim": [lambda x: x * np.ndim(x)],
    "ones_like": [lambda x: x - np.ones_like(x)],
    "pad": [
        lambda x: np.pad(x, 1),
        lambda x: np.pad(x, (1, 2), constant_values=0.5),
        lambda x: np.pad(x, ((0, 0), (1, 0), (0, 3), (2, 1)), "edge"),
        lambda x: np.pad(x, [[1], [0], [2], [0]], mode="wrap"),
        lambda x: np.pad(x, ((0, 0), (0, 0), (2, 1), (1, 4)), "reflect", reflect_type="even"),
        *([lambda x: np.pad(x, {-1: (1, 2), 1: 3})] if NUMPY2 else []),
    ],
    "prod": [lambda x: np.prod(x, 1)],
    "ravel": [np.ravel, lambda x: np.ravel(x, order="C")],
    "repeat": [lambda x: np.repeat(x, 2, 1), lambda x: np.repeat(x, [1, 0, 2, 1], axis=1)],
    "reshape": [
        lambda x: np.reshape(x, (2, -1)),
        lambda x: np.reshape(x, -1, order="C"),
        *([lambda x: np.reshape(x, shape=(4, 60))] if NUMPY2 else []),
    ],
    "roll": [lambda x: np.roll(x, 3), lambda x: np.roll(x, (1, -2), axis=(1, 3))],
    "round": [lambda x: np.round(2 * x), lambda x: np.round(x, 0), lambda x: x.round()],
    "shape": [lambda x: x * np.shape(x)[1]],
    "size": [lambda x: x / np.size(x), lambda x: x / np.size(x, 1)],
    "split": [
        lambda x: np.split(x, 2, axis=1),
        lambda x: np.split(x, [1, 1, 9], -1),
    ],
    "squeeze": [lambda x: np.squeeze(x[:, :1]), lambda x: np.squeeze(x[:, :1], axis=1)],
    "stack": [lambda x: np.stack([x, -x], -1), lambda x: np.stack((X, x))],
    "std": [np.std, lambda x: np.std(x, 1, keepdims=True), lambda x: x.std((2, 3), ddof=1)],
    "sum": [np.sum, lambda x: np.sum(x, axis=(1, 3))],
    "swapaxes": [lambda x: np.swapaxes(x, 1, -1)],
    "take": [lambda x: np.take(x, [3, 0], 1), lambda x: np.take(x, 7, mode="raise")],
    "tile": [lambda x: np.tile(x, (1, 2, 1)), lambda x: np.tile(A=x, reps=2)],
    "transpose": [np.transpose, lambda x: np.transpose(x, (0, 2, 3, 1))],
    "var": [
        lambda x: np.var(x, (1, 2)),
        lambda x: np.var(x, ddof=2),
        *VAR,
        lambda x: x.var(axis=1),
    ],
    "where": [
        lambda x: np.where(x > 0, x, 0.1 * x),
        lambda x: np.where(X > 0, x, W),
        lambda x: np.where(x > 0, x, -1),
    ],
    "zeros_like": [
        lambda x: np.concatenate([x, np.zeros_like(x[:, :1])], 1),
        lambda x: x + np.zeros_like(x, dtype=np.float64, order="C"),
    ],
}
HERE = [
    path
    for path in numpy_functions._ROWS
    if hasattr(np.linalg if "." in path else np, path.rpartition(".")[2])
]


def test_every_function_is_tested():
    assert CALLS.keys() == numpy_functions._ROWS.keys()
    assert sorted(numpy_functions._ROWS) == list(numpy_functions._ROWS)
    assert len(HERE) > 40


def compare(ours, expected):
    if isinstance(expected, list | tuple):
        assert len(ours) == len(expected)
        assert isinstance(ours, type(expected))
        for a, b in zip(ours, expected, strict=True):
            compare(a, b)
        return
    assert ours.shape == np.shape(expected)
    assert ours.dtype == expected.dtype
    # Sums of at most 240 products of numbers below 10: 240 * 100 * 2**-53 < 1e-11.
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("path", HERE)
def test_recorded_functions_do_what_numpys_do(path):
    for function in CALLS[path]:
        expected = function(X.copy())
        compare(Forward(function)(X), expected)
        symbol = function(Recorder(X.dtype).input(X.shape))
        assert isinstance(symbol[0] if isinstance(symbol, list | tuple) else symbol, Symbol)


VIEWS = {
    *("broadcast_to", "expand_dims", "flip", "fliplr", "flipud", "linalg.matrix_transpose"),
    *("matrix_transpose", "moveaxis", "ravel", "reshape", "split", "array_split", "squeeze"),
    *("swapaxes", "transpose"),
}
NO_ARRAYS = {"ndim", "shape", "size", "full_like", "ones_like", "zeros_like"}


@pytest.mark.parametrize("path", sorted(set(HERE) - NO_ARRAYS))
def test_what_shares_memory_in_numpy_is_not_written_to(path):
    """A result may be changed in place only where that changes nothing else in NumPy."""
    for function in CALLS[path]:
        y = function(X)
        y = y[0] if isinstance(y, list | tuple) else y
        if path in VIEWS:
            assert np.shares_memory(y, X)
        x = Recorder(X.dtype).input(X.shape) * 1
        value = function(x)
        value = value[0] if isinstance(value, list | tuple) else value
        if np.shares_memory(y, X):
            assert not value.writeable
            assert not x.writeable
        elif path not in {"transpose", "squeeze", "split", "around", "moveaxis"} and value.shape:
            assert value.writeable


UFUNCS = {
    "tanh": np.tanh,
    "fabs": np.fabs,
    "bitwise_and": lambda x: np.where((X > 0) & (x > 0.5), x, 0),
    "bitwise_or": lambda x: np.where((X > 0) | (x < -0.5), x, 0),
    "bitwise_xor": lambda x: np.where((X > 0) ^ (x > 0.5), x, 0),
    "invert": lambda x: np.where(np.invert(x > 0), x, 0),
    "method clip": lambda x: x.clip(-0.5, 0.5),
    "method clip of a bound": lambda x: x.clip(max=W),
}


@pytest.mark.parametrize("name", UFUNCS)
def test_other_functions_of_single_elements(name):
    compare(Forward(UFUNCS[name])(X), UFUNCS[name](X))


REFUSED = [
    (lambda x: np.mean(x, dtype=np.float16), r"numpy\.mean with dtype=.*fastconv\.mean\(x"),
    (lambda x: np.sum(x, 1, None, X), r"numpy\.sum with out="),
    (lambda x: np.max(x, initial=0), r"numpy\.max with initial=0"),
    (lambda x: np.sum(x, where=X > 0), r"numpy\.sum with where="),
    (lambda x: np.concatenate([x, x], dtype="f2"), r"concatenate with dtype='f2'"),
    (lambda x: np.reshape(x, -1, order="F"), r"numpy\.reshape with order='F'"),
    (lambda x: np.take(x, [9], 1, mode="wrap"), r"numpy\.take with mode='wrap'"),
    (lambda x: np.round(x, 2), r"numpy\.round with decimals=2.*fastconv\.round"),
    (lambda x: x.round(2), r"round to other than integers.*fastconv\.round"),
    (lambda x: x.clip(0, 1, out=X), r"clip\(out=\)"),
    (lambda x: np.pad(x, 1, "symmetric"), r"mode='symmetric'.*fastconv\.pad"),
    (lambda x: np.pad(x, 1, lambda *a: None), r"numpy\.pad with mode=<function"),
    (lambda x: np.pad(x, 1, constant_values=(1, 2)), "several constant_values"),
    (lambda x: np.pad(x, -1), "pad_width must have integers that are not negative, got -1"),
    (lambda x: np.pad(x, 0.5), r"pad_width must have integers"),
    (lambda x: np.linalg.norm(x[0, 0], 2), r"norm with ord=2 over 2 axes.*fastconv\.norm"),
    (lambda x: np.linalg.norm(x, axis=(0, 1, 2)), "axis must name one axis or two"),
    (lambda x: np.linalg.norm(x, "nuc", (1, 2)), "ord='nuc' over 2 axes"),
    (lambda x: np.where(x > 0), r"numpy\.where of a condition alone.*fastconv\.where"),
    (lambda x: np.where(x > 0, x, np.float64(2)), r"where: a number has dtype float64"),
    (lambda x: np.clip(x, np.float64(0), None), r"clip: a number has dtype float64"),
    (lambda x: np.maximum(x, np.int64(0)), r"maximum: a number has dtype int64"),
    (lambda x: np.moveaxis(x, [0, 1], [2]), "source and destination must name as many axes"),
    (lambda x: np.moveaxis(x, [0, 0], [1, 2]), "source and destination must name"),
    (lambda x: np.moveaxis(x, [0, 1], [2, 2]), "source and destination must name"),
    (lambda x: np.mean(x, [2, 3]), r"mean with torch's arguments"),
    (lambda x: np.var(x, dtype="f8"), r"numpy\.var with dtype='f8'"),
    (lambda x: np.broadcast_to(x, (2, -1, 6, 5)), "shape must not have negative sizes"),
    (lambda x: np.broadcast_to(x, (2, 3, 6, 5)), "does not expand to shape"),
    (lambda x: x.var(dim=1), r"var with torch's arguments.*x\.var\(axis, ddof=1\)"),
    (lambda x: np.sort(x), r"numpy\.sort is not possible"),
    (lambda x: np.einsum("nchw->nc", x), r"einsum is not possible"),
    (lambda x: np.empty_like(x), r"numpy\.empty_like .*numpy\.zeros_like"),
    (lambda x: np.vstack([x, x]), r"vstack .*fastconv\.concat"),
    (lambda x: np.split(x, 3, 1), "equal division"),
    (lambda x: np.take(X, x), "conversion to a NumPy array"),
    (lambda x: np.bitwise_and(x, x), "must be bool, got float32"),
]


@pytest.mark.parametrize(("function", "match"), REFUSED)
def test_what_cannot_be_recorded_names_the_substitute(function, match):
    with pytest.raises((TypeError, ValueError), match=match):
        Forward(function)(X.astype(np.float32))


def test_a_forward_that_is_written_for_arrays_is_recorded():
    def forward(x):
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        mean, deviation = np.mean(x, axis=1, keepdims=True), np.std(x, axis=1, keepdims=True)
        y = np.where(x > mean, (x - mean) / (deviation + 1e-3), np.tanh(x))
        a, b = np.split(np.transpose(y, (0, 2, 3, 1)), 2, axis=-1)
        y = np.concatenate([np.clip(a, -1, 1), np.zeros_like(b), np.flip(b, -1)], axis=-1)
        return np.squeeze(np.max(y, axis=(1, 2), keepdims=True)) / np.linalg.norm(y[:, 1, 1])

    module = Forward(forward)
    compare(module(X), forward(X))
    compare(module.eager(X), forward(X))
