"""Items of a stage, one after the other in a process of its own, which a device error may end.

``python -m bench.gpu STAGE`` reads JSON from its standard input: ``quick``, and ``skip``, the
names that are done. It answers with a JSON line each: the names of all items; a name that begins;
its result.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol, TextIO, cast

TAIL = 3000
"""Characters of an error that are kept: its end says most."""


SPENT = "the budget was spent"


class Missing(Exception):
    """This machine lacks what an item needs."""


class Stage(Protocol):
    """What a module of items defines."""

    def names(self, quick: bool) -> list[str]:
        """Return the items, the most important first."""

    def run(self, name: str) -> dict[str, Any]:
        """Return the result; `AssertionError` is a failure, any other error one of the device."""


def serve(stage: Stage, request: Mapping[str, Any], out: TextIO) -> None:
    """Run the items that are not done; stop after an error that may have broken the device."""

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=out, flush=True)

    try:
        names = stage.names(request["quick"])
    except Missing as lack:
        say(names=["all"])
        say(begun="all")
        say(name="all", result={"status": "missing", "why": str(lack)})
        return
    say(names=names)
    for name in names:
        if name in request["skip"]:
            continue
        say(begun=name)
        broken = False
        try:
            result = {"status": "passed", **stage.run(name)}
        except Missing as lack:
            result = {"status": "missing", "why": str(lack)}
        except Exception as error:
            result = {"status": "failed", "why": traceback.format_exc()[-TAIL:]}
            broken = not isinstance(error, AssertionError)
        say(name=name, result=result)
        if broken:
            return


def run(
    stage: str,
    *,
    environment: Mapping[str, str],
    quick: bool,
    done: Collection[str],
    limit: float,
    deadline: float,
    begin: Callable[[str], object],
    add: Callable[[str, dict[str, Any]], object],
    log: TextIO,
) -> dict[str, str]:
    """Run a stage's items in processes, a new one after each that broke; return what did not run.

    Parameters
    ----------
    stage : str
        The module in ``bench.gpu``.
    environment : mapping of str to str
        Of the processes.
    quick : bool
        Whether to run few items.
    done : collection of str
        Items to leave out.
    limit : float
        Seconds for one item.
    deadline : float
        By `time.monotonic`: nothing runs after it.
    begin, add : callable
        Told of an item that begins, and of its result.
    log : file
        For what the processes print.

    Returns
    -------
    dict of str to str
        Why, by the item's name.
    """
    done = set(done)
    names: list[str] = []
    while time.monotonic() < deadline:
        ending = _process(stage, environment, quick, done, limit, deadline, begin, add, log)
        names = ending.names or names
        left = [name for name in names if name not in done]
        if ending.why is None and not left:
            return {}
        if ending.why == SPENT:
            break
        if ending.why is not None:  # the fault of the item that ran, or of the next one
            guilty = ending.running or next(iter(left), "start")
            add(guilty, {"status": "failed", "why": ending.why})
            done.add(guilty)
            if not names or left == [guilty]:
                return {}
    left = [name for name in names or ["all"] if name not in done]
    return dict.fromkeys(left, SPENT)


class _Ending(NamedTuple):
    """How a process of items ended."""

    names: list[str]
    running: str | None
    """The item that had begun."""
    why: str | None
    """Nothing where the process ended by itself, and well."""


def _process(
    stage: str,
    environment: Mapping[str, str],
    quick: bool,
    done: set[str],
    limit: float,
    deadline: float,
    begin: Callable[[str], object],
    add: Callable[[str, dict[str, Any]], object],
    log: TextIO,
) -> _Ending:
    """Run a process until it ends or must end; add what it has done to `done`."""
    names: list[str] = []
    running: str | None = None
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "bench.gpu", stage],
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        try:
            json.dump({"quick": quick, "skip": sorted(done)}, process.stdin)
            process.stdin.close()
            until = min(deadline, time.monotonic() + limit)
            while line := lines.get(timeout=max(0.0, until - time.monotonic())):
                answer = json.loads(line)
                if "names" in answer:
                    names = answer["names"]
                elif "begun" in answer:
                    running = answer["begun"]
                    until = min(deadline, time.monotonic() + limit)
                    begin(running)
                else:
                    add(answer["name"], answer["result"])
                    done.add(answer["name"])
                    running = None
            status = process.wait()
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # and those it started
            if not isinstance(error, queue.Empty):
                raise
            return _Ending(
                names, running, SPENT if until == deadline else f"took more than {limit:.0f} s"
            )
    why = None if status == 0 else f"the process ended with status {status}: see the log"
    return _Ending(names, running, why)


def _read(file: TextIO, lines: queue.Queue[str | None]) -> None:
    for line in file:
        lines.put(line)
    lines.put(None)


def main() -> None:
    """Serve the stage that the command line names; libraries print to stderr instead."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stage = cast(Stage, importlib.import_module(f"bench.gpu.{sys.argv[1]}"))
    serve(stage, json.load(sys.stdin), out)
