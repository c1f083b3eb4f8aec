"""Fail where the compiler keeps something on the stack inside a hot loop of a kernel.

Usage: python .ci/check_spills.py BUILD_FOLDER

A hot loop is an innermost one with at least eight fused multiply-adds. One access of the stack for
20 of them is let pass: it hides behind them. Looked at are the object files of the kernel families
below, for AVX2 and AVX-512; needs objdump (binutils).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FAMILIES = ("gemm", "depthwise", "grouped")
ISAS = ("avx2", "avx512")
LEAST_PRODUCTS = 8
ALLOWED = 0.05  # accesses of the stack for each product

_FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\s+(\S+)\s*(.*)$")
_STACK = re.compile(r"\(%r[sb]p")


def functions(path: Path) -> Iterator[tuple[str, list[tuple[int, str, str]]]]:
    """Yield the name and the (address, mnemonic, operands) of each function of an object file."""
    listing = subprocess.run(
        ["objdump", "-d", "-C", "--no-show-raw-insn", str(path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    name, body = "", []
    for line in listing.splitlines():
        if match := _FUNCTION.match(line):
            if body:
                yield name, body
            name, body = match[1], []
        elif match := _INSTRUCTION.match(line):
            body.append((int(match[1], 16), match[2], match[3]))
    if body:
        yield name, body


def hot_loops(body: list[tuple[int, str, str]]) -> Iterator[list[tuple[int, str, str]]]:
    """Yield the innermost loops that multiply: from the target of a jump backwards to the jump."""
    loops = []
    for address, mnemonic, operands in body:
        target = re.match(r"([0-9a-f]+) <", operands)
        if mnemonic.startswith("j") and target and int(target[1], 16) <= address:
            loops.append((int(target[1], 16), address))
    for start, end in loops:
        if any((s, e) != (start, end) and start <= s and e <= end for s, e in loops):
            continue
        loop = [line for line in body if start <= line[0] <= end]
        if products(loop) >= LEAST_PRODUCTS:
            yield loop


def products(loop: list[tuple[int, str, str]]) -> int:
    """Count the fused multiply-adds."""
    return sum("fmadd" in mnemonic for _, mnemonic, _ in loop)


def main(build: Path) -> int:
    """Print what was found; return 1 where a hot loop touches the stack, or none was found."""
    spills = total = 0
    for isa in ISAS:
        for family in FAMILIES:
            found = 0
            for path in sorted(build.glob(f"**/kernels_{isa}.dir/src/kernels/{family}/*.o")):
                for name, body in functions(path):
                    for loop in hot_loops(body):
                        found += 1
                        touching = sum(bool(_STACK.search(line[2])) for line in loop)
                        if touching > ALLOWED * products(loop):
                            spills += 1
                            print(f"{isa}, {name}: {touching} for {products(loop)} products")
            total += found
            print(f"{isa}, {family}: {found} hot loops")
    print(f"{spills} of {total} hot loops touch the stack")
    return 1 if spills or not total else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
