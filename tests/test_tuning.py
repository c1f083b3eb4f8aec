"""Autotuning: measurements choose among algorithms that agree, and are kept in a file."""

import json
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import fastconv
import numpy as np
import pytest
from fastconv import _core, nn
from fastconv.network import _tuning


@pytest.fixture(autouse=True)
def _poisoned_arenas():
    _core.set_poison_arenas(True)
    yield
    _core.set_poison_arenas(False)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Where measurements are kept; never in the home of who runs the tests."""
    monkeypatch.setenv("FASTCONV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Timer:
    """Pretends that steps take these seconds by algorithm, others one second."""

    def __init__(self, **seconds):
        self.seconds = seconds
        self.calls = 0

    def __call__(self, native, inputs):
        self.calls += 1
        return [self.seconds.get(step["algorithm"], 1.0) for step in native.steps()]


@pytest.fixture
def timer(monkeypatch):
    def install(**seconds):
        fake = Timer(**seconds)
        monkeypatch.setattr(_tuning, "_step_seconds", fake)
        return fake

    return install


class Block(nn.Module):
    """A convolution of each kind, with epilogues; channels fill no whole number of vectors."""

    input_ndim = 4

    def __init__(self):
        self.stem = nn.Conv2d(3, 20, 5, stride=2, padding=2)
        self.conv = nn.Conv2d(20, 20, 3, padding=1)
        self.point = nn.Conv2d(20, 20, 1)
        self.depthwise = nn.Conv2d(20, 20, 3, padding=1, groups=20)
        self.grouped = nn.Conv2d(20, 40, 3, padding=1, groups=4)
        self.head = nn.Linear(40, 7)
        self.reset_parameters(1)

    def forward(self, x):
        x = fastconv.relu(self.stem(x))
        x = fastconv.relu(self.conv(x) + x)
        x = fastconv.silu(self.depthwise(self.point(x)))
        return self.head(fastconv.flatten(fastconv.global_avg_pool2d(self.grouped(x)), 1))


@pytest.fixture
def block():
    return Block()


@pytest.fixture
def conv():
    module = nn.Sequential(nn.Conv2d(20, 36, 3, padding=1), nn.ReLU())
    module.reset_parameters(0)
    return module


def draw(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def convolutions(network):
    return [step for step in network.explain() if step["algorithm"]]


SHAPE = (2, 20, 18, 18)
ALGORITHMS = ("direct", "im2col", "strassen", "winograd2", "winograd4", "depthwise")


def test_another_algorithm_wins(conv, timer):
    rule = conv.compile(SHAPE).explain()[0]
    assert rule["algorithm"] == "winograd4"
    assert not rule["reason"].startswith("tuned")
    timer(direct=0.25, winograd4=0.5, winograd2=0.75)
    network = conv.compile(SHAPE, autotune=True)
    step = network.explain()[0]
    assert step["algorithm"] == "direct"
    assert step["reason"] == "tuned: 250 ms against 500 ms of the rule's winograd4"
    assert step["rejected"]["winograd4"] == "slower: 500 ms against 250 ms"
    assert step["rejected"]["winograd2"] == "slower: 750 ms against 250 ms"
    assert step["rejected"]["depthwise"] == "needs groups == in_channels"
    assert set(step["rejected"]) == {*ALGORITHMS, "winograd6", "reference"} - {"direct"}
    text = str(network.explain(verbose=True))
    assert "    not winograd2: slower: 750 ms against 250 ms" in text.splitlines()
    assert "slower" not in str(network.explain())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if a != "strassen"])
def test_candidates_agree(block, timer, algorithm, dtype):
    block = block.astype(dtype)
    x = draw(3, 3, 33, 29, dtype=dtype)
    timer(**{algorithm: 0.5})
    network = block.compile(x.shape, autotune=True)
    taken = [step["algorithm"] for step in convolutions(network)]
    assert algorithm in taken
    expected = block.astype(np.float64).eager(x.astype(np.float64))
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(network(x), expected, rtol=0, atol=tolerance)


def test_strassen_is_a_candidate(timer):
    conv = nn.Conv2d(64, 96, 1)
    x = draw(2, 64, 9, 9)
    timer(strassen=0.5)
    network = conv.compile(x.shape, accuracy="fastest", autotune=True)
    (step,) = convolutions(network)
    assert step["algorithm"] == step["error_class"] == "strassen"
    expected = conv.astype(np.float64).eager(x.astype(np.float64))
    np.testing.assert_allclose(network(x), expected, rtol=0, atol=1e-5)
    (step,) = convolutions(conv.compile(x.shape, accuracy="exact", autotune=True))
    assert step["rejected"]["strassen"] == "is not exact"
    (step,) = convolutions(conv.compile(x.shape, autotune=True))
    assert "relative to all channels" in step["rejected"]["strassen"]


def test_the_rule_stays_unless_another_is_clearly_faster(conv, timer):
    timer(winograd4=1.0, winograd2=0.98)
    step = conv.compile(SHAPE, autotune=True).explain()[0]
    assert step["algorithm"] == "winograd4"
    assert step["reason"].startswith("tuned: 1e+03 ms, no other")
    assert step["rejected"]["winograd2"].startswith("not clearly faster: 980 ms against")


def test_the_winner_is_measured_again(conv, monkeypatch):
    networks = []

    def seconds(native, inputs):
        if native not in networks:
            networks.append(native)
        algorithm = native.steps()[0]["algorithm"]
        lucky = networks.index(native) < 4
        return [{"direct": 0.5, "im2col": 0.8}.get(algorithm, 1.0) if lucky else 1.0]

    monkeypatch.setattr(_tuning, "_step_seconds", seconds)
    step = conv.compile(SHAPE, autotune=True).explain()[0]
    measured = [native.steps()[0]["algorithm"] for native in networks]
    assert measured == ["winograd4", "winograd2", "direct", "im2col", "direct", "im2col"]
    assert step["algorithm"] == "winograd4"


def test_the_shortest_time_counts(conv, monkeypatch):
    rounds = {}

    def seconds(native, inputs):
        algorithm = native.steps()[0]["algorithm"]
        count = rounds[native] = rounds.get(native, 0) + 1
        if algorithm == "winograd2":  # its first run, which only warms up, is the best
            return [0.1 if count == 1 else 2.0]
        return [0.5 if algorithm == "direct" and count == 5 else 1.0]

    monkeypatch.setattr(_tuning, "_step_seconds", seconds)
    assert conv.compile(SHAPE, autotune=True).explain()[0]["algorithm"] == "direct"


def test_measured_in_earnest(block):
    x = draw(2, 3, 33, 29)
    network = block.compile(x.shape, autotune=True)
    np.testing.assert_allclose(network(x), block.eager(x), rtol=0, atol=1e-4)
    assert all(step["reason"].startswith("tuned: ") for step in convolutions(network))
    for shape in [(0, 3, 33, 29), (3, 33, 29)]:
        x = draw(*shape)
        network = block.compile(shape, autotune=True)
        np.testing.assert_allclose(network(x), block.eager(x), rtol=0, atol=1e-4)


def test_exact_has_the_same_bits(block, timer):
    x = draw(2, 3, 33, 29)
    rule = block.compile(x.shape, accuracy="exact")
    timer(im2col=0.1, winograd4=0.01, depthwise=5.0)
    network = block.compile(x.shape, accuracy="exact", autotune=True)
    steps = {step["name"]: step for step in convolutions(network)}
    assert steps["point"]["algorithm"] == "im2col"
    assert steps["conv"]["algorithm"] == "direct"
    assert (
        steps["conv"]["rejected"]["im2col"] == "the rule prefers direct, which rounds differently"
    )
    assert steps["conv"]["rejected"]["winograd4"] == "is not exact"
    assert steps["depthwise"]["algorithm"] == "depthwise"
    assert np.array_equal(network(x), rule(x))


@pytest.mark.parametrize("seed", range(30))
def test_what_exact_takes_for_the_same_bits_has_them(seed, dtype):
    rng = np.random.default_rng(seed)
    channels, outputs = rng.integers(1, 300), rng.integers(1, 50)
    h, w = rng.integers(3, 12, 2)
    stride = int(rng.integers(1, 3)) if min(h, w) > 5 else 1
    weight = rng.standard_normal((outputs, channels, 1, 1)).astype(dtype)
    x, bias = rng.standard_normal((2, channels, h, w)).astype(dtype), weight[:, 0, 0, 0].copy()
    options = {"stride": stride, "activation": "silu", "accuracy": "exact"}
    direct = fastconv.conv2d(x, weight, bias, algorithm="direct", **options)
    im2col = fastconv.conv2d(x, weight, bias, algorithm="im2col", **options)
    assert direct.tobytes() == im2col.tobytes()


def test_max_workspace(conv, timer):
    x = draw(*SHAPE)
    needs = {
        i.name: i.workspace_bytes for i in fastconv.algorithms(SHAPE, (36, 20, 3, 3), padding=1)
    }
    assert needs["direct"] < needs["winograd4"]
    timer(winograd4=0.1)
    options = {"max_workspace": needs["direct"], "autotune": True}
    network = conv.compile(SHAPE, **options)
    step = network.explain()[0]
    assert step["workspace"] <= needs["direct"]
    assert step["rejected"]["winograd4"].endswith("bytes of workspace, over max_workspace")
    np.testing.assert_allclose(network(x), conv.eager(x), rtol=0, atol=1e-4)
    step = conv.compile(SHAPE, max_workspace=needs["direct"]).explain()[0]
    assert step["reason"] == "the first that max_workspace allows"


def test_measured_once(conv, timer, folder):
    first = timer(direct=0.5)
    conv.compile(SHAPE, autotune=True)
    assert first.calls > 0
    second = timer()
    network = conv.compile(SHAPE, autotune=True)
    assert second.calls == 0
    assert network.explain()[0]["algorithm"] == "direct"
    content = json.loads((folder / "tuning.json").read_text())
    (key,) = content["seconds"]
    config = fastconv.show_config("dict")
    for part in (config["cpu"], config["isa"], fastconv.__version__, "float32 fast"):
        assert part in key
    assert "conv2d+relu x=2x20x18x18/" in key
    assert content["seconds"][key]["direct"] == 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 3},
        {"accuracy": "exact"},
        {"precision": "fp64"},
        {"input_shape": (1, 20, 18, 18)},
        {"input_shape": (2, 20, 18, 17)},
        {"taps": ["0"]},  # without the activation
    ],
    ids=str,
)
def test_measured_anew_for_anything_else(timer, change):
    module = nn.Sequential(nn.Conv2d(20, 36, 1), nn.ReLU())
    options = {"input_shape": SHAPE, "threads": 2, "autotune": True}
    timer()
    module.compile(**options)
    unused = timer()
    module.compile(**options)
    assert unused.calls == 0
    used = timer()
    module.compile(**{**options, **change})
    assert used.calls > 0


def test_measured_anew_by_another_version(conv, timer, monkeypatch):
    timer()
    conv.compile(SHAPE, autotune=True)
    monkeypatch.setattr(_tuning, "__version__", "0.0.1")
    other = timer()
    conv.compile(SHAPE, autotune=True)
    assert other.calls > 0
    assert len(_tuning.load()) == 2


@pytest.mark.parametrize("value", ["off", ""])
def test_no_file(conv, timer, monkeypatch, tmp_path, value):
    monkeypatch.setenv("FASTCONV_CACHE", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):
        used = timer(direct=0.5)
        network = conv.compile(SHAPE, autotune=True)
        assert used.calls > 0
    assert network.explain()[0]["algorithm"] == "direct"
    assert list(tmp_path.iterdir()) == []


def test_where_the_file_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FASTCONV_CACHE", "here")
    assert _tuning.cache_folder() == os.path.abspath("here")
    monkeypatch.delenv("FASTCONV_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _tuning.cache_folder() == str(tmp_path / "xdg" / "fastconv")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert _tuning.cache_folder() == str(tmp_path / ".cache" / "fastconv")


def test_the_file_is_bounded(monkeypatch):
    monkeypatch.setattr(_tuning, "_MAX_ENTRIES", 3)
    for key in "abcad":
        _tuning.store({key: {"direct": 1.0}})
    assert list(_tuning.load()) == ["c", "a", "d"]
    _tuning.store({key: {"direct": 2.0} for key in "efgh"})
    assert _tuning.load() == {key: {"direct": 2.0} for key in "fgh"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[" * 100_000,
        b'{"seconds": {"k": {"direct": 1.0}}}',
        b'{"schema": 2, "seconds": {"k": {"direct": 1.0}}}',
        b'{"schema": 1, "seconds": [1]}',
        b'{"schema": 1, "seconds": {"k": {"direct": "1"}, "l": 3, "m": {"direct": NaN}}}',
        b'{"schema": 1, "seconds": {"k": {"direct": -1.0}, "l": {"direct": Infinity}}}',
    ],
)
def test_a_broken_file_is_rewritten(folder, content):
    folder.mkdir()
    (folder / "tuning.json").write_bytes(content)
    assert _tuning.load() == {}
    _tuning.store({"key": {"direct": 1.0}})
    assert _tuning.load() == {"key": {"direct": 1.0}}
    assert sorted(os.listdir(folder)) == ["tuning.json", "tuning.json.lock"]


def test_a_folder_that_cannot_be_written(conv, timer, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(_tuning, "_reported", set())
    monkeypatch.setenv("FASTCONV_CACHE", str(tmp_path / "file" / "cache"))
    timer(direct=0.5)
    with pytest.warns(RuntimeWarning, match="FASTCONV_CACHE: .* cannot be kept in .*file"):
        network = conv.compile(SHAPE, autotune=True)
    assert network.explain()[0]["algorithm"] == "direct"
    conv.compile(SHAPE, autotune=True)  # it is said once
    monkeypatch.delenv("FASTCONV_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert conv.compile(SHAPE, autotune=True).explain()[0]["algorithm"] == "direct"


def test_a_failing_write_leaves_the_file(folder, monkeypatch):
    _tuning.store({"key": {"direct": 1.0}})

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    monkeypatch.setattr(_tuning, "_reported", set())
    with pytest.warns(RuntimeWarning, match="No space left"):
        _tuning.store({"other": {"direct": 1.0}})
    assert _tuning.load() == {"key": {"direct": 1.0}}
    assert sorted(os.listdir(folder)) == ["tuning.json", "tuning.json.lock"]


def test_a_lock_that_nobody_opens(folder, monkeypatch):
    monkeypatch.setattr(_tuning, "_LOCK_SECONDS", 0.01)
    folder.mkdir()
    with _tuning._locked(str(folder)):
        _tuning.store({"key": {"direct": 1.0}})
    assert _tuning.load() == {"key": {"direct": 1.0}}


def _write(number, folder, barrier):
    os.environ["FASTCONV_CACHE"] = folder
    _tuning._LOCK_SECONDS = 60
    barrier.wait()
    for i in range(25):
        _tuning.store({f"{number} {i}": {"direct": 1.0 + i}})


def test_processes_write_at_once(folder):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    writers = [context.Process(target=_write, args=(n, str(folder), barrier)) for n in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        _tuning.load()  # readers see no half of a file
        if (folder / "tuning.json").exists():
            json.loads((folder / "tuning.json").read_text())
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert _tuning.load() == {f"{n} {i}": {"direct": 1.0 + i} for n in range(4) for i in range(25)}


def test_choices_are_the_networks(conv, timer, monkeypatch):
    """Pickles and taps keep them, even where there is no file."""
    monkeypatch.setenv("FASTCONV_CACHE", "off")
    module = nn.Sequential(*conv, nn.Conv2d(36, 36, 3, padding=1))
    module.reset_parameters(0)
    x = draw(*SHAPE)
    timer(direct=0.5)
    network = module.compile(SHAPE, autotune=True)
    unused = timer(im2col=0.1)
    loaded = pickle.loads(pickle.dumps(network))
    assert [step["algorithm"] for step in loaded.explain()] == ["direct", "direct"]
    assert loaded.explain() == network.explain()
    assert np.array_equal(loaded(x), network(x))
    y, taps = network(x, taps=["1"])
    assert np.array_equal(y, network(x))
    np.testing.assert_allclose(taps["1"], conv.eager(x), rtol=0, atol=1e-4)
    assert unused.calls == 0
    network(x, taps=["0"])  # a convolution without its activation is another task
    assert unused.calls > 0


def test_without_weights(conv, timer):
    timer(direct=0.5)
    x = draw(*SHAPE)
    network = conv.compile(SHAPE, autotune=True, keep_weights=False)
    assert network.explain()[0]["algorithm"] == "direct"
    np.testing.assert_allclose(network(x), conv.eager(x), rtol=0, atol=1e-4)


def test_threads_tune_one_after_the_other(conv, monkeypatch):
    busy = threading.Lock()

    def seconds(native, inputs):
        assert busy.acquire(blocking=False), "two networks are measured at once"
        try:
            native.profile(inputs)
            return [0.5 if native.steps()[0]["algorithm"] == "direct" else 1.0]
        finally:
            busy.release()

    monkeypatch.setattr(_tuning, "_step_seconds", seconds)
    monkeypatch.setenv("FASTCONV_CACHE", "off")
    x = draw(*SHAPE)
    start = threading.Barrier(4)

    def run(_):
        start.wait()
        return conv.compile(SHAPE, autotune=True)(x)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(4)))
    assert all(np.array_equal(results[0], y) for y in results)


class Pair(nn.Module):
    """A 1x1 and a depthwise convolution with more between them than L2 holds; 3x3 around them."""

    def __init__(self):
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.expand = nn.Conv2d(16, 800, 1)
        self.depthwise = nn.Conv2d(800, 800, 3, padding=1, groups=800, bias=False)
        self.norm = nn.BatchNorm2d(800)
        self.project = nn.Conv2d(800, 16, 1)
        self.last = nn.Conv2d(16, 16, 3, padding=1)
        self.reset_parameters(0)

    def forward(self, x):
        return self.last(self.project(self.norm(self.depthwise(self.expand(self.stem(x))))))


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd2"])
def test_a_pair_that_is_one_step_stays_one(timer, algorithm):
    module = Pair()
    x = draw(3, 3, 37, 35)
    rule = module.compile(x.shape).explain()
    (joined,) = (step for step in rule if step["name"] == "expand, depthwise")
    timer(**{algorithm: 0.5})
    network = module.compile(x.shape, autotune=True)
    steps = network.explain()
    assert [step["name"] for step in steps] == [step["name"] for step in rule]
    assert joined in steps
    assert algorithm in [step["algorithm"] for step in steps]
    assert all(
        step["reason"].startswith("tuned") for step in convolutions(network) if step != joined
    )
    np.testing.assert_allclose(network(x), module.eager(x), rtol=0, atol=1e-4)
    assert joined["rejected"] == {}


def test_weights_that_keep_a_pair_apart(timer):
    """Where normalization makes weights infinite the plan has two steps, as the network has."""
    module = Pair()
    module.norm.weight = np.full(800, 3e38, np.float32)
    module.depthwise.weight = np.full((800, 1, 3, 3), 2, np.float32)
    timer(direct=0.5)
    steps = module.compile((3, 3, 37, 35), autotune=True).explain()
    assert "expand, depthwise" not in [step["name"] for step in steps]
    assert all(step["reason"].startswith("tuned") for step in steps if step["macs"])


def test_the_rule_explains_what_it_rejects(block):
    steps = {step["name"]: step for step in convolutions(block.compile((1, 3, 33, 29)))}
    for step in steps.values():
        everything = {*ALGORITHMS, "winograd6", "reference"}
        assert {step["algorithm"], *step["rejected"]} == everything
        assert all(step["rejected"].values())
        assert not {"value", "task", "considered"} & set(step)
    assert steps["conv"]["rejected"]["direct"] == f"the rule prefers {steps['conv']['algorithm']}"
    assert steps["stem"]["rejected"]["winograd4"] == "needs a 3x3 kernel"
    assert steps["depthwise"]["rejected"]["reference"].startswith("plain loops")
    assert steps["depthwise"]["rejected"]["winograd2"].startswith("with one input channel a group")


def test_algorithms_that_the_weights_forbid(timer, folder):
    """Where rounding would break the bound another algorithm runs; its times are not kept."""
    conv = nn.Conv2d(64, 64, 3, padding=1, bias=False)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((64, 64, 3, 3)) * np.exp(2 * rng.standard_normal((64, 64, 3, 3)))
    conv.weight = weight.astype(np.float32)
    shape = (1, 64, 28, 28)
    rule = conv.compile(shape).explain()[0]
    assert rule["algorithm"] == "winograd2"
    assert rule["rejected"]["winograd4"] == rule["reason"]
    assert "with these weights" in rule["reason"]
    timer(winograd4=0.1)
    step = conv.compile(shape, autotune=True).explain()[0]
    assert (step["algorithm"], step["reason"]) == (rule["algorithm"], rule["reason"])
    assert _tuning.load() == {}
    timer(direct=0.1)
    step = conv.compile(shape, autotune=True).explain()[0]
    assert step["algorithm"] == "direct"
    assert step["reason"].startswith("tuned: 100 ms")
