"""What torch's users write out of habit works, with torch's meaning, or names what to write."""

import enum
import math

import fastconv
import numpy as np
import pytest
from fastconv import nn
from fastconv.graph import _substitutes as substitutes
from fastconv.graph._symbols import Recorder, Symbol

X = np.random.default_rng(0).standard_normal((2, 4, 6, 5)).astype(np.float32)


def forward_module(function):
    class Forward(nn.Module):
        def forward(self, x):
            return function(x)

    return Forward()


def symbol(shape=X.shape):
    return Recorder(np.dtype(np.float32)).input(shape)


# ---- Symbolic values -----------------------------------------------------------------------------

METHODS = {
    "reshape": lambda x: x.reshape(x.shape[0], -1),
    "reshape of a tuple": lambda x: x.reshape((-1, 20, 6)),
    "transpose": lambda x: x.transpose(0, 2, 3, 1),
    "transpose of a tuple": lambda x: x.transpose((0, -1, 1, 2)),
    "transpose of all": lambda x: x.transpose(),
    "swapaxes": lambda x: x.swapaxes(1, -1),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "squeeze of a tuple": lambda x: x[:, :1, :, :1].squeeze((1, -1)),
    "squeeze of all": lambda x: x[:, :1, :, :1].squeeze(),
    "squeeze of a scalar": lambda x: x.mean().squeeze(),
    "squeeze of none": lambda x: x.squeeze(),
    "mean": lambda x: x.mean((2, 3), keepdims=True),
    "mean of an axis": lambda x: x.mean(axis=1),
    "mean of all": lambda x: x.mean(),
    "sum": lambda x: x.sum((0, 2), keepdims=True),
    "sum of all": lambda x: x.sum(),
    "prod": lambda x: x.prod(axis=1),
    "max": lambda x: x.max(-1),
    "max of two": lambda x: x.max((2, 3), keepdims=True),
    "min": lambda x: x.min(axis=(1, 3)),
    "argmax": lambda x: x.argmax(axis=1),
    "argmax of all": lambda x: x.argmax(),
    "argmin": lambda x: x.argmin(2, keepdims=True),
    "cumsum": lambda x: x.cumsum(1),
    "cumsum of all": lambda x: x[:1, :1, 0, :2].cumsum(),
    "copy": lambda x: x.copy(),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "take": lambda x: x.take([3, -1, 0, 0], 1),
    "take of a matrix": lambda x: x.take(np.array([[5, 0, -1], [1, 1, 2]]), axis=-2),
    "take of one": lambda x: x.take(2, 3),
    "take of all": lambda x: x.take([7, -7]),
    "repeat": lambda x: x.repeat(3, axis=1),
    "repeat of all": lambda x: x.repeat(2),
    "repeat, each its own": lambda x: x.repeat([2, 0, 1, 3], 1),
    "index": lambda x: x[:, [2, 0, -1]],
    "index of the first axis": lambda x: x[[1, 0, -1]],
    "index of the last": lambda x: x[..., np.array([4, 0, 0, 2])],
    "index of a matrix": lambda x: x[:, :, [[0, 1], [5, -6]]],
    "index beside slices": lambda x: x[::-1, [3, 1], 1:-1:2, ::-2],
    "index beside new axes": lambda x: x[None, :, [3, 1], None, ...],
    "index of none": lambda x: x[:, np.zeros(0, np.intp)],
    "index of unsigned": lambda x: x[:, np.array([3, 1], np.uint8)],
    "sizes": lambda x: x.reshape(-1, x.shape[1] * x.shape[-1]),
}


@pytest.mark.parametrize("kind", sorted(METHODS))
def test_methods_that_numpy_has_work_in_both_ways(kind):
    module = forward_module(METHODS[kind])
    expected = METHODS[kind](X.astype(np.float64))
    for x in (X, np.concatenate([X, X, X[:1]])):  # another batch size
        expected = METHODS[kind](x.astype(np.float64))
        for y in (module(x), module.eager(x)):
            assert y.shape == np.shape(expected)
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


SUBSTITUTES = {
    "size()": (lambda x: x.size(), r"x\.shape"),
    "size(1)": (lambda x: x.size(1), r"x\.shape\[1\]"),
    "dim": (lambda x: x.dim(), r"x\.ndim"),
    "numel": (lambda x: x.numel(), r"math\.prod\(x\.shape\)"),
    "view": (lambda x: x.view(2, -1), r"x\.reshape\(shape\)"),
    "flatten": (lambda x: x.flatten(1), r"fastconv\.flatten\(x, 1\)"),
    "permute": (lambda x: x.permute(0, 2, 3, 1), r"x\.transpose\(axes\).*fastconv\.permute"),
    "transpose": (lambda x: x.transpose(1, 2), r"x\.swapaxes\(a, b\)"),
    "reshape": (lambda x: x.reshape(shape=(2, -1)), r"x\.reshape\(shape\)"),
    "unsqueeze": (lambda x: x.unsqueeze(1), r"fastconv\.unsqueeze\(x, axis\)"),
    "squeeze": (lambda x: x.squeeze(dim=1), r"x\.squeeze\(axis\)"),
    "mean": (lambda x: x.mean([2, 3]), r"fastconv\.mean\(x, axis, keepdims\)"),
    "mean(dim)": (lambda x: x.mean(dim=1, keepdim=True), r"fastconv\.mean\(x"),
    "sum(dim)": (lambda x: x.sum(dim=1, keepdim=True), r"fastconv\.sum\(x, axis, keepdims\)"),
    "max(dim)": (
        lambda x: x.max(dim=1),
        r"fastconv\.max\(x, axis, keepdims\), and fastconv\.argmax\(x, axis\)",
    ),
    "argmax(dim)": (lambda x: x.argmax(dim=1), r"fastconv\.argmax\(x, axis, keepdims\)"),
    "cumsum(dim)": (lambda x: x.cumsum(dim=1), r"fastconv\.cumsum\(x, axis\)"),
    "norm": (lambda x: x.norm(), r"fastconv\.norm\(x, ord, axis\)"),
    "chunk": (lambda x: x.chunk(2, 1), r"fastconv\.split\(x"),
    "split": (lambda x: x.split(2), r"fastconv\.split\(x, size, axis\)"),
    "contiguous": (lambda x: x.contiguous(), "x itself"),
    "clone": (lambda x: x.clone(), r"x\.copy\(\)"),
    "detach": (lambda x: x.detach(), "x itself"),
    "cpu": (lambda x: x.cpu(), "x itself"),
    "cuda": (lambda x: x.cuda(), r'compile\(input_shape, device="cuda"\)'),
    "to": (lambda x: x.to("cuda"), r"model\.astype\(dtype\).*compile"),
    "float": (lambda x: x.float(), r"model\.astype\(dtype\)"),
    "half": (lambda x: x.half(), r"model\.astype\(dtype\)"),
    "type_as": (lambda x: x.type_as(x), r"model\.astype\(dtype\)"),
    "relu": (lambda x: x.relu(), r"fastconv\.relu\(x, \.\.\.\)"),
    "relu_": (lambda x: x.relu_(), r"fastconv\.relu\(x, \.\.\.\), and assign"),
    "sigmoid": (lambda x: x.sigmoid(), r"fastconv\.sigmoid\(x"),
    "softmax": (lambda x: x.softmax(1), r"fastconv\.softmax\(x"),
    "add": (lambda x: x.add(x), r"x \+ y"),
    "add_": (lambda x: x.add_(x), r"x \+ y, and assign the result"),
    "mul": (lambda x: x.mul(2), r"x \* y"),
    "mul_": (lambda x: x.mul_(2), r"x \* y, and assign"),
    "clamp_": (lambda x: x.clamp_(0, 6), r"fastconv\.clip\(x, min, max\), and assign"),
    "expand": (lambda x: x.expand(2, 4, 6, 5), "broadcast"),
    "expand_as": (lambda x: x.expand_as(x), "broadcast"),
    "repeat": (lambda x: x.repeat(1, 2, 1, 1), r"fastconv\.tile\(x, \(1, times, 1\)\)"),
    "item": (lambda x: x.item(), r"taps="),
    "take(dim)": (lambda x: x.take([0], dim=1), r"x\.take\(indices, axis\)"),
    "flatten(start_dim)": (lambda x: x.flatten(1), r"fastconv\.flatten\(x, 1\)"),
    "index_select": (lambda x: x.index_select(1, [0]), r"x\.take\(indices, axis\)"),
    "index_add": (lambda x: x.index_add(1, [0], x), r"fastconv\.scatter_add\("),
    "tile": (lambda x: x.tile(1, 2, 1, 1), r"fastconv\.tile\("),
    "device": (lambda x: x.get_device(), "compile"),
    "unknown": (lambda x: x.cholesky(), "the functions of fastconv.ops"),
    "torch's own": (
        lambda x: x.__torch_function__(len, ()),
        r"torch\.len is not possible.*fastconv",
    ),
}


@pytest.mark.parametrize("kind", sorted(SUBSTITUTES))
def test_methods_that_only_torch_has_name_what_works_on_both(kind):
    function, match = SUBSTITUTES[kind]
    with pytest.raises(TypeError, match=match):
        function(symbol())
    with pytest.raises(TypeError, match=match):
        forward_module(function)(X)
    if kind != "torch's own":
        with pytest.raises((AttributeError, TypeError, ValueError)):  # no trap: it never works
            forward_module(function).eager(X)


BIAS = np.arange(4, dtype=np.float32)
WORDS = {"fastconv": fastconv, "math": math, "bias": BIAS}
WORDS |= {"min": 0.25, "max": 1.5, "value": 7, "axis": 1, "count": 4, "n": 3, "times": 2}
WORDS |= {"chunks": 3, "start": 1, "length": 2, "index": 2, "size": 3, "shift": 3}
WORDS |= {"indices": [2, 0, 2], "shape": (2, 2, 4, 5)}
# Names, a formula that their substitute has, and what that replaces; a and x are the same array.
FORMULAS = [
    ("sub", "x - y", np.subtract),
    ("rsub", "y - x", lambda a, b: b - a),
    ("neg", "-x", np.negative),
    ("div true_divide", "x / y", np.divide),
    ("floor_divide", "fastconv.floor(x / y)", np.floor_divide),
    ("mod", "x - y * fastconv.floor(x / y)", lambda a, b: a - b * np.floor(a / b)),
    ("pow", "x ** y", np.power),
    ("add", "x + y", np.add),
    ("mul multiply", "x * y", np.multiply),
    ("clamp hardtanh", "fastconv.clip(x, min, max)", lambda a, b: np.clip(a, 0.25, 1.5)),
    ("clamp_min", "fastconv.maximum(x, min)", lambda a, b: np.maximum(a, 0.25)),
    ("clamp_max", "fastconv.minimum(x, max)", lambda a, b: np.minimum(a, 1.5)),
    ("gt greater", "x > y", np.greater),
    ("ge greater_equal", "x >= y", np.greater_equal),
    ("lt less", "x < y", np.less),
    ("le less_equal", "x <= y", np.less_equal),
    ("eq", "x == y", np.equal),
    ("ne", "x != y", np.not_equal),
    ("masked_fill", "fastconv.where(mask, value, x)", lambda a, b: np.where(a > 1, 7, a)),
    ("rint", "fastconv.round(x)", np.rint),
    ("matmul mm bmm dot", "x @ y", lambda a, b: a @ b),
    ("addmm", "bias + x @ y", lambda a, b: BIAS + a @ b),
    ("average", "fastconv.mean(x, axis)", lambda a, b: np.average(a, 1)),
    ("amax", "fastconv.max(x, axis)", lambda a, b: np.max(a, 1)),
    ("amin", "fastconv.min(x, axis)", lambda a, b: np.min(a, 1)),
    ("cumsum", "fastconv.cumsum(x, axis)", lambda a, b: np.cumsum(a, 1)),
    ("max", "fastconv.argmax(x, axis)", lambda a, b: np.argmax(a, 1)),
    ("min", "fastconv.argmin(x, axis)", lambda a, b: np.argmin(a, 1)),
    ("var", "x.var(axis, ddof=1)", lambda a, b: np.var(a, 1, ddof=1)),
    ("ravel", "x.ravel()", lambda a, b: a.flatten()),
    ("ravel", "fastconv.flatten(x)", lambda a, b: a.flatten()),
    ("flatten", "x.flatten()", lambda a, b: a.flatten()),
    ("flatten", "fastconv.flatten(x, 1)", lambda a, b: a.reshape(2, -1)),
    ("view_as reshape_as", "x.reshape(y.shape)", lambda a, b: a.reshape(b.shape)),
    ("squeeze", "x.squeeze(axis)", lambda a, b: np.squeeze(a, 1)),
    ("unsqueeze expand_dims", "x[:, None]", lambda a, b: np.expand_dims(a, 1)),
    ("unsqueeze", "fastconv.unsqueeze(x, axis)", lambda a, b: np.expand_dims(a, 1)),
    ("expand_dims", "fastconv.expand_dims(x, axis)", lambda a, b: np.expand_dims(a, 1)),
    ("mT", "x.swapaxes(-2, -1)", lambda a, b: np.swapaxes(a, -2, -1)),
    ("t", "x.swapaxes(0, 1)", lambda a, b: np.swapaxes(a, 0, 1)),
    (
        "concatenate cat vstack hstack dstack column_stack",
        "fastconv.concat(arrays, axis)",
        lambda a, b: np.concatenate([a, b], 1),
    ),
    ("stack", "fastconv.stack(arrays, axis)", lambda a, b: np.stack([a, b], 1)),
    (
        "chunk",
        "fastconv.split(x, -(-x.shape[axis] // chunks), axis)",
        lambda a, b: (a[:, :2], a[:, 2:]),  # 3 of 4, which torch makes 2 of 2
    ),
    ("split", "fastconv.split(x, size, axis)", lambda a, b: (a[:, :3], a[:, 3:])),
    ("narrow", "x[:, start : start + length]", lambda a, b: a[:, 1:3]),
    ("select", "x[:, index]", lambda a, b: np.take(a, 2, 1)),
    ("flip", "fastconv.flip(x, axis)", lambda a, b: np.flip(a, 1)),
    ("flip", "x[:, ::-1]", lambda a, b: np.flip(a, 1)),
    ("roll", "fastconv.roll(x, shift, axis)", lambda a, b: np.roll(a, 3, 1)),
    ("take index_select", "x.take(indices, axis)", lambda a, b: a[:, [2, 0, 2]]),
    (
        "scatter_add index_add",
        "fastconv.scatter_add(x, indices, updates, axis)",
        lambda a, b: a + np.stack([a[:, 1], 0 * a[:, 0], a[:, 0] + a[:, 2], 0 * a[:, 0]], 1),
    ),
    ("expand expand_as broadcast_to", "fastconv.expand(x, shape)", lambda a, b: np.array([a, a])),
    ("tile repeat", "fastconv.tile(x, (1, times, 1))", lambda a, b: np.tile(a, (2, 1))),
    ("repeat repeat_interleave", "x.repeat(n, axis)", lambda a, b: np.repeat(a, 3, 1)),
    ("swish", "fastconv.silu(x)", lambda a, b: a / (1 + np.exp(-a))),
    ("clone", "x.copy()", lambda a, b: a),
]
PROSE = """
    mean sum prod argmax argmin norm topk size dim ndimension numel nelement view unflatten T
    transpose permute movedim moveaxis swapaxes swapdims unbind pad
    astype float double half bfloat16 type type_as to cuda device is_cuda get_device contiguous
    detach cpu data requires_grad grad is_contiguous item tolist numpy empty_like
"""


@pytest.mark.parametrize(("names", "formula", "expected"), FORMULAS)
def test_substitutes_compute_what_they_replace(names, formula, expected):
    a, b = X[:, :, :5, 0].copy(), X[:, :, :5, 1].copy()
    if "matmul" in names or names == "addmm":
        b = X[:, :, :5, 1].swapaxes(1, 2).copy()
    elif names == "squeeze":
        a = a[:, :1]
    elif names == "pow":
        a = abs(a)
    elif names.startswith("view_as"):
        b = b.reshape(2, 20)
    for name in names.split():
        assert formula in substitutes.substitute(name)

    class Formula(nn.Module):
        def forward(self, x, y):
            words = {**WORDS, "x": x, "a": x, "y": y, "b": y, "arrays": [x, y]}
            words |= {"mask": x > 1, "updates": x[:, :3]}
            return eval(formula, words)

    right = expected(a, b)
    for y in (Formula().eager(a, b), Formula()(a, b)):
        pairs = zip(y, right, strict=True) if isinstance(right, tuple) else [(y, right)]
        for value, wanted in pairs:
            assert value.shape == wanted.shape
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5)


def test_every_substitute_with_a_formula_is_tested():
    tested = {name for names, _, _ in FORMULAS for name in names.split()}
    assert tested | set(PROSE.split()) == substitutes.SUBSTITUTES.keys()
    assert not tested & set(PROSE.split())


@pytest.mark.parametrize(
    ("key", "error", "match"),
    [
        (np.s_[[0], [0]], TypeError, "one array or integer at a time"),
        (np.s_[0, :, [0]], TypeError, r"as in x\[0\]\[:, indices\]"),
        (np.s_[:, [4]], IndexError, "index 4 is out of bounds for axis 1 of x with size 4"),
        (np.s_[:, [0, -5, 1]], IndexError, "index -5 is out of bounds for axis 1 of x with size 4"),
        (np.s_[:, [True] * 4], TypeError, r"got bool: pass numpy\.flatnonzero\(mask\)"),
        (np.s_[:, [0.5]], TypeError, r"got float64: pass indices\.astype\(np\.int64\)"),
        (np.s_[..., ["a"]], TypeError, "indices must be an array of integers"),
        (np.s_[0, 0, 0, 0, [0]], IndexError, "too many indices"),
    ],
)
def test_arrays_that_do_not_index(key, error, match):
    with pytest.raises(error, match=match):
        symbol()[key]


def test_what_is_taken_is_no_view():
    def forward(x):
        x = fastconv.relu(x)
        for part in (x[:, [0, 1]], x.take([0, 1], 1), x.repeat(2, 1), x.flatten(), x.copy()):
            part += 1
        x += 1
        return x

    module = forward_module(forward)
    np.testing.assert_array_equal(module(X), module.eager(X))
    for view in (lambda x: x.ravel(), lambda x: x.squeeze()):
        x = fastconv.relu(symbol())
        view(x)
        with pytest.raises(TypeError, match="cannot be recorded here"):
            x += 1


def test_missing_methods_are_no_attributes():
    assert not hasattr(symbol(), "view")
    assert not hasattr(symbol(), "size")
    assert isinstance(symbol().mean(1), Symbol)
    with pytest.raises(ValueError, match=r"axis 1 of shape \(2, 4, 6, 5\) is not of size 1"):
        symbol().squeeze(1)


def test_a_parameter_of_torch_in_a_sum_is_a_clear_error():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    with pytest.raises(
        TypeError, match=r"an input of add must be an array, got Tensor: .*requires grad"
    ):
        symbol() + Tensor()


# ---- Functions -----------------------------------------------------------------------------------


def test_pad_wants_both_sides_of_each_dimension():
    for x in (X, symbol()):
        with pytest.raises(TypeError, match=r"left, right, top, bottom\), got 1: .* \(1,\) \* 4"):
            fastconv.pad(x, 1)
    np.testing.assert_array_equal(fastconv.pad(X, (1,) * 4, value=None), fastconv.pad(X, (1,) * 4))


@pytest.mark.parametrize("pad", [(1, 2, 3, 0), (5, 5), (-1, 2, 2, -3), (0, 0), (-2, -2), (0,) * 8])
def test_circular_padding_is_numpys_wrap(pad):
    pairs = [(0, 0)] * (4 - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    inside = tuple(
        slice(max(-before, 0), n - max(-after, 0))
        for n, (before, after) in zip(X.shape, pairs, strict=True)
    )
    grown = [(max(before, 0), max(after, 0)) for before, after in pairs]
    expected = np.pad(X[inside], grown, mode="wrap")
    y = fastconv.pad(X, pad, "circular")
    np.testing.assert_array_equal(y, expected)
    assert y.flags.owndata
    out = np.empty_like(expected)
    assert fastconv.pad(X, pad, "circular", out=out) is out
    np.testing.assert_array_equal(out, expected)
    module = forward_module(lambda x: fastconv.pad(x, pad, "circular"))
    for x in (X, X[:1]):
        np.testing.assert_array_equal(module(x), module.eager(x))


def test_circular_padding_goes_around_once():
    for x in (X, symbol()):
        for pad in ((6, 0), (0, 6), (-1, 5)):
            with pytest.raises(ValueError, match=r"pad must be at most the size [45] of axis 3"):
                fastconv.pad(x, pad, mode="circular")
    with pytest.raises(ValueError, match="out overlaps x"):
        fastconv.pad(X, (1, -1), "circular", out=X)
    with pytest.raises(TypeError, match="out cannot be given"):
        fastconv.pad(symbol(), (1, 1), "circular", out=X)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("tensor", "'tensor': use a NumPy array as it is"),
        ("no_grad", "nothing: there are no gradients"),
        ("unbind", r"x\[:, i\] for each i"),
        ("nothing", "has no attribute 'nothing'$"),
    ],
)
def test_names_of_torch_that_are_missing_name_what_to_use(name, match):
    with pytest.raises(AttributeError, match=match):
        getattr(fastconv, name)


def test_torchs_spelling_works_while_recording():
    def forward(x):
        x = fastconv.cat([x, x], dim=1)
        x = fastconv.relu(x, inplace=True)
        x = fastconv.max_pool2d(input=x, kernel_size=2, return_indices=False)
        x = fastconv.avg_pool2d(x, 2, 1, 0, False, True, 3)
        return fastconv.softmax(fastconv.mean(x, dim=(2, 3), keepdim=False), dim=1, dtype=None)

    module = forward_module(forward)
    np.testing.assert_allclose(module(X), module.eager(X), rtol=1e-5)
    with pytest.raises(TypeError, match="axis and dim, which are the same"):
        forward_module(lambda x: fastconv.mean(x, axis=1, dim=1))(X)
    with pytest.raises(ValueError, match="training=True is not possible: only inference"):
        forward_module(
            lambda x: fastconv.batch_norm(x, X[0, :, 0, 0], X[0, :, 0, 0], training=True)
        )(X)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: fastconv.avg_pool2d(X, 2, divisor_override=0), "must not be 0"),
        (lambda: fastconv.avg_pool2d(X, 2, ceil_mode=True, divisor_override=1), "fastconv.pad"),
        (lambda: fastconv.relu(X, inplace=None), "inplace=None is not possible"),
        (lambda: fastconv.add(X, X, alpha=True), "alpha=True"),
        (lambda: nn.MaxPool2d(2, return_indices=True), "numpy.argmax"),
        (lambda: nn.Conv2d(4, 4, 3, 2, "same", padding_mode="reflect"), "give the numbers"),
        (lambda: nn.Linear(2, 2, device="cuda:1"), r"device must be 'cpu' here, got 'cuda:1'"),
    ],
)
def test_what_has_no_meaning_here_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_divisor_override_rounds_once_and_checks_out():
    x = X.astype(np.float16)
    y = fastconv.avg_pool2d(x, 2, 1, divisor_override=3)
    wide = fastconv.avg_pool2d(x.astype(np.float32), 2, 1, divisor_override=3)
    np.testing.assert_array_equal(y, wide.astype(np.float16), strict=True)
    assert fastconv.avg_pool2d(x, 2, 1, divisor_override=3, out=y) is y
    np.testing.assert_allclose(wide, 4 / 3 * fastconv.avg_pool2d(x.astype(np.float32), 2, 1), 1e-6)
    with pytest.raises(ValueError, match="out overlaps x"):
        fastconv.avg_pool2d(X, 1, divisor_override=2, out=X)
    with pytest.raises(ValueError, match="out must have shape"):
        fastconv.avg_pool2d(X, 2, divisor_override=2, out=X)
    with pytest.raises(TypeError, match="out cannot be given"):
        fastconv.avg_pool2d(symbol(), 2, divisor_override=2, out=X)


def test_numpy_scalars_are_plain_values():
    y = fastconv.relu(X, inplace=np.True_)
    np.testing.assert_array_equal(fastconv.add(y, y, alpha=np.float32(1)), 2 * y)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("Parameter", "use the array itself: self.weight = array"),
        ("functional", "import fastconv.ops as F"),
        ("LazyLinear", "nn.Linear with its in_features"),
        ("Transformer", "use fastconv.ops in a Module of your own"),
    ],
)
def test_what_nn_lacks_names_what_to_use(name, match):
    with pytest.raises(AttributeError, match=match):
        getattr(nn, name)
    assert not hasattr(nn, name)


# ---- Modules -------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 3, 3, padding=1)
        self.body = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.body(self.conv(x))


def test_conversions_return_the_module():
    net = Net()
    for same in (net.to("cpu"), net.cpu(), net.float(), net.to(np.float32), net.eval(), net.to()):
        assert same is net
    assert net.requires_grad_(False) is net
    assert net.double().dtype == np.float64
    assert net.to("cpu", np.float32, non_blocking=True).dtype == np.float32
    assert net.to("float64").dtype == np.float64
    assert net.to(device="cpu", dtype=np.dtype(np.float32)).dtype == np.float32
    assert net.to(np.float64, False, True).dtype == np.float64
    net.training = False
    assert net(X.astype(np.float64)).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m: m.to("cuda"), ValueError, r"compile\(input_shape, device='cuda'\)"),
        (lambda m: m.to("cuda:1", non_blocking=True), ValueError, "here, got 'cuda:1'"),
        (lambda m: m.to("meta"), ValueError, "here, got 'meta'"),
        (lambda m: m.to(0), ValueError, "device must be 'cpu' here, got 0"),
        (lambda m: m.to(device="cuda:1"), ValueError, "got 'cuda:1'"),
        (lambda m: m.to(np.float16), TypeError, "for lower precision compile with precision"),
        (lambda m: m.cuda(), AttributeError, r'model.compile\(input_shape, device="cuda"\)'),
        (lambda m: m.half(), AttributeError, 'precision="fp16"'),
        (lambda m: m.bfloat16(), AttributeError, 'precision="bf16"'),
        (lambda m: m.requires_grad_(), RuntimeError, "no gradients"),
        (lambda m: m.zero_grad(), AttributeError, "there are no gradients"),
        (lambda m: m.train(), RuntimeError, "inference only"),
        (lambda m: m.register_forward_hook(print), AttributeError, r"network\(x, taps=\[name\]\)"),
        (lambda m: m.nothing, AttributeError, "'Net' object has no attribute 'nothing'$"),
        (lambda m: m.get_submodule("body.2"), AttributeError, r"no module 'body.2': .*'0', '1'"),
        (lambda m: m.get_submodule("conv.a.b"), AttributeError, "no module 'conv.a': .* none"),
        (lambda m: m.get_parameter("conv.gain"), AttributeError, "Conv2d has no parameter 'gain'"),
        (lambda m: m.get_parameter("body.0.running_mean"), AttributeError, "no parameter 'running"),
        (lambda m: m.get_buffer("conv.weight"), AttributeError, "has no buffer 'weight'"),
    ],
)
def test_methods_that_cannot_work_name_the_substitute(call, error, match):
    with pytest.raises(error, match=match):
        call(Net())


def test_errors_inside_a_property_keep_their_message():
    class Broken(nn.Module):
        @property
        def input_ndim(self):
            return self.dimensions

    with pytest.raises(AttributeError, match="'Broken' object has no attribute 'dimensions'"):
        Broken().eager(X)
    assert not hasattr(Broken(), "cuda")


def test_the_tree_is_walked_as_in_torch():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("body.0") is net.body[0]
    assert net.get_parameter("conv.weight") is net.conv.weight
    assert net.get_buffer("body.0.running_var") is net.body[0].running_var
    names = ["body.0.running_mean", "body.0.running_var", "body.0.num_batches_tracked"]
    assert [name for name, _ in net.named_buffers()] == names
    assert len(list(net.buffers())) == 3
    own = list(net.conv.named_parameters(prefix="conv", recurse=False))
    assert [name for name, _ in own] == ["conv.weight", "conv.bias"]
    assert [name for name, _ in net.body.named_parameters("body")] == [
        "body.0.weight",
        "body.0.bias",
    ]
    assert list(net.parameters(recurse=False)) == list(net.buffers(recurse=False)) == []
    statistics = net.body[0].named_buffers("n", recurse=False)
    assert next(statistics)[0] == "n.running_mean"
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Conv2d", "BatchNorm2d", "ReLU", "Sequential", "Net"]


@pytest.mark.parametrize("make", [nn.Sequential, lambda *modules: nn.ModuleList(modules)])
def test_containers_change_as_lists_do(make):
    a, b, c, d = (nn.Linear(2, 2) for _ in range(4))
    plain = [a, b]
    modules = make(a, b)

    def check():
        assert list(modules) == plain
        assert [name for name, _ in modules.named_children()] == [str(i) for i in range(len(plain))]
        assert len(modules.state_dict()) == 2 * len(set(map(id, plain))) or plain.count(a) > 1

    check()
    assert modules.append(c) is modules
    plain.append(c)
    check()
    assert modules.insert(1, d) is modules
    plain.insert(1, d)
    check()
    assert modules.pop() is plain.pop()
    check()
    modules[-1] = c
    plain[-1] = c
    check()
    del modules[0]
    del plain[0]
    check()
    assert modules.extend([a, b]) is modules
    plain.extend([a, b])
    check()
    modules += [a]
    plain += [a]
    check()
    assert type(modules) is type(make())
    both = modules + make(b)
    assert list(both) == [*plain, b]
    del modules[1:3]
    del plain[1:3]
    check()
    assert d in modules
    for change in (lambda m: m.append(3), lambda m: m.insert(0, "relu"), lambda m: m.extend([len])):
        before = list(modules)
        with pytest.raises(TypeError, match="takes modules, got"):
            change(modules)
        assert list(modules) == before
    with pytest.raises(TypeError, match="takes modules, got ndarray"):
        modules[0] = np.zeros(3)
    with pytest.raises(IndexError):
        modules[9] = a


def test_a_changed_container_is_compiled_anew():
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
    before = net(X)
    net.append(nn.Sigmoid())
    np.testing.assert_allclose(net(X), 1 / (1 + np.exp(-before)), rtol=1e-5)
    del net[1:]
    np.testing.assert_allclose(net(X), net.eager(X), rtol=1e-5, atol=1e-6)
    net[0].weight = 2 * net[0].weight
    np.testing.assert_allclose(net(X), net.eager(X), rtol=1e-5, atol=1e-6)


def test_names_of_modules_are_not_lost():
    named = nn.Sequential({"1": nn.ReLU(), "b": nn.Identity()})
    with pytest.raises(ValueError, match="have names, not numbers"):
        named.insert(0, nn.ReLU())
    assert [name for name, _ in named.append(nn.ReLU()).named_children()] == ["1", "b", "2"]
    clash = nn.Sequential({"1": nn.ReLU()})
    with pytest.raises(ValueError, match=r"Sequential.1 exists: .*add_module"):
        clash.append(nn.Sigmoid())
    assert isinstance(clash[0], nn.ReLU)
    assert len(nn.ModuleList(None)) == 0


# ---- Weights -------------------------------------------------------------------------------------


class ResNet18_Weights(enum.Enum):  # torchvision's own name
    IMAGENET1K_V1 = "https://download.pytorch.org/models/resnet18.pth"

    @property
    def url(self):
        return self.value


@pytest.mark.parametrize(
    "weights",
    [
        *("IMAGENET1K_V1", "DEFAULT", "ResNet50_Weights.IMAGENET1K_V2", "IMAGENET1K_SWAG_E2E_V1"),
        ResNet18_Weights.IMAGENET1K_V1,
    ],
)
def test_names_of_torchvisions_weights_say_what_to_pass(weights):
    match = r'torchvision knows: pass weights="hub:timm/resnet18.*(weights\.url|resnet18\.pth)'
    for make in (
        lambda: fastconv.create_model("resnet18", weights=weights),
        lambda: fastconv.models.resnet18(weights),
    ):
        with pytest.raises(ValueError, match=match):
            make()


def test_a_file_of_such_a_name_is_read(tmp_path, monkeypatch):
    model = fastconv.create_model("lenet5")
    monkeypatch.chdir(tmp_path)
    fastconv.weights.save("weights.npz", model.state_dict())
    (tmp_path / "weights.npz").rename("DEFAULT")
    loaded = fastconv.create_model("lenet5", weights="DEFAULT")
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[key], value)
