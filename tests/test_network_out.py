"""`network(x, out=...)`: the same bits in the caller's arrays, or an error that says why not."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import fastconv
import numpy as np
import pytest
from fastconv import _core, nn
from test_network import RandomNetwork

SHAPE = (2, 3, 12, 10)
OUT = (2, 8, 12, 10)


class Image(nn.Module):
    """Ends with a convolution: its step writes the output."""

    input_ndim = 4

    def __init__(self):
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return self.last(fastconv.relu(self.conv(x)))


class Logits(Image):
    """Ends with a linear layer."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(fastconv.mean(super().forward(x), (2, 3)))


class Copied(Image):
    """Ends with what no step computes in place: elements are moved to the output."""

    def forward(self, x):
        return super().forward(x)[:, ::2, 1:, ::-1]


class Several(Image):
    """An output that another one is computed from, one of them twice, and the input."""

    def forward(self, x):
        y = super().forward(x)
        return y, fastconv.relu(y), y, x


class Listed(Image):
    def forward(self, x):
        y = super().forward(x)
        return [y, fastconv.sigmoid(y)]


@pytest.fixture(autouse=True)
def _poisoned_arenas():
    _core.set_poison_arenas(True)
    yield
    _core.set_poison_arenas(False)


def draw(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def made(kind, dtype=np.float32):
    module = kind()
    module.reset_parameters(1)
    return module.astype(dtype)


def unwritten(like):
    return np.full_like(like, np.nan)


def same_bits(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert np.ascontiguousarray(actual).tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize("kind", [Image, Logits, Copied])
def test_gives_the_same_bits(kind, dtype):
    network = made(kind, dtype).compile(SHAPE)
    x = draw(SHAPE, dtype)
    expected = network(x)
    out = unwritten(expected)
    for _ in range(2):
        assert network(x, out=out) is out
        same_bits(out, expected)
        x, expected = -x, network(-x)


@pytest.mark.parametrize(
    "options", [{"accuracy": "exact"}, {"keep_weights": False}, {"threads": 2}]
)
def test_with_options(options):
    network = made(Image).compile(SHAPE, **options)
    x = draw(SHAPE)
    out = unwritten(network(x))
    same_bits(network(x, out=out), network(x))


def padded(shape, dtype):
    """Return a view in the middle of a larger array, and all elements of that beside it."""
    whole = np.full([size + 2 for size in shape], np.nan, dtype)
    return whole[tuple(slice(1, -1) for _ in shape)], whole


VIEWS = {
    "padded": lambda shape, dtype: padded(shape, dtype),
    "channels last": lambda shape, dtype: (
        (y := np.full((shape[0], *shape[2:], shape[1]), np.nan, dtype)).transpose(0, 3, 1, 2),
        y,
    ),
    "reversed": lambda shape, dtype: ((y := np.full(shape, np.nan, dtype))[:, ::-1, :, ::-1], y),
    "fortran": lambda shape, dtype: ((y := np.full(shape, np.nan, dtype, order="F")), y),
    "offset by an element": lambda shape, dtype: (
        (y := np.full(int(np.prod(shape)) + 2, np.nan, dtype))[1:-1].reshape(shape),
        y,
    ),
    "misaligned": lambda shape, dtype: (
        np.frombuffer(
            bytearray(int(np.prod(shape)) * np.dtype(dtype).itemsize + 3), np.uint8
        )[3:].view(dtype).reshape(shape),
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("view", VIEWS)
def test_any_strides(view, dtype):
    network = made(Image, dtype).compile(SHAPE)
    x = draw(SHAPE, dtype)
    out, whole = VIEWS[view](OUT, dtype)
    assert np.shares_memory(out, out if whole is None else whole)
    assert network(x, out=out) is out
    same_bits(out, network(x))
    if whole is not None:  # nothing is written beside it
        assert np.isnan(whole).sum() == whole.size - out.size


def test_is_written_in_place(monkeypatch):
    """Native code gets the caller's array itself; no step of the network copies to it."""
    network = made(Image).compile(SHAPE)
    given = []

    class Native:
        def __init__(self, native):
            self.overlaps_constants, self._run = native.overlaps_constants, native.run

        def run(self, arrays, outs):
            given.extend(outs)
            return self._run(arrays, outs)

    monkeypatch.setattr(network, "_native", Native(network._native))
    out = np.empty(OUT, np.float32)
    network(draw(SHAPE), out=out)
    assert given[0] is out
    assert [step["op"] for step in made(Image).compile(SHAPE).explain()][-1] == "conv2d"


def test_empty_batch():
    network = made(Image).compile((0, 3, 12, 10))
    out = np.empty((0, 8, 12, 10), np.float32)
    assert network(np.empty((0, 3, 12, 10), np.float32), out=out) is out


def test_unbatched_images():
    network = made(Image).compile(SHAPE[1:])
    x = draw(SHAPE[1:])
    out = np.full(OUT[1:], np.nan, np.float32)
    assert network(x, out=out) is out
    same_bits(out, network(x))
    strided, _ = padded(OUT[1:], np.float32)
    same_bits(network(x, out=strided), network(x))
    with pytest.raises(
        ValueError, match=r"out must have shape \(8, 12, 10\), got \(1, 8, 12, 10\)"
    ):
        network(x, out=out[None])


def test_several_outputs():
    network = made(Several).compile(SHAPE)
    x = draw(SHAPE)
    expected = network(x)
    outs = tuple(map(unwritten, expected))
    assert network(x, out=outs) is outs
    listed = list(map(unwritten, expected))
    assert network(x, out=listed) is listed
    for results in (outs, listed):
        for result, value in zip(results, expected, strict=True):
            same_bits(result, value)
    network = made(Listed).compile(SHAPE)
    outs = [unwritten(y) for y in network(x)]
    assert network(x, out=outs) is outs
    for result, value in zip(outs, network(x), strict=True):
        same_bits(result, value)


def test_some_of_several_outputs_are_strided():
    network = made(Several).compile(SHAPE)
    x = draw(SHAPE)
    strided, _ = padded(OUT, np.float32)
    outs = (np.empty(OUT, np.float32), strided, *map(np.empty_like, network(x)[2:]))
    for result, value in zip(network(x, out=outs), network(x), strict=True):
        same_bits(result, value)


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs(seed, dtype):
    network = RandomNetwork(seed).compile((2, 3, 17, 14), precision=f"fp{dtype().nbytes * 8}")
    x = draw((2, 3, 17, 14), dtype, seed)
    expected = network(x)
    outs = tuple(map(unwritten, expected))
    assert network(x, out=outs) is outs
    for result, value in zip(outs, expected, strict=True):
        same_bits(result, value)


def test_taps_are_new_arrays():
    network = made(Image).compile(SHAPE, taps=["conv"])
    x = draw(SHAPE)
    for taps in (None, ["conv"], ["conv", "last"], []):
        out = np.full(OUT, np.nan, np.float32)
        y, values = network(x, taps=taps, out=out)
        assert y is out
        expected, expected_values = network(x, taps=taps)
        same_bits(out, expected)
        assert values.keys() == expected_values.keys()
        for name, value in values.items():
            same_bits(value, expected_values[name])
            assert not np.shares_memory(value, out)


def test_pickled_networks():
    network = made(Several).compile(SHAPE)
    again = pickle.loads(pickle.dumps(network))
    x = draw(SHAPE)
    expected = network(x)
    for result, value in zip(again(x, out=tuple(map(unwritten, expected))), expected, strict=True):
        same_bits(result, value)


def test_concurrent_calls_write_to_their_own():
    network = made(Logits).compile(SHAPE)
    inputs = [draw(SHAPE, seed=seed) for seed in range(8)]
    expected = [network(x) for x in inputs]
    outs = [unwritten(y) for y in expected]
    start = threading.Barrier(8)

    def run(i):
        start.wait()
        for _ in range(30):
            outs[i].fill(np.nan)
            assert network(inputs[i], out=outs[i]) is outs[i]
            same_bits(outs[i], expected[i])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))


# ---- Errors --------------------------------------------------------------------------------------


def read_only():
    out = np.empty(OUT, np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        (np.empty(SHAPE, np.float32), ValueError, r"out must have shape \(2, 8, 12, 10\), got"),
        (np.empty(OUT[1:], np.float32), ValueError, r"out must have shape .* got \(8, 12, 10\)"),
        (np.empty(OUT), TypeError, "out must be float32 as the other arrays, got float64"),
        (np.empty(OUT, ">f4"), TypeError, "out must be float32 as the other arrays, got >f4"),
        (np.empty(OUT).tolist(), TypeError, "out must be a numpy.ndarray, got list"),
        ((np.empty(OUT, np.float32),), TypeError, "out must be a numpy.ndarray, got tuple"),
        (read_only(), ValueError, "out is read-only"),
        (np.broadcast_to(np.float32(0), OUT), ValueError, "out is read-only"),
        (
            np.lib.stride_tricks.as_strided(np.empty(OUT[1:], np.float32), OUT, (0, 480, 40, 4)),
            ValueError,
            r"out has elements that share memory: its strides are \(0, 480, 40, 4\)",
        ),
    ],
)
def test_arrays_that_cannot_take_the_output(out, error, match):
    network = made(Image).compile(SHAPE)
    with pytest.raises(error, match=match):
        network(draw(SHAPE), out=out)


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        (np.empty(OUT, np.float32), TypeError, "a tuple of 4 arrays, .* got ndarray"),
        ((np.empty(OUT, np.float32),) * 3, TypeError, "a tuple of 4 arrays, .* got 3"),
        ((np.empty(OUT, np.float32), None, None, None), TypeError, r"out\[1\] must be .* got None"),
        (
            (np.empty(OUT, np.float32), np.empty(OUT), None, None),
            TypeError,
            r"out\[1\] must be float32 as the other arrays, got float64",
        ),
    ],
)
def test_tuples_that_cannot_take_the_outputs(out, error, match):
    network = made(Several).compile(SHAPE)
    with pytest.raises(error, match=match):
        network(draw(SHAPE), out=out)


def test_out_overlaps_x():
    module = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1))
    network = module.compile(OUT)
    whole = draw((3, *OUT[1:]))
    for x, out in (
        (whole[:2], whole[:2]),
        (whole[:2], whole[1:]),
        (whole[:2, :, ::-1], whole[1:]),  # of which a contiguous copy is made
    ):
        before = whole.copy()
        with pytest.raises(ValueError, match="out overlaps x: pass an array of its own"):
            network(x, out=out)
        same_bits(whole, before)
    apart = np.empty((2, 16, 12, 10), np.float32)  # interleaved without an overlap
    apart[:, ::2] = whole[:2]
    expected = network(whole[:2])
    same_bits(network(apart[:, ::2], out=apart[:, 1::2]), expected)


def test_outs_overlap_each_other():
    network = made(Listed).compile(SHAPE)
    whole = np.empty((3, *OUT[1:]), np.float32)
    misaligned = np.empty(whole.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(whole.shape)
    for array in (whole, misaligned):
        with pytest.raises(ValueError, match=r"out\[1\] overlaps out\[0\]"):
            network(draw(SHAPE), out=(array[:2], array[1:]))


def test_out_overlaps_an_array_that_the_network_reads():
    """Nobody can write to such an array, unless its flag is changed afterwards."""
    table = draw((2, 8, 6, 5))
    table.flags.writeable = False

    class Shifted(nn.Module):
        def forward(self, x):
            return x + table[0]

    network = Shifted().compile((1, 8, 6, 5))
    table.flags.writeable = True
    x = draw((1, 8, 6, 5), seed=1)
    expected = x + table[0]
    for out in (table[:1], table[:1, ::-1, ::-1, ::-1], table[:, ::2].reshape(1, 8, 6, 5)):
        if np.shares_memory(out, table):
            with pytest.raises(ValueError, match="out overlaps an array that the network reads"):
                network(x, out=out)
        else:
            same_bits(network(x, out=out), expected)
    same_bits(network(x, out=table[1:]), expected)  # its neighbour is free
    same_bits(network(x), expected)


def test_taps_and_out_are_keywords():
    network = made(Image).compile(SHAPE)
    with pytest.raises(TypeError, match="the network takes x: got 2 arrays"):
        network(draw(SHAPE), ["conv"])
