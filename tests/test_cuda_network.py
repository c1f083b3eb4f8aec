"""Networks compiled for a CUDA device give what they give on the CPU."""

from __future__ import annotations

import itertools
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import fastconv
import numpy as np
import pytest
from fastconv import cuda, nn
from test_network import RandomNetwork, check, draw

pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True)
def _poisoned_arenas():
    """Every run starts with NaN in its arena, so that reading what nobody wrote shows."""
    from fastconv import _cuda

    _cuda.set_poison_arenas(True)
    yield
    _cuda.set_poison_arenas(False)


def on_host(values):
    if isinstance(values, tuple):
        return tuple(map(on_host, values))
    assert type(values) is cuda.Array
    return values.numpy()


class Small(nn.Module):
    input_ndim = 4

    def __init__(self, channels=8):
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels))
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.depthwise = nn.Conv2d(channels, channels, 3, 2, 1, groups=channels)
        self.head = nn.Linear(channels * 16, 10)

    def forward(self, x):
        x = fastconv.relu(self.stem(x))
        x = fastconv.relu(self.conv(x) + x)
        return self.head(fastconv.flatten(self.depthwise(x), 1))


def small(seed=0, **options):
    module = Small(**options)
    module.reset_parameters(seed)
    return module


X = draw((2, 3, 8, 8))


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed):
    module = RandomNetwork(seed, kinds=RandomNetwork.kinds + RandomNetwork.kinds_with_steps)
    x = draw((2, 5, 11, 11), seed=seed)
    expected = module(x)
    network = module.compile(x.shape, device="cuda")
    for _ in range(3):  # step by step, captured, launched again
        check(network(x), expected)
    check(on_host(network(cuda.asarray(x))), expected)


# The smallest of each family, and the size of its image. In the emulation those of more
# multiplications take up to two minutes each.
MODELS = {
    "lenet5": 32, "squeezenet1_1": 32, "shufflenet_v2_x0_5": 32, "mobilenet_v2": 32,
    "mobilenet_v3_small": 32, "mnasnet0_5": 32, "googlenet": 32,
}  # fmt: skip
LARGER_MODELS = {
    "alexnet": 64, "vgg11": 32, "resnet18": 32, "seresnet18": 32, "resnext50_32x4d": 32,
    "wide_resnet50_2": 32, "densenet121": 32, "inception_v3": 75, "mobilenetv1_100": 32,
    "efficientnet_b0": 32, "efficientnet_v2_s": 32, "efficientnet_lite0": 32,
    "regnet_x_400mf": 32, "regnet_y_400mf": 32, "convnext_tiny": 32,
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [*MODELS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER_MODELS)]
)
def test_models(name):
    model = fastconv.models.create_model(name, seed=1)
    size = (MODELS | LARGER_MODELS)[name]
    x = draw((1, model.default_cfg["input_size"][0], size, size))
    network = model.compile(x.shape, device="cuda")
    check(network(x), model(x))


UNIT_ROUNDOFF = {"tf32": 2.0**-11, "fp16": 2.0**-11, "bf16": 2.0**-8}


@pytest.mark.parametrize("precision", UNIT_ROUNDOFF)
def test_low_precision_stays_within_its_bound(precision):
    rng = np.random.default_rng(7)
    sizes = (5, 16, 24, 8)
    weights = [
        rng.standard_normal((o, i, 3, 3)).astype(np.float32) / np.sqrt(9 * i)
        for i, o in itertools.pairwise(sizes)
    ]

    class Chain(nn.Module):
        def forward(self, x):
            for weight in weights:
                x = fastconv.conv2d(x, weight, padding=1, activation="relu")
            return x

    x = draw((2, 5, 9, 9))
    y = Chain().compile(x.shape, device="cuda", precision=precision)(x)
    assert y.dtype == np.float32
    # Every operand is off by `error` and rounded once more; sums of float32 add far less.
    u = UNIT_ROUNDOFF[precision]
    exact, error = x.astype(np.float64), np.zeros(x.shape)
    for weight in weights:
        w = weight.astype(np.float64)
        error = error + u * (abs(exact) + error)
        reach = fastconv.conv2d(abs(exact) + error, abs(w), padding=1)
        error = fastconv.conv2d(error, abs(w), padding=1) + 1.001 * u * reach
        exact = fastconv.conv2d(exact, w, padding=1, activation="relu")
        error += u * (abs(exact) + error)
    assert (abs(y - exact) <= 1.01 * error).all()
    assert abs(y - exact).max() > 1e-5  # and it is no fp32


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("seed", range(6))
def test_random_graphs_of_16_bits_run(seed, precision):
    module = RandomNetwork(seed, kinds=RandomNetwork.kinds)
    x = draw((2, 5, 11, 11), seed=seed)
    expected = module(x)[0]  # a softmax
    y = module.compile(x.shape, device="cuda", precision=precision)(x)[0]
    np.testing.assert_allclose(y, expected, rtol=0, atol=40 * UNIT_ROUNDOFF[precision])


def test_exact_is_exact_on_integers_at_any_batch_size():
    rng = np.random.default_rng(3)
    integers = lambda *shape: rng.integers(-3, 4, shape).astype(np.float32)  # noqa: E731
    weights = integers(64, 64, 3, 3), integers(16, 64, 1, 1)

    class Integers(nn.Module):
        def forward(self, x):
            y = fastconv.conv2d(x, weights[0], padding=1, activation="relu")
            return fastconv.conv2d(y, weights[1])

    x = integers(3, 64, 16, 16)
    expected = Integers().compile(x.shape, accuracy="exact")(x)
    network = Integers().compile(x.shape, device="cuda", accuracy="exact")
    assert (network(x) == expected).all()
    assert {step["error_class"] for step in network.explain()} <= {"", "exact"}
    one = Integers().compile((1, *x.shape[1:]), device="cuda", accuracy="exact")
    assert (one(x[1:2]) == expected[1:2]).all()


def test_networks_give_back_what_they_get():
    module = small()
    network = module.compile(X.shape, device="cuda")
    y = network(X)
    assert type(y) is np.ndarray
    there = network(cuda.asarray(X))
    assert type(there) is cuda.Array
    assert there.device == "cuda:0"
    np.testing.assert_array_equal(there.numpy(), y)
    # Any strides: channels last.
    swapped = cuda.asarray(np.ascontiguousarray(X.transpose(0, 2, 3, 1)))

    class ChannelsLast:
        n, h, w, c = swapped.strides
        __cuda_array_interface__ = {  # noqa: RUF012
            **swapped.__cuda_array_interface__, "shape": X.shape, "strides": (n, c, h, w)
        }  # fmt: skip

    np.testing.assert_array_equal(network(ChannelsLast()).numpy(), y)


def test_out():
    network = small().compile(X.shape, device="cuda")
    y = network(X)
    for out in (np.full_like(y, np.nan), np.full((*y.shape, 2), np.nan, np.float32)[..., 1]):
        assert network(X, out=out) is out
        np.testing.assert_array_equal(out, y)
    with pytest.raises(TypeError, match=r"out must be a numpy\.ndarray, got Array"):
        network(X, out=cuda.asarray(y))
    with pytest.raises(TypeError, match="out cannot be given for inputs on a device"):
        network(cuda.asarray(X), out=y)
    unbatched = small().compile(X.shape[1:], device="cuda")
    assert unbatched(X[0], out=y[0]).base is y
    np.testing.assert_array_equal(y[0], unbatched(X[0]))


def test_unbatched_images():
    network = small().compile(X.shape[1:], device="cuda")
    expected = small()(X[0])
    check(network(X[0]), expected)
    check(on_host(network(cuda.asarray(X[0]))), expected)
    assert len(network.profile(X[0], repeats=1)) == len(network.explain())


def test_a_model_called_on_device_arrays_stays_there():
    module = small()
    for n in (2, 5, 1):  # the first packs, the others share
        x = draw((n, 3, 8, 8), seed=n)
        check(on_host(module(cuda.asarray(x))), module(x))
    check(on_host(module(cuda.asarray(X[0]))), module(X[0]))
    module.head.weight = module.head.weight * 2
    check(on_host(module(cuda.asarray(X))), module(X))
    with pytest.raises(TypeError, match="the input x has dtype float64"):
        module(cuda.asarray(X.astype(np.float64)))


def test_taps():
    module = small()
    network = module.compile(X.shape, device="cuda", taps=["stem"])
    y, taps = network(X)
    expected, expected_taps = module.compile(X.shape, taps=["stem"])(X)
    check(y, expected)
    check(taps["stem"], expected_taps["stem"])
    y, taps = network(cuda.asarray(X), taps=["conv", "stem"])
    check(on_host(taps["stem"]), expected_taps["stem"])
    assert list(taps) == ["conv", "stem"]


def test_pickling_and_dropping_weights():
    network = small().compile(X.shape, device="cuda", precision="tf32")
    again = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(again(X), network(X))
    dropped = small().compile(X.shape, device="cuda", keep_weights=False)
    check(dropped(X), small()(X))
    assert dropped.memory["weights"] == 0 < dropped.memory["packed"]
    with pytest.raises(TypeError, match="keep_weights=False and cannot be pickled"):
        pickle.dumps(dropped)


def test_many_threads_at_once():
    network = small().compile(X.shape, device="cuda")
    inputs = [draw(X.shape, seed=i) for i in range(12)]
    expected = [small()(x) for x in inputs]
    barrier = threading.Barrier(4)

    def work(i):
        barrier.wait()
        return network(inputs[i]), network(cuda.asarray(inputs[i])).numpy()

    with ThreadPoolExecutor(4) as pool:
        for (a, b), e in zip(pool.map(work, range(12)), expected, strict=True):
            check(a, e)
            np.testing.assert_array_equal(a, b)


def test_large_batches_take_wgmma_on_a_device_that_has_it(run_source):
    """Captured, too: a graph has tensor maps of the addresses it was captured with, which stay."""
    if fastconv.show_config("dict")["cuda"]["architectures"] != "emulated":
        pytest.skip("the device is what it is")
    source = """
        import numpy as np
        import fastconv
        from fastconv import nn

        class Block(nn.Module):
            input_ndim = 4

            def __init__(self):
                self.first = nn.Conv2d(32, 64, 1)
                self.second = nn.Conv2d(64, 48, (1, 3), (2, 1), (0, 1))

            def forward(self, x):
                return self.second(fastconv.relu(self.first(x)))

        rng = np.random.default_rng(0)
        block = Block()
        block.load_state_dict({
            name: rng.integers(-2, 3, array.shape).astype(np.float32)
            for name, array in block.state_dict().items()
        })
        x = rng.integers(-2, 3, (6, 32, 58, 100)).astype(np.float32)
        expected = block(x)
        for batch, algorithm in ((6, "wgmma"), (1, "implicit_gemm")):
            network = block.compile((batch, *x.shape[1:]), device="cuda", precision="tf32")
            steps = [step["algorithm"] for step in network.explain() if step["macs"]]
            assert steps == [algorithm] * 2, steps
            for _ in range(3):
                np.testing.assert_array_equal(network(x[-batch:]), expected[-batch:])
    """
    run_source(source, FASTCONV_EMULATION_CAPABILITY="9.0")


def test_steps_say_what_runs():
    network = small().compile(X.shape, device="cuda")
    steps = network.explain()
    assert [step["op"] for step in steps] == [
        "copy", "conv2d+relu", "conv2d+add+relu", "conv2d", "copy", "linear", "copy"
    ]  # fmt: skip
    assert [step["algorithm"] for step in steps if step["macs"]] == [
        "implicit_gemm", "implicit_gemm", "depthwise", "implicit_gemm"
    ]  # fmt: skip
    assert set(steps[3]["rejected"]) == {"implicit_gemm", "winograd4", "wgmma"}
    assert steps.total["macs"] == small().compile(X.shape).explain().total["macs"]
    profile = network.profile(X, repeats=2)
    assert [step["op"] for step in profile] == [step["op"] for step in steps]
    assert profile.total["seconds"] > 0
    assert "of_peak" not in profile.total
    assert "ms" in str(profile)
    assert "of peak" not in str(profile)
    assert network.memory["arena"] > 0


class Joined(nn.Module):
    """Concatenations whose parts are written in place, one within another."""

    def __init__(self):
        self.a, self.b, self.c = (
            nn.Conv2d(4, 8, 1),
            nn.Conv2d(8, 5, 3, padding=1),
            nn.Conv2d(13, 6, 1),
        )

    def forward(self, x):
        a = fastconv.relu(self.a(x))
        ab = fastconv.concat([a, fastconv.silu(self.b(a))], 1)
        abc = fastconv.concat([ab, self.c(ab)], 1)
        return fastconv.max_pool2d(abc, 2)


def test_concatenating_channels_costs_nothing():
    module, x = Joined(), draw((2, 4, 6, 6))
    network = module.compile(x.shape, device="cuda")
    assert "concat" not in [step["op"] for step in network.explain()]
    check(network(x), module(x))


def test_moving_elements_costs_nothing_where_strides_do():
    class Moves(nn.Module):
        def forward(self, x):
            y = fastconv.permute(x[:, 1:, ::2], (0, 2, 3, 1))
            return fastconv.relu(fastconv.reshape(y, (2, 3, 18)))

    x = draw((2, 4, 6, 6))
    network = Moves().compile(x.shape, device="cuda")
    check(network(x), Moves()(x))
    assert [step["op"] for step in network.explain()] == ["copy", "copy", "activation", "copy"]


PRELU = "t0 = less(x0, 0); t1 = multiply(x0, x1); where(t0, t1, x0)"


class Parametrised(nn.Module):
    """Epilogues with parameters, a program of several steps, and masks between steps."""

    input_ndim = 4

    def __init__(self):
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b, self.c = nn.Conv2d(8, 8, 1), nn.Linear(8, 5)

    def forward(self, x):
        x = fastconv.leaky_relu(self.a(x), 0.3)
        x = fastconv.clip(self.b(x) + x, -0.25, 0.5)
        slopes = np.linspace(-1, 2, 8, dtype=np.float32)[:, None, None]
        if isinstance(x, np.ndarray):
            x = np.where(x < 0, x * slopes, x)
        else:
            x = x.__fastconv_record__("pointwise", (x, slopes), {"program": PRELU})
        below = fastconv.logical_not(fastconv.equal(x, 0.5))
        mask = fastconv.logical_and(fastconv.greater(x, -0.1), below)
        x = fastconv.where(mask, fastconv.exp(x), fastconv.subtract(1, x))
        return fastconv.maximum(self.c(fastconv.mean(x, (2, 3))), 0)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 2e-2)])
def test_pointwise_operators_and_epilogues_with_parameters(precision, tolerance):
    module, x = Parametrised(), draw((2, 3, 6, 6))
    module.reset_parameters(0)
    network = module.compile(x.shape, device="cuda", precision=precision)
    for _ in range(2):
        np.testing.assert_allclose(network(x), module.eager(x), rtol=0, atol=tolerance)
    steps = [step["op"] for step in network.explain() if step["op"] != "copy"]
    assert steps == [
        "conv2d+leaky_relu(0.3)",
        "conv2d+add+clip(-0.25, 0.5)",
        *("less", "scale_shift", "where", "equal", "logical_not", "greater", "logical_and"),
        *("exp", "subtract", "where", "mean", "linear+clip(0, inf)"),
    ]
    check(module(cuda.asarray(x)).numpy(), module.eager(x))


@pytest.mark.parametrize(
    "program",
    [
        "t0 = greater(x0, 0); t1 = expm1(x0); t2 = multiply(t1, 0.75); where(t0, x0, t2)",
        "t0 = clip(x0, -0.5, 0.5); subtract(x0, t0)",
        "t0 = abs(x0); t1 = add(t0, 1); t2 = divide(x0, t1); multiply(t2, t2)",
        "minimum(0.25, x0)",
        "t0 = gelu(x0); t1 = negative(t0); t2 = silu(t1); subtract(t0, t2)",
    ],
)
def test_programs_of_several_steps_run_step_by_step(program):
    class Network(nn.Module):
        def forward(self, x):
            return x.__fastconv_record__("pointwise", (x,), {"program": program})

    x = draw((2, 5, 4, 3))
    network = Network().compile(x.shape, device="cuda")
    check(network(x), Network().compile(x.shape)(x))
    computing = [step for step in network.explain() if step["op"] != "copy"]
    assert len(computing) == program.count(";") + 1


class Masks(nn.Module):
    """Returns masks, and takes one that is a constant."""

    input_ndim = 4

    def __init__(self):
        self.register_buffer("chosen", draw((1, 3, 1, 1)) > 0)

    def forward(self, x):
        above = fastconv.greater(x, 0.25)
        both = fastconv.logical_and(above, self.chosen)
        return {"above": above, "both": both, "x": fastconv.where(both, x, fastconv.negative(x))}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_masks_leave_networks_as_bool(precision):
    x = draw((2, 3, 5, 7)).astype(np.float16).astype(np.float32)
    module, expected = Masks(), Masks().eager(x)
    network = module.compile(x.shape, device="cuda", precision=precision)
    outs = {name: np.empty_like(value) for name, value in expected.items()}
    unbatched = module.compile(x.shape[1:], device="cuda", precision=precision)
    for _ in range(2):
        for name, value in expected.items():
            check(network(x)[name], value)
            check(network(cuda.asarray(x))[name].numpy(), value)
            check(network(x, out=outs)[name], value)
            check(unbatched(x[1])[name], value[1])
            check(unbatched(cuda.asarray(x[1]))[name].numpy(), value[1])
    steps = network.explain()
    assert [step["bytes"] for step in steps if step["op"] == "copy"][-3:-1] == [
        x.size * (3 if precision == "fp16" else 5)
    ] * 2


def test_max_workspace():
    module = nn.Conv2d(256, 16, 3, padding=1)
    x = draw((1, 256, 6, 6))
    free = module.compile(x.shape, device="cuda").explain()[1]
    assert free["workspace"] > 0  # the sum is split, so that such few outputs fill the device
    network = module.compile(x.shape, device="cuda", max_workspace=0)
    assert network.explain()[1]["workspace"] == 0
    check(network(x), module(x))


def test_empty_batches():
    x = np.empty((0, 3, 8, 8), np.float32)
    y = small().compile(x.shape, device="cuda")(x)
    assert y.shape == (0, 10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"precision": "fp64"}, ValueError, "precision must be one of fp32, tf32, fp16, bf16"),
        ({"autotune": True}, ValueError, "autotune measures kernels of the CPU"),
        ({"threads": 2}, ValueError, "threads are those of the CPU"),
        ({"accuracy": "exact", "precision": "tf32"}, ValueError, "needs precision='fp32'"),
        ({"device": "cuda:77"}, ValueError, "77"),
    ],
)
def test_options_that_do_not_fit(options, error, message):
    with pytest.raises(error, match=message):
        small().compile(X.shape, **{"device": "cuda"} | options)


def test_inputs_that_do_not_fit():
    network = small().compile(X.shape, device="cuda")
    with pytest.raises(TypeError, match="x must be float32 as the network was compiled"):
        network(cuda.asarray(X.astype(np.float64)))
    with pytest.raises(ValueError, match=r"x must have shape \(2, 3, 8, 8\), got \(1, 3, 8, 8\)"):
        network(cuda.asarray(X[:1]))
    with pytest.raises(TypeError, match="the network was compiled for the CPU"):
        small().compile(X.shape)(cuda.asarray(X))
    with pytest.raises(ValueError, match="float64"):
        small().astype(np.float64).compile(X.shape, device="cuda")
    double = small().astype(np.float64).compile(X.shape, device="cuda", precision="fp32")
    check(double(X), small()(X))


class Masked(nn.Module):
    input_ndim = 4

    def __init__(self):
        self.conv = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, image, mask):
        features = self.conv(image) * mask
        return {"features": features, "pooled": fastconv.mean(features, axis=(2, 3))}


def test_several_inputs_and_outputs():
    model = Masked()
    image, mask = X, draw((2, 1, 8, 8))
    there = {"mask": cuda.asarray(mask), "image": cuda.asarray(image)}
    expected = model.eager(image, mask)
    network = model.compile({"image": image.shape, "mask": mask.shape}, device="cuda")
    on_device = [model(**there), network(**there), network(there["image"], there["mask"])]
    outputs = [{name: on_host(value) for name, value in y.items()} for y in on_device]
    for y in (*outputs, network(image, mask), network({"mask": mask, "image": image})):
        assert list(y) == ["features", "pooled"]
        for name, value in expected.items():
            check(y[name], value)
    y = model(cuda.asarray(image[0]), cuda.asarray(mask[0]))
    for name, value in expected.items():
        check(on_host(y[name]), value[0])
    with pytest.raises(TypeError, match="some inputs are on a CUDA device and some are not"):
        network(there["image"], mask)
    with pytest.raises(TypeError, match="out cannot be given for inputs on a device"):
        network(**there, out=expected)
