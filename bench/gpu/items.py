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
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TextIO, cast

TAIL = 3000
"""Characters of an error that are kept: its end says most."""


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
    names: list[str] | None = None
    while True:
        asked = json.dumps({"quick": quick, "skip": sorted(done)})
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
            reader = threading.Thread(target=_read, args=(process.stdout, lines))
            reader.start()
            process.stdin.write(asked)
            process.stdin.close()
            running, why = None, ""
            until = min(deadline, time.monotonic() + limit)
            while True:
                try:
                    line = lines.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    why = "budget" if until == deadline else f"took more than {limit:.0f} s"
                    _kill(process)
                    break
                if line is None:
                    break
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
            reader.join()
            status = process.wait()
        if names is None:
            why = why or f"the process ended with status {status} before any item: see the log"
            add("start", {"status": "failed", "why": why})
            return {}
        if running is not None and why != "budget":
            why = why or f"the process ended with status {status}: see the log"
            add(running, {"status": "failed", "why": why})
            done.add(running)
        left = [name for name in names if name not in done]
        if not left:
            return {}
        if why == "budget" or time.monotonic() >= deadline:
            return dict.fromkeys(left, "the budget was spent")
        if running is None and status != 0 and not why:
            add(left[0], {"status": "failed", "why": f"the process ended with status {status}"})
            done.add(left[0])


def _read(file: TextIO, lines: queue.Queue[str | None]) -> None:
    for line in file:
        lines.put(line)
    lines.put(None)


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process and those it started, which are a session of their own."""
    os.killpg(process.pid, 9)


def main() -> None:
    """Serve the stage that the command line names; libraries print to stderr instead."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stage = cast(Stage, importlib.import_module(f"bench.gpu.{sys.argv[1]}"))
    serve(stage, json.load(sys.stdin), out)
