"""Check a wheel (size, contents, no path of this machine) and the time that importing takes.

Usage: python .ci/check_wheel.py WHEEL
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

MAX_BYTES = 10_000_000
MAX_IMPORT_SECONDS = 0.1  # beyond NumPy's own


def contents_problems(path: Path) -> list[str]:
    """What is wrong with the wheel's size and files."""
    problems = []
    size = path.stat().st_size
    print(f"{path.name}: {size / 1e6:.2f} MB")
    if size >= MAX_BYTES:
        problems.append(f"the wheel has {size} bytes, more than {MAX_BYTES}")

    sources = Path("python")
    expected = {
        str(file.relative_to(sources))
        for file in sources.rglob("*")
        if file.suffix in (".py", ".pyi", ".npz") or file.name == "py.typed"
    }
    private = {str(Path.cwd()).encode(), f"{Path.home()}/".encode()}
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        for name in names:
            content = wheel.read(name)
            problems += [f"{name} contains {p.decode()}" for p in private if p in content]
    info = {name for name in names if re.match(r"fastconv-[^/]+\.dist-info/", name)}
    extension = {name for name in names if re.fullmatch(r"fastconv/_core\.[\w.-]+\.so", name)}
    if len(extension) != 1:
        problems.append(f"one extension module expected, found {sorted(extension)}")
    if not any(name.endswith("licenses/LICENSE") for name in info):
        problems.append("no licence inside")
    problems += [f"{name} is missing" for name in sorted(expected - names)]
    problems += [f"{name} does not belong" for name in sorted(names - info - extension - expected)]
    return problems


def cpu_time(statement: str) -> float:
    """Processor time of a new interpreter for `statement`; a busy machine adds little to it."""
    process = subprocess.Popen([sys.executable, "-c", statement], cwd=os.sep)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, statement)
    return usage.ru_utime + usage.ru_stime


def import_problems() -> list[str]:
    """What is wrong with the import time: the best of several, in turns."""
    times = [(cpu_time("import numpy"), cpu_time("import numpy, fastconv")) for _ in range(15)]
    numpy, both = (min(column) for column in zip(*times, strict=True))
    seconds = both - numpy
    print(f"import fastconv: {seconds * 1e3:.0f} ms beyond NumPy's own")
    if seconds >= MAX_IMPORT_SECONDS:
        return [f"import fastconv takes {seconds:.3f} s, more than {MAX_IMPORT_SECONDS}"]
    return []


def main() -> int:
    """Print what was measured and every problem; 1 if there is one."""
    problems = contents_problems(Path(sys.argv[1])) + import_problems()
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
