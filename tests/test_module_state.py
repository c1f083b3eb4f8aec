"""What is assigned to a module is kept in its state as computed with, or refused."""

import pickle

import numpy as np
import pytest
from fastconv import nn
from fastconv.graph._symbols import Recorder

W = np.arange(108, dtype=np.float32).reshape(4, 3, 3, 3)
X = np.random.default_rng(0).standard_normal((1, 3, 5, 5)).astype(np.float32)


class Tensor:
    """A tensor of another library, in host memory."""

    def __init__(self, values, requires_grad=False):
        self.values, self.requires_grad = np.asarray(values), requires_grad

    def detach(self):
        return Tensor(self.values)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return self.values


class Exported:
    """An array that only DLPack can read."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **kwargs):
        return self.values.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class OnDevice:
    """An array in the memory of a CUDA device."""

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, **kwargs):
        raise AssertionError("nobody reads it")


class Meta:
    """A tensor without memory, as of torch's device "meta"."""

    def __array__(self, dtype=None, copy=None):
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")


def memmap(tmp_path, mode):
    path = tmp_path / "weight"
    W.tofile(path)
    return np.memmap(path, np.float32, mode, shape=W.shape)


ARRAYS = {
    "tensor": lambda path: Tensor(W),
    "parameter": lambda path: Tensor(W, requires_grad=True),
    "dlpack": lambda path: Exported(W.copy()),
    "list": lambda path: W.tolist(),
    "tuple of arrays": lambda path: tuple(W),
    "writable memmap": lambda path: memmap(path, "r+"),
    "read-only memmap": lambda path: memmap(path, "r"),
    "float64": lambda path: W.astype(np.float64),
    "other byte order": lambda path: W.astype(">f4"),
    "Fortran order": lambda path: np.asfortranarray(W),
    "recarray": lambda path: W.copy().view(np.recarray),
}


@pytest.mark.parametrize("kind", sorted(ARRAYS))
def test_what_is_an_array_becomes_the_parameter(kind, tmp_path):
    conv = nn.Conv2d(3, 4, 3)
    network = nn.Sequential(conv)
    before = network(X)
    conv.weight = ARRAYS[kind](tmp_path)
    assert type(conv.weight) is np.ndarray
    assert conv.weight.dtype == np.float32
    assert not conv.weight.flags.writeable
    np.testing.assert_array_equal(network.state_dict()["0.weight"], W)
    assert list(network.state_dict()) == ["0.weight", "0.bias"]
    after = network(X)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, network.eager(X), rtol=1e-4)
    twin = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(twin[0].weight, W)
    np.testing.assert_array_equal(network.astype(np.float64)[0].weight, W.astype(np.float64))


@pytest.mark.parametrize("share", [Tensor, Exported])
def test_what_others_write_to_their_memory_later_changes_nothing(share):
    memory, conv = W.copy(), nn.Conv2d(3, 4, 3)
    conv.weight = share(memory)
    memory[:] = 7
    np.testing.assert_array_equal(conv.weight, W)
    memory[:] = W
    conv.load_state_dict({"weight": share(memory), "bias": share(np.zeros(4))})
    memory[:] = 7
    np.testing.assert_array_equal(conv.weight, W)


def test_the_same_arrays_load():
    conv = nn.Conv2d(3, 4, 3)
    bias = np.ones(4, np.float32)
    conv.load_state_dict({"weight": Tensor(W, requires_grad=True), "bias": Exported(bias)})
    np.testing.assert_array_equal(conv.weight, W)


class Held(nn.Module):
    """Everything that a module can hold."""

    def __init__(self):
        self.act = nn.ReLU()
        self.bn = nn.BatchNorm2d(4)
        self.size = 3
        self.matrix = np.zeros((2, 2), np.float32)
        self.register_buffer("index", np.arange(3, dtype=np.int32))
        self.register_parameter("extra", None)


def test_np_matrix_becomes_an_array_with_the_products_of_one():
    held = Held()
    matrix = np.eye(2, dtype=np.float32).view(np.matrix)
    matrix.flags.writeable = False
    held.matrix = matrix
    assert type(held.matrix) is np.ndarray


REFUSED = {
    "a tensor elsewhere": ("matrix", OnDevice(), TypeError, r"CUDA device: pass|CUDA device"),
    "without memory": ("matrix", Meta(), TypeError, "Held.matrix must be an array, got Meta.*no d"),
    "masked": ("matrix", np.ma.zeros((2, 2)), TypeError, r"masked array.*filled\(0\)"),
    "ragged": ("matrix", [[1.0], [1.0, 2.0]], TypeError, "Held.matrix must be an array, got list"),
    "number": ("matrix", 0.5, ValueError, r"Held.matrix must have shape \(2, 2\), got \(\)"),
    "NumPy's number": ("matrix", np.float32(1), ValueError, r"must have shape \(2, 2\), got \(\)"),
    "shape": ("matrix", np.zeros((2, 3)), ValueError, r"got \(2, 3\): for another shape.*del"),
    "integers": ("matrix", np.zeros((2, 2), int), TypeError, r"Held.matrix: .*int64.*astype"),
    "list of integers": ("matrix", [[1, 2], [3, 4]], TypeError, "floating dtype, got int64"),
    "string": ("matrix", "zeros", TypeError, "Held.matrix: .*floating dtype|must have shape"),
    "complex": ("matrix", np.zeros((2, 2), complex), TypeError, "floating dtype, got complex128"),
    "objects": ("matrix", np.full((2, 2), None), TypeError, "floating dtype, got object"),
    "function": ("matrix", len, (TypeError, ValueError), "Held.matrix"),
    "module": ("matrix", nn.ReLU(), TypeError, "Held.matrix is an array, got a module.*del"),
    "a module for None": ("extra", nn.ReLU(), TypeError, "Held.extra is an array, got a module"),
    "integers for None": ("extra", [1, 2], TypeError, "Held.extra: a parameter must be of a float"),
    "buffer's fractions": ("index", [0.5, 1, 2], ValueError, "float64 that int32 cannot hold"),
    "buffer's NaN": ("index", [np.nan, 1, np.inf], ValueError, "float64 that int32 cannot hold"),
    "buffer's strings": (
        "index",
        ["a", "b", "c"],
        TypeError,
        "must be of int32, got dtype <U1",
    ),
    "buffer's large": ("index", [2**40, 1, 2], ValueError, "int64 that int32 cannot hold"),
    "buffer's shape": ("index", np.arange(4), ValueError, r"Held.index must have shape \(3,\)"),
    "buffer by a module": ("index", nn.ReLU(), TypeError, "Held.index is an array, got a module"),
    "array for a module": ("act", np.zeros(2), TypeError, "Held.act is a module, got ndarray.*del"),
    "tensor for a module": ("act", Tensor(W), TypeError, "Held.act is a module, got Tensor"),
    "function for a module": ("act", len, TypeError, "Held.act is a module, got builtin_function"),
    "array for a number": ("size", np.array(3.0), TypeError, "Held.size is int 3, got an array"),
    "list of modules": ("blocks", [nn.ReLU()], TypeError, r"Held.blocks: .*nn.ModuleList\(modules"),
    "tuple of modules": ("blocks", (1, nn.ReLU()), TypeError, "no part of the state"),
    "dict of modules": ("blocks", {"a": nn.ReLU()}, TypeError, "in a dict would be no part"),
    "lists of lists": ("blocks", [[nn.ReLU()]], TypeError, "no part of the state"),
    "list of arrays": ("scales", [np.zeros(2)], TypeError, r"nn.ParameterList\(arrays"),
    "list of tensors": ("scales", [Tensor(W)], TypeError, r"nn.ParameterList\(arrays"),
    "new integers": ("index2", Tensor(np.arange(3)), TypeError, r"register_buffer\('index2'"),
    "training": ("training", True, RuntimeError, "inference only"),
}


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_what_would_be_lost_is_refused_and_changes_nothing(kind):
    name, value, error, match = REFUSED[kind]
    held = Held()
    before, version = dict(vars(held)), held._tree_version()
    with pytest.raises(error, match=match):
        setattr(held, name, value)
    after = dict(vars(held))
    for state in (before, after):
        state.pop("_seen", None)
    assert before.keys() == after.keys()
    assert all(before[key] is after[key] for key in before)
    assert held._tree_version() == version


def test_a_value_of_forward_cannot_be_kept():
    class Keeps(nn.Module):
        def forward(self, x):
            self.features = x * 2.0
            return self.features

    with pytest.raises(TypeError, match=r"Keeps.features: .*taps="):
        Keeps()(X)
    with pytest.raises(TypeError, match=r"Keeps\.features: a value of forward"):
        Keeps().features = Recorder(np.dtype(np.float32)).input((1, 2))


def test_a_list_that_grows_later_is_refused_when_it_matters():
    class Grows(nn.Module):
        def __init__(self):
            self.blocks = []
            for _ in range(2):
                self.blocks.append(nn.Conv2d(3, 3, 1))

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    for use in (lambda m: m.state_dict(), lambda m: m(X), lambda m: m.compile(X.shape)):
        with pytest.raises(TypeError, match=r"Grows.blocks: .*nn.ModuleList"):
            use(Grows())
    assert "Grows" in repr(Grows())


def test_none_removes_an_optional_parameter_and_its_name_stays_one():
    conv = nn.Conv2d(3, 4, 3, bias=False)
    conv.bias = [1.0, 2.0, 3.0, 4.0]
    assert list(conv.state_dict()) == ["weight", "bias"]
    conv.bias = None
    assert list(conv.state_dict()) == ["weight"]
    np.testing.assert_allclose(conv(X), conv.eager(X), rtol=1e-5, atol=1e-5)
    conv.bias = Tensor(np.ones(4), requires_grad=True)
    assert conv.state_dict()["bias"].tolist() == [1, 1, 1, 1]
    twin = pickle.loads(pickle.dumps(nn.BatchNorm2d(2, affine=False)))
    twin.weight = [1, 2.0]
    assert twin.state_dict()["weight"].dtype == np.float32


def test_del_frees_the_name_for_anything_else():
    held = Held()
    del held.matrix, held.act, held.index
    assert "index" not in held.state_dict()
    held.matrix = nn.ReLU()
    held.act = np.zeros(3, np.float32)
    with pytest.raises(TypeError, match=r"register_buffer\('index'"):
        held.index = np.arange(3)
    assert [name for name, _ in held.named_children()] == ["bn", "matrix"]
    with pytest.raises(AttributeError):
        del held.nothing
    conv = nn.Sequential(nn.Conv2d(3, 4, 3))
    before = conv(X)
    del conv[0].bias
    conv[0].bias = None
    assert not np.allclose(conv(X), before)


def test_statistics_and_items_of_containers_take_tensors():
    net = nn.Sequential(nn.BatchNorm2d(3))
    net[0].running_mean = Tensor([1.0, 2.0, 3.0])
    net[0].running_var = [4.0, 4.0, 4.0]
    assert net.state_dict()["0.running_mean"].tolist() == [1, 2, 3]
    expected = (X - np.array([1, 2, 3], np.float32)[:, None, None]) / 2
    np.testing.assert_allclose(net(X), expected, rtol=1e-4, atol=1e-5)


def test_a_child_may_be_replaced_or_left_out():
    held = Held()
    held.act = nn.Sigmoid()
    assert isinstance(held.act, nn.Sigmoid)
    held.act = None
    assert [name for name, _ in held.named_children()] == ["bn"]
    held.act = nn.ReLU()
    assert len(list(held.children())) == 2


def test_loading_converts_integers_only_where_they_fit():
    held = Held()
    state = held.state_dict()
    held.load_state_dict({**state, "index": np.array([5.0, 6.0, 7.0])})
    assert held.index.dtype == np.int32
    for value in ([0.5, 1, 2], [2**40, 0, 0]):
        with pytest.raises(ValueError, match=r"state_dict\['index'\]"):
            held.load_state_dict({**state, "index": np.array(value)})
    assert held.index.tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("register", "error", "match"),
    [
        (lambda m: m.register_buffer("matrix", np.zeros(2)), ValueError, "Held.matrix exists"),
        (lambda m: m.register_buffer("a.b", np.zeros(2)), ValueError, "without a dot, got 'a.b'"),
        (lambda m: m.register_buffer("_a", np.zeros(2)), ValueError, "public attribute"),
        (lambda m: m.register_buffer("forward", np.zeros(2)), ValueError, "new public attribute"),
        (lambda m: m.register_buffer("b", np.zeros(2), persistent=False), ValueError, r"self\._b"),
        (lambda m: m.register_buffer(3, np.zeros(2)), TypeError, "name must be a string, got int"),
        (lambda m: m.register_buffer("b", OnDevice()), TypeError, "CUDA device"),
        (lambda m: m.register_parameter("act", np.zeros(2)), ValueError, "Held.act exists"),
        (lambda m: m.register_parameter("n", np.arange(2)), TypeError, "floating dtype, got int64"),
        (lambda m: m.add_module("matrix", nn.ReLU()), ValueError, "Held.matrix exists"),
        (lambda m: m.add_module("new", "relu"), TypeError, "Held.new must be a module, got str"),
    ],
)
def test_registering_refuses_what_it_cannot_keep(register, error, match):
    held = Held()
    before = list(vars(held))
    with pytest.raises(error, match=match):
        register(held)
    assert [name for name in vars(held) if name not in before] == []
    assert "b" not in held._buffers


def test_registering_is_assigning():
    held = Held()
    held.register_parameter("weight", Tensor([1.0], requires_grad=True))
    held.register_buffer("index", np.arange(9))
    held.register_buffer("later", None)
    held.later = np.zeros(2, np.uint8)
    held.add_module("last", nn.Identity())
    assert [name for name, _ in held.named_parameters()] == [
        *("matrix", "weight", "bn.weight", "bn.bias")
    ]
    assert held.later.dtype == np.uint8
    assert [name for name, _ in held.named_buffers()][:2] == ["index", "later"]
    assert isinstance(held.last, nn.Identity)


def test_one_array_for_two_parameters_does_not_make_them_one():
    layers = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    zeros = np.zeros((2, 2), np.float32)
    zeros.flags.writeable = False
    layers.load_state_dict({"0.weight": zeros, "1.weight": zeros})
    with pytest.raises(ValueError, match=r"missing keys \(1\):\n +1.weight"):
        layers.load_state_dict({"0.weight": np.ones((2, 2), np.float32)})
    layers.load_state_dict({"0.weight": np.ones((2, 2), np.float32)}, strict=False)
    assert not layers[1].weight.any()


def test_tied_parameters_stay_tied_when_they_load_from_both_names():
    layers = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    layers[1].weight = layers[0].weight
    layers.load_state_dict(layers.state_dict())
    layers.load_state_dict({"0.weight": np.full((2, 2), 3, np.float32)})
    assert (layers[1].weight == 3).all()


def test_memory_that_others_can_write_to_is_copied_although_the_array_is_read_only():
    memory = bytearray(16)
    array = np.frombuffer(memory, np.float32)
    array.flags.writeable = False
    seen_by_nobody = np.frombuffer(memoryview(memory).toreadonly(), np.float32)
    layer = nn.Sequential()
    layer.a, layer.b, layer.c = array, seen_by_nobody, np.frombuffer(bytes(16), np.float32)
    memory[:] = b"\1" * 16
    assert not layer.a.any()
    assert not layer.b.any()
    assert isinstance(layer.c.base, bytes)  # kept as it is


def test_a_constant_that_is_replaced_is_computed_with():
    class Scaled(nn.Module):
        def __init__(self):
            self._factor = np.full(1, 2, np.float32)

        def forward(self, x):
            return x * self._factor

    scaled = Scaled()
    assert scaled(X[0, 0, 0])[0] == 2 * X[0, 0, 0, 0]
    scaled._factor = np.full(1, 3, np.float32)
    assert scaled(X[0, 0, 0])[0] == 3 * X[0, 0, 0, 0]


def test_keeping_a_value_of_forward_for_oneself_changes_nothing():
    class Remembers(nn.Module):
        def forward(self, x):
            self._last = x * 2.0
            return self._last

    remembers = Remembers()
    remembers(X)
    version = remembers._tree_version()
    remembers(X)
    assert remembers._tree_version() == version


def test_a_list_that_contains_itself_is_looked_through_once():
    endless = [1]
    endless.append(endless)
    layer = nn.Sequential()
    layer.sizes = endless
    assert layer.state_dict() == {}
    endless.append(W)
    with pytest.raises(TypeError, match="no part of the state"):
        layer.state_dict()


def test_names_of_a_state_dict_are_strings():
    with pytest.raises(TypeError, match="state_dict must have names as keys, got 1"):
        nn.Linear(2, 2).load_state_dict({1: W})


def test_an_index_of_a_container_is_one_integer():
    with pytest.raises(TypeError, match="an index must be an integer"):
        nn.Sequential(nn.ReLU())[0:1] = nn.ReLU()
