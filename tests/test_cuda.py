"""fastconv.cuda: devices, arrays, and what other libraries lend and borrow."""

from __future__ import annotations

import gc
import importlib.util
import pickle
import re

import fastconv
import numpy as np
import pytest
from fastconv import cuda

DTYPES = ("f2", "f4", "f8", "?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")

emulated = fastconv.show_config("dict")["cuda"] is not None and (
    fastconv.show_config("dict")["cuda"]["architectures"] == "emulated"
)


# ---- Without a device ----


@pytest.mark.usefixtures("without_cuda")
@pytest.mark.parametrize(
    "call",
    [
        lambda: cuda.get_device_properties(),
        lambda: cuda.asarray(np.ones(3)),
        lambda: cuda.synchronize(),
        lambda: cuda.stream(1).__enter__(),
    ],
)
def test_a_build_without_cuda_says_so(call):
    assert not cuda.is_available()
    assert cuda.device_count() == 0
    with pytest.raises(
        cuda.CudaUnavailable,
        match=r"no CUDA backend: .*pip install \. -C cmake\.define\.FASTCONV_CUDA=ON",
    ):
        call()


def test_importing_and_asking_for_the_configuration_leave_cuda_alone(run_source):
    source = """
        import sys
        import fastconv
        assert "fastconv._cuda" not in sys.modules
        fastconv.trim()
        assert "fastconv._cuda" not in sys.modules
        fastconv.show_config("dict")
        assert "libcuda.so" not in open("/proc/self/maps").read()
    """
    run_source(source, FASTCONV_EMULATION_DRIVER="0")


def test_an_array_is_made_by_asarray():
    with pytest.raises(TypeError, match=r"with fastconv\.cuda\.asarray"):
        cuda.Array(np.ones(3))


def test_public_names_are_those_of_the_package():
    """What pickles and tracebacks say does not tell in which file a thing is."""
    assert {getattr(cuda, name).__module__ for name in cuda.__all__} == {"fastconv.cuda"}
    properties = cuda.DeviceProperties("emulated", (8, 0), 1, 2, 3, 4)
    assert pickle.loads(pickle.dumps(properties)) == properties


@pytest.mark.parametrize(
    ("device", "error"),
    [
        ("cpu", ValueError),
        ("cuda:", ValueError),
        ("cuda:x", ValueError),
        ("cuda:-1", ValueError),
        (-1, ValueError),
        (True, ValueError),
        (None, TypeError),
        (0.0, TypeError),
    ],
)
def test_bad_devices(device, error):
    with pytest.raises(error, match="device must be a number"):
        cuda.get_device_properties(device)


# ---- With one, real or emulated ----

on_device = pytest.mark.cuda


@on_device
def test_the_stub_matches_the_extension():
    from fastconv import _cuda

    stub = importlib.util.find_spec("fastconv").submodule_search_locations[0] + "/_cuda.pyi"
    with open(stub, encoding="utf-8") as file:
        declared = set(re.findall(r"^(?:def|class) (\w+)", file.read(), re.MULTILINE))
    assert declared == {name for name in vars(_cuda) if not name.startswith("_")}


@on_device
def test_properties():
    assert cuda.device_count() >= 1
    properties = cuda.get_device_properties("cuda:0")
    assert properties.compute_capability >= (8, 0)
    assert properties.total_memory > properties.l2_cache > properties.shared_memory_per_block > 0
    assert properties.multiprocessors > 0
    assert (properties.name == "emulated") == emulated
    with pytest.raises(ValueError, match=r"there is no CUDA device 99: \d+ found"):
        cuda.get_device_properties(99)
    with pytest.raises(ValueError, match="there is no CUDA device 99"):
        cuda.asarray(np.ones(3), device=99)


@on_device
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4), (3, 0, 2)])
def test_there_and_back(dtype, shape, rng):
    x = rng.integers(0, 2, shape).astype(dtype)
    array = cuda.asarray(x)
    back = array.numpy()
    assert back.dtype == x.dtype
    assert back.shape == array.shape == shape
    assert back.flags.c_contiguous
    assert np.array_equal(back, x)
    assert array.ndim == x.ndim
    assert array.size == x.size
    assert array.nbytes == x.nbytes
    assert x.size == 0 or array.strides == x.strides
    assert array.device == "cuda:0"


@on_device
@pytest.mark.parametrize("count", [16384, 16385, 1 << 20, (1 << 20) + 1, 5_000_001])
def test_copies_in_parts(count):
    x = np.arange(count, dtype=np.float32)
    assert np.array_equal(cuda.asarray(x).numpy(), x)


@on_device
def test_uploads_take_any_strides_and_byte_order(rng):
    x = rng.standard_normal((4, 6, 5))
    for view in (x.T, x[::-1, ::2], x[:, :0], np.broadcast_to(x[:1], (3, 6, 5)), x.astype(">f4")):
        assert np.array_equal(cuda.asarray(view).numpy(), view)
    assert cuda.asarray([[1, 2], [3, 4]]).numpy().tolist() == [[1, 2], [3, 4]]


@on_device
@pytest.mark.parametrize("x", [np.ones(2, "c8"), np.ones(2, "g"), np.array(["a"]), np.array([{}])])
def test_uploads_of_other_dtypes(x):
    with pytest.raises(TypeError, match="the dtype of x must be one of float16"):
        cuda.asarray(x)


@on_device
def test_asarray_of_an_array_is_itself():
    array = cuda.asarray(np.ones(3), device="cuda:0")
    assert cuda.asarray(array) is array
    assert cuda.asarray(array, device=0) is array
    with pytest.raises(ValueError, match="x is on cuda:0, not on cuda:1"):
        cuda.asarray(array, device=1)


@on_device
def test_numpy_never_takes_one_by_itself():
    array = cuda.asarray(np.ones((2, 3), np.float32))
    for convert in (np.asarray, np.sum, np.exp, lambda x: np.ones((2, 3)) + x):
        with pytest.raises(TypeError, match=r"use its method numpy\(\)|unsupported operand"):
            convert(array)
    with pytest.raises((BufferError, RuntimeError)):
        np.from_dlpack(array)


@on_device
def test_repr_and_len():
    array = cuda.asarray(np.ones((2, 3), np.float16))
    assert repr(array) == "<fastconv.cuda.Array (2, 3) float16 on cuda:0>"
    assert len(array) == 2
    with pytest.raises(TypeError, match="without axes"):
        len(cuda.asarray(1.0))


class Lender:
    """Another library's array: lends one of ours by DLPack, and notes what it was asked."""

    def __init__(self, array, *, old=False):
        self.array, self.old, self.asked = array, old, []

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        if self.old and "max_version" in options:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.asked.append(options)
        return self.array.__dlpack__(**options)


class Interface:
    """Another library's array, by __cuda_array_interface__."""

    def __init__(self, array, **changes):
        self.array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__ | changes


def pointer(array):
    return array.__cuda_array_interface__["data"][0]


@on_device
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wrap", [Lender, lambda x: Lender(x, old=True), Interface])
def test_borrowed_arrays_share_memory(dtype, wrap, rng):
    x = rng.integers(0, 2, (2, 3, 4)).astype(dtype)
    array = cuda.asarray(x)
    borrowed = cuda.asarray(wrap(array))
    assert pointer(borrowed) == pointer(array)
    assert borrowed.dtype == x.dtype
    assert borrowed.strides == array.strides
    del array
    gc.collect()
    assert np.array_equal(borrowed.numpy(), x)
    again = cuda.asarray(wrap(borrowed))
    del borrowed
    assert np.array_equal(again.numpy(), x)


@on_device
def test_dlpack_streams():
    array = cuda.asarray(np.ones(3))
    lender = Lender(array)
    cuda.asarray(lender)
    with cuda.stream(2):
        cuda.asarray(lender)
    cuda.asarray(Lender(array, old=True))
    assert lender.asked == [
        {"stream": 1, "max_version": (1, 0)},
        {"stream": 2, "max_version": (1, 0)},
    ]
    for stream in (None, -1, 1, 2):
        assert "dltensor" in repr(array.__dlpack__(stream=stream))
    for stream in (0, -2, "1"):
        with pytest.raises(ValueError, match="stream must be -1, 1, 2, a pointer or None"):
            array.__dlpack__(stream=stream)


@on_device
def test_dlpack_versions_devices_and_copies():
    array = cuda.asarray(np.arange(3.0))
    assert '"dltensor"' in repr(array.__dlpack__())
    assert '"dltensor"' in repr(array.__dlpack__(max_version=(0, 8)))
    assert '"dltensor_versioned"' in repr(array.__dlpack__(max_version=(1, 1)))
    assert "dltensor" in repr(array.__dlpack__(dl_device=(2, 0), copy=False))
    with pytest.raises(BufferError, match=r"on cuda:0: use its method numpy\(\)"):
        array.__dlpack__(dl_device=(1, 0))

    class Copier(Lender):
        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options, copy=True)

    copied = cuda.asarray(Copier(array))
    assert pointer(copied) != pointer(array)
    assert copied.numpy().tolist() == [0, 1, 2]


@on_device
def test_a_capsule_is_used_once():
    array = cuda.asarray(np.arange(3.0))

    class Again(Lender):
        def __dlpack__(self, **options):
            self.capsule = getattr(self, "capsule", None) or super().__dlpack__(**options)
            return self.capsule

    lender = Again(array)
    assert cuda.asarray(lender).numpy().tolist() == [0, 1, 2]
    assert '"used_dltensor_versioned"' in repr(lender.capsule)
    with pytest.raises(TypeError, match="one that has been used"):
        cuda.asarray(lender)


@on_device
def test_borrowed_strides():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    array = cuda.asarray(x)
    start = pointer(array)
    for view in (
        x.T,
        x[:, ::2],
        x[1, :, 1:3],
        x[::-1, :, ::-1],
        np.broadcast_to(x[:, :1], (2, 5, 4)),
    ):
        offset = view.__array_interface__["data"][0] - x.__array_interface__["data"][0]
        borrowed = cuda.asarray(
            Interface(array, shape=view.shape, strides=view.strides, data=(start + offset, False))
        )
        assert np.array_equal(borrowed.numpy(), view)
        assert np.array_equal(cuda.asarray(Lender(borrowed)).numpy(), view)
        interface = borrowed.__cuda_array_interface__
        assert interface["shape"] == view.shape
        assert interface["strides"] == (None if view.flags.c_contiguous else view.strides)
        copied = borrowed._native.copy()
        assert np.array_equal(copied.numpy(), view)


@on_device
def test_read_only_stays_so():
    array = cuda.asarray(np.ones(3))
    borrowed = cuda.asarray(Interface(array, data=(pointer(array), True)))
    assert borrowed.__cuda_array_interface__["data"][1] is True
    assert cuda.asarray(Lender(borrowed)).__cuda_array_interface__["data"][1] is True
    with pytest.raises(BufferError, match="read-only"):
        borrowed.__dlpack__()


@on_device
def test_bad_interfaces():
    array = cuda.asarray(np.ones(4, np.float32))
    host = np.ones(4, np.float32)
    cases = [
        ({"mask": array}, TypeError, "mask"),
        ({"stream": 0}, ValueError, "stream of x is 0"),
        ({"typestr": "<c8"}, TypeError, "dtype of x must be"),
        ({"typestr": ">f4"}, TypeError, "dtype of x must be"),
        ({"strides": (3,)}, TypeError, "no multiple of its item size"),
        ({"data": (host.ctypes.data, False)}, ValueError, "no device memory"),
    ]
    for changes, error, message in cases:
        with pytest.raises(error, match=message):
            cuda.asarray(Interface(array, **changes))
    for stream in (None, 1, 2):
        assert cuda.asarray(Interface(array, stream=stream)).numpy().tolist() == [1] * 4


@on_device
def test_streams():
    class Stream:
        def __init__(self, name, value):
            setattr(self, name, value)

    class Protocol:
        def __cuda_stream__(self):
            return (0, 2)

    for stream in (2, Stream("cuda_stream", 2), Stream("ptr", 2), Protocol()):
        with cuda.stream(stream):
            assert cuda.asarray([1.0]).__cuda_array_interface__["stream"] == 2
            with cuda.stream(0):
                assert cuda.asarray([1.0]).__cuda_array_interface__["stream"] == 1
    assert cuda.asarray([1.0]).__cuda_array_interface__["stream"] == 1
    with pytest.raises(TypeError, match="stream must be a CUDA stream, got str"), cuda.stream("2"):
        pass
    with pytest.raises(ValueError, match="got -1"), cuda.stream(-1):
        pass


@on_device
def test_out_of_memory():
    huge = np.broadcast_to(np.float32(0), (1 << 22, 1 << 22))
    native = cuda.asarray(np.ones(1))._native
    with pytest.raises(MemoryError, match=r"\d+ bytes asked for, \d+ of \d+ free"):
        type(native).from_numpy(huge, 0)
    fastconv.trim()
    assert cuda.asarray(np.ones(1)).numpy() == 1


@on_device
def test_a_forked_child_says_that_it_cannot(run_source):
    source = """
        import os
        import numpy as np
        from fastconv import cuda
        array = cuda.asarray(np.ones(3))
        child = os.fork()
        if child == 0:
            assert not cuda.is_available()
            for call in (lambda: cuda.asarray(np.ones(3)), array.numpy, cuda.get_device_properties):
                try:
                    call()
                except cuda.CudaUnavailable as error:
                    assert "was forked" in str(error)
                else:
                    os._exit(1)
            del array
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert array.numpy().tolist() == [1, 1, 1]
    """
    run_source(source)


# ---- Failures that only the emulation makes up ----

MISSING = [
    ({"FASTCONV_EMULATION_DRIVER": "0"}, "no NVIDIA driver was found"),
    ({"FASTCONV_EMULATION_DEVICES": "0"}, "no CUDA device was found by the driver for CUDA 13.0"),
    (
        {"FASTCONV_EMULATION_CAPABILITY": "7.5"},
        "CUDA device 0 has compute capability 7.5, this build needs 8.0 or newer",
    ),
]


@on_device
@pytest.mark.parametrize(("environment", "message"), MISSING if emulated else [])
def test_what_is_missing_is_said(environment, message, run_source):
    source = f"""
        import numpy as np
        from fastconv import cuda
        assert cuda.device_count() == 0 and not cuda.is_available()
        for call in (cuda.get_device_properties, lambda: cuda.asarray(np.ones(3))):
            try:
                call()
            except cuda.CudaUnavailable as error:
                assert {message!r} in str(error), error
            else:
                raise AssertionError
    """
    run_source(source, **environment)
