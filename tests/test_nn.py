"""Modules: registration, state, invalidation, and the layers' own errors."""

import copy
import pickle
import threading

import numpy as np
import pytest
from fastconv import nn
from fastconv.models import blocks


def rand(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


class Net(nn.Module):
    """A small network with every kind of state."""

    def __init__(self):
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.scale = np.full((4, 1, 1), 2, np.float32)

    def forward(self, x):
        return self.act(self.bn(self.conv(x))) * self.scale


KEYS = [
    "scale",
    "conv.weight",
    "bn.weight",
    "bn.bias",
    "bn.running_mean",
    "bn.running_var",
    "bn.num_batches_tracked",
]

# ---- The tree and its state ----------------------------------------------------------------------


def test_state_dict_has_torch_names_in_order():
    net = Net()
    assert list(net.state_dict()) == KEYS
    assert [name for name, _ in net.named_parameters()] == KEYS[:4]
    assert [name for name, _ in net.named_modules()] == ["", "conv", "bn", "act"]
    assert [type(m) for m in net.children()] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert sum(p.size for p in net.parameters()) == 4 + 4 * 27 + 8


def test_state_dict_round_trip():
    a, b = Net(), Net()
    assert not np.array_equal(a.conv.weight, b.conv.weight)
    assert b.load_state_dict(a.state_dict()) == ([], [])
    x = rand(2, 3, 5, 6)
    np.testing.assert_array_equal(a(x), b(x))
    np.testing.assert_array_equal(a.eager(x), b.eager(x))


def test_shared_modules_are_counted_once_and_saved_in_each_place():
    linear = nn.Linear(4, 4)
    net = nn.Sequential(linear, nn.ReLU(), linear)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_load_converts_floats_to_the_modules_dtype():
    net = Net()
    state = {
        k: v.astype(np.float16) if v.dtype == np.float32 else v for k, v in net.state_dict().items()
    }
    net.load_state_dict(state)
    assert net.conv.weight.dtype == np.float32
    net.astype("float64").load_state_dict(state)
    assert {v.dtype.name for v in net.state_dict().values()} == {"float64", "int64"}


def test_load_accepts_a_state_without_num_batches_tracked():
    state = Net().state_dict()
    del state["bn.num_batches_tracked"]
    assert Net().load_state_dict(state) == ([], [])


def test_strict_load_names_every_problem_and_changes_nothing():
    net = Net()
    before = net.state_dict()
    state = dict(before)
    state["bn.wieght"] = state.pop("bn.weight")
    state["conv.weight"] = np.zeros((4, 3, 5, 5), np.float32)
    state["bn.bias"] = np.ones(4, np.float32)
    with pytest.raises(ValueError, match="does not fit Net") as error:
        net.load_state_dict(state)
    message = str(error.value)
    assert "missing keys (1):\n    bn.weight (nearest: bn.wieght)" in message
    assert "unexpected keys (1):\n    bn.wieght (nearest: bn.weight)" in message
    assert "conv.weight: expected (4, 3, 3, 3), got (4, 3, 5, 5)" in message
    for key, value in net.state_dict().items():
        assert value is before[key]


def test_loose_load_reports_keys_but_never_takes_a_wrong_shape():
    net = Net()
    result = net.load_state_dict({"bn.bias": np.ones(4), "head.weight": np.ones(3)}, strict=False)
    assert result.unexpected_keys == ["head.weight"]
    assert result.missing_keys == ["scale", "conv.weight", *KEYS[2:3], *KEYS[4:6]]
    assert net.bn.bias.tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match=r"bn.bias: expected \(4,\), got \(5,\)"):
        net.load_state_dict({"bn.bias": np.ones(5)}, strict=False)


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ([1], "must be a mapping"),
        ("model.pth", r"fastconv.weights.load\(path\)"),
        ({**Net().state_dict(), "scale": np.ones((4, 1, 1), int)}, r"state_dict\['scale'\]"),
        ({**Net().state_dict(), "scale": [[1], [1, 2]]}, r"\['scale'\] must be an array, got list"),
    ],
)
def test_load_rejects_other_types(state, match):
    with pytest.raises(TypeError, match=match):
        Net().load_state_dict(state)


# ---- Parameters ----------------------------------------------------------------------------------


def test_parameters_are_read_only():
    net = Net()
    for array in net.state_dict().values():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_assigned_arrays_are_copied_unless_nobody_can_write_to_them():
    net = Net()
    mine = np.ones((4, 1, 1), np.float32)
    net.scale = mine
    mine[:] = 7
    assert net.scale.max() == 1
    view = mine.view()
    view.flags.writeable = False
    net.scale = view
    mine[:] = 8
    assert net.scale.max() == 7
    frozen = np.ones((4, 1, 1), np.float32)
    frozen.flags.writeable = False
    net.scale = frozen
    assert net.scale is frozen


def test_assigned_parameters_take_the_modules_dtype():
    conv = nn.Conv2d(3, 4, 3)
    conv.weight = np.zeros((4, 3, 3, 3))
    assert conv.weight.dtype == np.float32
    conv.bias = None
    assert list(conv.state_dict()) == ["weight"]
    conv.bias = np.zeros(4)
    assert conv.bias.dtype == np.float32
    with pytest.raises(TypeError, match=r"Conv2d.bias: .* floating dtype, got int64"):
        conv.bias = np.zeros(4, np.int64)


def test_buffers_are_state_but_no_parameters():
    module = nn.Module()
    module.register_buffer("index", np.arange(3))
    module._private = np.zeros(2)
    assert list(module.state_dict()) == ["index"]
    assert list(module.parameters()) == []
    assert module.index.dtype == np.arange(3).dtype


def test_astype_converts_all_floats_and_returns_the_module():
    net = Net()
    assert net.astype(np.float64) is net
    assert net.dtype == np.float64
    assert net.bn.running_var.dtype == np.float64
    assert net.bn.num_batches_tracked.dtype == np.int64
    assert net(rand(1, 3, 4, 4, dtype=np.float64)).dtype == np.float64
    for dtype in ("float16", "int8"):
        with pytest.raises(TypeError, match=f"float32 or float64, got {dtype}"):
            net.astype(dtype)


def test_reset_parameters_is_seeded():
    a, b = Net(), Net()
    a.reset_parameters(3)
    b.reset_parameters(np.random.default_rng(3))
    np.testing.assert_array_equal(a.conv.weight, b.conv.weight)
    b.reset_parameters(4)
    assert not np.array_equal(a.conv.weight, b.conv.weight)
    assert np.abs(a.conv.weight).max() <= 27**-0.5


# ---- Calling -------------------------------------------------------------------------------------


def test_compiled_agrees_with_eager():
    net = Net()
    x = rand(2, 3, 6, 5)
    y = net(x)
    assert y.shape == (2, 4, 6, 5)
    np.testing.assert_allclose(y, net.eager(x), rtol=1e-5, atol=1e-5)


def change_parameter(net):
    net[0].conv.weight = -net[0].conv.weight


def load_states(net):
    net.load_state_dict({k: v * 2 for k, v in net.state_dict().items()})


def replace_module(net):
    net[0].act = nn.Sigmoid()


def change_hyper_parameter(net):
    net[0].bn.eps = 10.0


def remove_shift(net):
    net[0].bn.bias = np.ones(4, np.float32)


@pytest.mark.parametrize(
    "change",
    [change_parameter, load_states, replace_module, change_hyper_parameter, remove_shift],
)
def test_a_change_anywhere_reaches_the_compiled_network(change):
    net = nn.Sequential(Net(), nn.Conv2d(4, 2, 1))
    x = rand(2, 3, 6, 5)
    before = net(x)
    np.testing.assert_array_equal(net(x), before)
    change(net)
    after = net(x)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, net.eager(x), rtol=1e-5, atol=1e-5)


def test_a_change_elsewhere_leaves_the_version_alone():
    net, other = Net(), Net()
    version = net._tree_version()
    other.bn.eps = 1.0
    assert net._tree_version() == version
    net.bn.eps = 1.0
    assert net._tree_version() > version


def test_unbatched_input_gives_unbatched_result():
    net = Net()
    x = rand(2, 3, 6, 5)
    for run in (net.conv, net.conv.eager, nn.Sequential(net.conv, nn.Flatten())):
        y = run(x[0])
        assert y.shape == run(x).shape[1:]
        np.testing.assert_allclose(y, run(x)[0], rtol=1e-5, atol=1e-6)


def test_input_dtype_must_be_the_parameters():
    net = Net()
    x = rand(1, 3, 4, 4)
    np.testing.assert_array_equal(net(x.astype(">f4")), net(x))
    for run in (net, net.eager):
        with pytest.raises(TypeError, match=r"float64.*parameters of Net.*x.astype\(np.float32\)"):
            run(x.astype(np.float64))
        with pytest.raises(TypeError, match="float16"):
            run(x.astype(np.float16))
        with pytest.raises(TypeError, match="uint8"):
            run(np.zeros((1, 3, 4, 4), np.uint8))


def test_eager_is_of_this_thread_and_this_call():
    seen = []

    class Probe(nn.Module):
        def forward(self, x):
            seen.append(type(x))
            return x * 2.0

    probe = Probe()
    x = rand(1, 2)
    probe.eager(x)
    assert seen == [np.ndarray]

    class Wait(nn.Module):
        def forward(self, x):
            thread = threading.Thread(target=lambda: probe(x))
            thread.start()
            thread.join()
            return x

    Wait().eager(x)
    assert seen[1] is not np.ndarray


def test_modules_compute_inference_only():
    net = Net()
    assert net.eval() is net
    assert net.train(False) is net
    assert not net.training
    with pytest.raises(RuntimeError, match="inference only"):
        net.train()
    x = rand(2, 3)
    for layer in (nn.Identity(), nn.Dropout(0.9), nn.StochasticDepth(0.9, "row")):
        np.testing.assert_array_equal(layer(x), x)


def test_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module().eager(rand(2))


# ---- Copies and printing -------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent_and_read_only(duplicate):
    net = Net()
    x = rand(1, 3, 4, 4)
    y = net(x)
    twin = duplicate(net)
    assert twin._compiled is None
    np.testing.assert_array_equal(twin(x), y)
    assert not any(v.flags.writeable for v in twin.state_dict().values())
    twin.bn.bias = np.ones(4, np.float32)
    assert net.bn.bias.max() == 0
    np.testing.assert_array_equal(net(x), y)


def test_repr_is_torchs_tree():
    assert repr(nn.Sequential(Net(), nn.Conv2d(4, 2, 1, dilation=2, groups=2))) == (
        "Sequential(\n"
        "  (0): Net(\n"
        "    (conv): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=1, bias=False)\n"
        "    (bn): BatchNorm2d(4, eps=1e-05)\n"
        "    (act): ReLU()\n"
        "  )\n"
        "  (1): Conv2d(4, 2, kernel_size=(1, 1), stride=(1, 1), dilation=(2, 2), groups=2)\n"
        ")"
    )


# ---- Containers and constructors -----------------------------------------------------------------


def test_containers():
    net = nn.Sequential({"a": nn.ReLU(), "b": nn.Identity()})
    assert [name for name, _ in net.named_children()] == ["a", "b"]
    assert isinstance(net[-1], nn.Identity)
    assert len(net) == 2
    assert repr(net[1:]) == "Sequential(\n  (b): Identity()\n)"
    blocks = nn.ModuleList([nn.Linear(2, 2)]).append(nn.ReLU())
    assert list(blocks.state_dict()) == ["0.weight", "0.bias"]
    assert repr(blocks[1:]) == "ModuleList(\n  (0): ReLU()\n)"
    assert blocks[-1] is blocks[1]
    with pytest.raises(TypeError, match=r"Sequential\(\*modules\)"):
        nn.Sequential([nn.ReLU()])
    with pytest.raises(TypeError, match="takes modules, got str"):
        nn.ModuleList(["relu"])


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "in_channels.*multiple of groups"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), ValueError, "out_channels=3, groups=2"),
        (lambda: nn.Conv2d(4, 4, 3, groups=0), ValueError, "groups=0"),
        (lambda: nn.Conv2d(4, 4, 3, padding_mode="mirror"), ValueError, "one of zeros, reflect"),
        (lambda: nn.Conv2d(4, 4, (3, 3, 3)), TypeError, "kernel_size must be an int or 2 ints"),
        (lambda: nn.Conv2d("3", 4, 3), TypeError, "in_channels must be an integer, got str"),
        (lambda: nn.Conv1d(4, 4, 3, stride=1.5), TypeError, "stride must be an int or 1 ints"),
        (lambda: nn.Linear(4, -1), ValueError, "out_features must not be negative, got -1"),
        (lambda: nn.Linear("4", 1), TypeError, "in_features must be an integer, got str"),
        (lambda: nn.Linear(4, True), TypeError, "out_features must be an integer, got True"),
        (lambda: nn.BatchNorm2d(-1), ValueError, "num_features must not be negative"),
        (lambda: nn.BatchNorm2d(4, eps="1e-3"), TypeError, "eps must be a number, got str"),
        (lambda: nn.BatchNorm2d(4, eps=-1), ValueError, "eps must be finite and not negative"),
        (lambda: nn.LayerNorm(4, eps=float("nan")), ValueError, "eps must be finite.*got nan"),
        (lambda: nn.LayerNorm((4, 1.5)), TypeError, "normalized_shape must be an integer"),
        (lambda: nn.Dropout(1.5), ValueError, "p must be a probability from 0 to 1, got 1.5"),
        (lambda: nn.StochasticDepth("x"), TypeError, "p must be a number, got str 'x'"),
        (lambda: nn.ReLU().astype(None), TypeError, "float32 or float64, got None"),
        (lambda: nn.ReLU().astype("half-ish"), TypeError, "float32 or float64, got half-ish"),
        (lambda: nn.GELU("fast"), ValueError, "'none' or 'tanh', got 'fast'"),
        (lambda: nn.Upsample(), ValueError, "exactly one of size and scale_factor"),
        (lambda: blocks.BasicBlock(8, 8, groups=2), ValueError, "use Bottleneck"),
    ],
)
def test_bad_constructor_arguments(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_sizes_may_be_integers_of_numpy():
    for size in (np.int64(4), np.array(4)):
        layers = nn.Conv2d(size, size, 3), nn.Linear(size, size), nn.LayerNorm(size)
        assert [layer.weight.shape for layer in layers] == [(4, 4, 3, 3), (4, 4), (4,)]
        assert repr(layers[1]) == "Linear(in_features=4, out_features=4, bias=True)"


# ---- Initial values ------------------------------------------------------------------------------


def test_kaiming_normal_has_the_deviation_of_the_paper():
    rng = np.random.default_rng(0)
    shape = (64, 32, 3, 3)
    out = nn.init.kaiming_normal(shape, rng)
    assert out.dtype == np.float32
    assert np.isclose(out.std(), (2 / (64 * 9)) ** 0.5, rtol=0.02)
    into = nn.init.kaiming_normal(shape, rng, mode="fan_in")
    assert np.isclose(into.std(), (2 / (32 * 9)) ** 0.5, rtol=0.02)
    with pytest.raises(ValueError, match="fan_in"):
        nn.init.kaiming_normal(shape, rng, mode="fan_avg")


def test_trunc_normal_stays_inside_its_bound():
    values = nn.init.trunc_normal((10000,), np.random.default_rng(0), std=1.0, bound=1.0)
    assert 0.99 < np.abs(values).max() <= 1
    assert np.isclose(values.std(), 0.5396, atol=0.01)  # of a standard normal cut at 1


def test_uniform_fills_its_range():
    values = nn.init.uniform((10000,), np.random.default_rng(0), 0.25)
    assert -0.25 <= values.min() < -0.249
    assert 0.249 < values.max() <= 0.25


def test_skip_leaves_zeros_inside_only():
    with nn.init.skip():
        assert not nn.Conv2d(3, 4, 3).weight.any()
        assert not nn.Linear(3, 4).bias.any()
    assert nn.Conv2d(3, 4, 3).weight.all()


def test_module_dict():
    heads = nn.ModuleDict({"a": nn.Linear(2, 2)})
    heads["b"] = nn.ReLU()
    heads.update([("c", nn.Linear(2, 3)), ("b", nn.Tanh())])
    assert list(heads) == list(heads.keys()) == ["a", "b", "c"]
    assert list(heads.state_dict()) == ["a.weight", "a.bias", "c.weight", "c.bias"]
    assert isinstance(heads["b"], nn.Tanh)
    assert dict(heads.items()) == dict(zip(heads, heads.values(), strict=True))
    assert len(heads) == 3
    assert "c" in heads
    assert "d" not in heads
    assert heads.get("d") is None
    assert nn.ModuleDict(heads).pop("b") is heads["b"]
    del heads["a"]
    assert repr(nn.Sequential(nn.ModuleDict({"x": nn.ReLU()}))) == (
        "Sequential(\n  (0): ModuleDict(\n    (x): ReLU()\n  )\n)"
    )
    heads.clear()
    assert not heads.state_dict()
    assert len(heads) == 0
    for key in ("", "a.b", "_a", "keys", "forward"):
        with pytest.raises(ValueError, match="name must be that of a new public attribute"):
            heads[key] = nn.ReLU()
    with pytest.raises(TypeError, match="name must be a string, got int"):
        heads[0] = nn.ReLU()
    with pytest.raises(TypeError, match="ModuleDict takes modules, got str"):
        heads["a"] = "relu"
    for wrong in ([nn.ReLU()], 5, nn.ReLU()):
        with pytest.raises(TypeError, match="ModuleDict takes a mapping from names, or pairs"):
            nn.ModuleDict(wrong)
    with pytest.raises(KeyError):
        heads["a"]
    with pytest.raises(KeyError):
        del heads["keys"]


def test_lists_and_dictionaries_of_parameters():
    class Net(nn.Module):
        def __init__(self):
            self.scales = nn.ParameterList(np.full((3, 1, 1), n) for n in (2.0, 3.0))
            self.shifts = nn.ParameterDict({"a": np.ones((3, 1, 1))})

        def forward(self, x):
            for scale in self.scales:
                x = x * scale
            return x + self.shifts["a"]

    net, x = Net().astype("float32"), np.ones((1, 3, 4, 4), np.float32)
    assert list(net.state_dict()) == ["scales.0", "scales.1", "shifts.a"]
    assert len(list(net.parameters())) == 3
    for y in (net(x), net.eager(x)):
        np.testing.assert_array_equal(y, 7 * x)
    assert {node.name for node in net.graph(x.shape) if node.is_constant} == set(net.state_dict())
    net.scales[-1] = np.zeros((3, 1, 1))  # in the dtype of the others; what was compiled is not
    assert net.scales[1].dtype == np.float32
    np.testing.assert_array_equal(net(x), x)
    net.load_state_dict({**net.state_dict(), "shifts.a": np.full((3, 1, 1), 5.0)})
    np.testing.assert_array_equal(net(x), 5 * x)
    copied = pickle.loads(pickle.dumps(net.scales))
    assert [p.tolist() for p in copied] == [p.tolist() for p in net.scales]

    scales = net.scales
    scales += [np.ones(2)]
    assert scales.append(np.ones(1)) is net.scales
    assert [p.shape for p in scales] == [(3, 1, 1), (3, 1, 1), (2,), (1,)]
    assert [p.shape for p in scales[1:3]] == [(3, 1, 1), (2,)]
    assert len(scales) == 4
    assert repr(scales[2:]) == "ParameterList((0): float32 (2,), (1): float32 (1,))"
    with pytest.raises(IndexError):
        scales[4] = np.ones(1)
    with pytest.raises(TypeError, match="ParameterList takes arrays, got float"):
        scales.append(1.0)
    for wrong in (np.ones(2), 5):
        with pytest.raises(TypeError, match=r"ParameterList takes several arrays.*pass \[array\]"):
            nn.ParameterList(wrong)
    with pytest.raises(TypeError, match="ParameterDict takes arrays, got ReLU"):
        net.shifts["b"] = nn.ReLU()
    assert net.shifts.pop("a").shape == (3, 1, 1)
    assert not list(net.shifts)
    with pytest.raises(TypeError, match="ParameterDict takes a mapping"):
        nn.ParameterDict([np.ones(3)])


def test_unflatten():
    x = np.arange(24.0, dtype=np.float32).reshape(2, 12)
    for sizes in ((3, 4), (-1, 4), (2, 3, -1), (12,), [12, 1]):
        layer = nn.Unflatten(-1, sizes)
        expected = x.reshape(2, *sizes)
        for y in (layer(x), layer.eager(x)):
            np.testing.assert_array_equal(y, expected)
        assert layer(x[:0]).shape == (0, *expected.shape[1:])
    for sizes in ((5, 2), (-1, 5), (-1, -1), (-2, -6), (), (0, -1)):
        with pytest.raises(ValueError, match="unflattened_size must multiply to the size 12"):
            nn.Unflatten(1, sizes)(x)
    with pytest.raises(ValueError, match="dim = 2 is out of range"):
        nn.Unflatten(2, (2, 2))(x)
    with pytest.raises(TypeError, match="unflattened_size must be a sequence of integers"):
        nn.Unflatten(1, 12)
