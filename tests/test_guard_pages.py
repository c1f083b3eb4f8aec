"""A sample of tests/guard_pages.py, and that it notices what it is for."""

import ctypes
import os
import subprocess
import sys
import textwrap

import fastconv
import guard_pages
import numpy as np
import pytest


@pytest.mark.parametrize("isa", fastconv.show_config("dict")["isa_found"])
def test_nothing_beyond_the_arrays_is_touched(isa):
    assert guard_pages.search(isa, 0, 1200) is None


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


def test_every_public_operator_is_called():
    called = {guard_pages.make(number)[1][0] for number in range(2000)}
    views = {"AlgorithmInfo", "PreparedConv2d", "algorithms", "cat", "flatten", "reshape", "split"}
    others = {"conv1d", "depthwise_separable_conv2d", "global_avg_pool2d"}  # made of these
    assert called - {"network", "transposed network"} == set(fastconv.ops.__all__) - views - others
