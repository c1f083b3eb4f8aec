"""Calls every operator on arrays that begin or end at pages which nobody may touch.

``python tests/guard_pages.py [--calls N] [--first NUMBER]`` runs N random calls on each instruction
set of this CPU. Inputs, weights and ``out=`` lie against protected pages, at either end; what a
call reads or writes beyond them ends the process, and the message names the call. Results must be
those of ordinary arrays, bit for bit, and the memory around them must stay as it was.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import subprocess
import sys

import fastconv
import numpy as np
from random_calls import Array, make


class Fence:
    """A piece of memory between two pages that may not be touched."""

    BYTES = 1 << 24

    def __init__(self) -> None:
        page = mmap.PAGESIZE
        self._map = mmap.mmap(-1, self.BYTES + 2 * page)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        libc = ctypes.CDLL(None, use_errno=True)
        for address in (first, first + page + self.BYTES):
            if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(page), 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")
        self._bytes = np.frombuffer(self._map, np.uint8, self.BYTES, page)

    def place(self, values: Array, at_end: bool) -> Array:
        """Return a copy of these values, in the same order, at one of the protected pages."""
        assert values.nbytes <= self.BYTES
        begin = self.BYTES - values.nbytes if at_end else 0
        self._begin, self._end = begin, begin + values.nbytes
        self._around()[:] = 0xA5
        order = np.argsort([-stride for stride in values.strides], kind="stable")
        placed = self._bytes[begin : begin + values.nbytes].view(values.dtype)
        placed = placed.reshape([values.shape[i] for i in order]).transpose(np.argsort(order))
        placed[...] = values
        return placed

    def is_intact(self) -> bool:
        """Whether nobody has written beside the array on the side without a protected page."""
        return bool((self._around() == 0xA5).all())

    def _around(self) -> Array:
        near = 256
        if self._begin:
            return self._bytes[max(self._begin - near, 0) : self._begin]
        return self._bytes[self._end : self._end + near]


class Fences:
    """As many of them as the arrays of a call need."""

    def __init__(self) -> None:
        self._all: list[Fence] = []
        self._used = 0

    def free(self) -> None:
        """Let the next arrays have the places of the last ones."""
        self._used = 0

    def place(self, values: Array, at_end: bool) -> Array:
        """As `Fence.place`, in a fence of its own."""
        if self._used == len(self._all):
            self._all.append(Fence())
        self._used += 1
        return self._all[self._used - 1].place(values, at_end)

    def are_intact(self) -> bool:
        """Whether nobody has written beside the arrays since `free`."""
        return all(fence.is_intact() for fence in self._all[: self._used])


def run(number: int, fences: Fences) -> None:
    """Make a call on ordinary arrays, and again between protected pages; the results are equal."""
    call = make(number)
    expected = call.function(**call.arrays, **call.options)
    fences.free()
    placed = {key: fences.place(array, call.at_end) for key, array in call.arrays.items()}
    several = isinstance(expected, tuple)
    outs = tuple(
        fences.place(np.full_like(y, np.nan), call.at_end)
        for y in (expected if several else [expected])
    )
    y = call.function(**placed, **call.options, out=outs if several else outs[0])
    for out, result, wanted in zip(
        outs, y if several else [y], expected if several else [expected], strict=True
    ):
        assert result is out
        np.testing.assert_array_equal(out, wanted)
    for key, array in call.arrays.items():
        np.testing.assert_array_equal(placed[key], array, err_msg=key)
    assert fences.are_intact(), "written beside an array"


def work(first: int, count: int, progress: int) -> None:
    """Make these calls; before each, write its number to a file, in case it is the last."""
    fastconv.set_num_threads(1)
    fences = Fences()
    for number in range(first, first + count):
        os.pwrite(progress, b"%20d" % number, 0)
        try:
            run(number, fences)
        except Exception as error:
            raise AssertionError(f"call {number}: {make(number)}") from error


def search(isa: str, first: int, count: int) -> str | None:
    """Make calls in a process of its own; return what went wrong."""
    import tempfile

    with tempfile.TemporaryFile() as progress:
        command = [sys.executable, __file__, "--worker", str(progress.fileno())]
        command += ["--calls", str(count), "--first", str(first)]
        done = subprocess.run(
            command,
            env={**os.environ, "FASTCONV_ISA": isa},
            pass_fds=[progress.fileno()],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return None
        number = int(os.pread(progress.fileno(), 20, 0) or -1)
        call = make(number) if number >= 0 else "no call"
        return f"{isa}: exit code {done.returncode} in call {number}: {call}\n{done.stderr[-3000:]}"


def main() -> int:
    """Run the search on every instruction set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=70000, help="on each instruction set")
    parser.add_argument("--first", type=int, default=0, help="number of the first call")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.first, arguments.calls, arguments.worker)
        return 0
    failed = 0
    for isa in fastconv.show_config("dict")["isa_found"]:
        problem = search(isa, arguments.first, arguments.calls)
        print(problem or f"{isa}: {arguments.calls} calls", flush=True)
        failed += problem is not None
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
