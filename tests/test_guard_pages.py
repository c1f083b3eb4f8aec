"""A sample of tests/guard_pages.py, and that it notices what it is for."""

import ctypes
import os
import subprocess
import sys
import textwrap
from collections import Counter

import fastconv
import guard_pages
import numpy as np
import pytest
import random_calls
from fastconv import _core

SAMPLE = 12 * len(random_calls.NAMES)  # every name in every setting, dtype and end


@pytest.mark.parametrize("isa", fastconv.show_config("dict")["isa_found"])
def test_nothing_beyond_the_arrays_is_touched(isa):
    assert guard_pages.search(isa, 0, SAMPLE) is None


@pytest.mark.parametrize("at_end", [True, False])
def test_a_touch_of_the_next_element_ends_the_process(at_end):
    program = f"""
        import ctypes
        import guard_pages
        import numpy as np

        array = guard_pages.Fence().place(np.ones(5, np.float32), {at_end})
        beyond = array.ctypes.data + (array.nbytes if {at_end} else -4)
        ctypes.c_float.from_address(beyond).value
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode < 0


@pytest.mark.parametrize("at_end", [True, False])
def test_a_write_on_the_other_side_is_noticed(at_end):
    fence = guard_pages.Fence()
    array = fence.place(np.ones(5, np.float32), at_end)
    assert fence.is_intact()
    beside = array.ctypes.data + (-4 if at_end else array.nbytes)
    ctypes.c_float.from_address(beside).value = 0.0
    assert not fence.is_intact()


@pytest.mark.parametrize("at_end", [True, False])
def test_arrays_keep_their_order_in_memory(at_end):
    values = np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0)
    placed = guard_pages.Fence().place(values, at_end)
    np.testing.assert_array_equal(placed, values)
    assert placed.strides == values.strides


@pytest.mark.parametrize("text", ["written beside", "Arrays are not equal"])
def test_a_call_that_does_wrong_is_noticed(monkeypatch, text):
    def wrong(x, out=None):
        if out is None:
            return x
        out[...] = x + (text != "written beside")
        beside = out.ctypes.data - out.itemsize
        if text == "written beside":
            ctypes.c_float.from_address(beside).value = 0.0
        return out

    call = random_calls.Call("wrong", wrong, {"x": np.ones(5, np.float32)}, {}, "alone", True)
    monkeypatch.setattr(guard_pages, "make", lambda number: call)
    with pytest.raises(AssertionError, match=text):
        guard_pages.run(0, guard_pages.Fences())


# ---- What the calls cover ------------------------------------------------------------------------


def test_every_public_operator_is_called():
    public = {
        name for name in fastconv.ops.__all__ if not isinstance(vars(fastconv.ops)[name], type)
    }
    assert set(random_calls.MAKERS) - {"network", "chain"} == public - {"algorithms"}


def test_the_sample_has_every_setting_dtype_and_end():
    calls = [random_calls.make(number) for number in range(SAMPLE)]
    ways = Counter((c.name, c.setting, c.arrays["x"].dtype.name, c.at_end) for c in calls)
    for name in random_calls.MAKERS:
        settings = {"alone"} if name in random_calls.NEVER_RECORDED else {"alone", "in a network"}
        for setting in settings:
            for dtype in ("float32", "float64"):
                for at_end in (True, False):
                    assert ways[name, setting, dtype, at_end], (name, setting, dtype, at_end)
    assert len({c.name for c in calls if c.setting == "between convolutions"}) > 25


def test_every_operator_of_graphs_is_in_a_network():
    found = {"scale_shift", "pointwise"}  # made by passes
    for number in range(SAMPLE):
        call = random_calls.make(number)
        x, *others = call.arrays.items()
        if call.setting != "alone" and x[1].dtype == np.float32:
            module = call.function.module(**dict(others), **call.options)
            found |= {node.op for node in module.graph(x[1].shape)}
    assert {name for name, *_ in _core.operators()} - found == set()
