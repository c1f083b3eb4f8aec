"""The command ``fastconv``."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from fastconv._version import __version__
from fastconv.cli import _bench, _classify, _explain, _info, _summary

__all__ = ["main"]

_BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; by default those of this process.

    Returns
    -------
    int
        The exit code: 0, or 2 after bad input, with one line on stderr that says what was wrong.
        ``bench --compare`` returns 1 if something has become slower.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version`` (0) and for arguments that cannot be parsed (2).

    Examples
    --------
    >>> from fastconv.cli import main
    >>> main(["classify", "no-such-photo.jpg"])  # prints the error to stderr
    2
    """
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be unprintable
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status: int = arguments.run(arguments) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has gone; nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (ValueError, ImportError, MemoryError) as error:
        return _fail(str(error) or "out of memory")
    except KeyboardInterrupt:
        return 130
    return status


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(_BAD_INPUT, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="fastconv",
        description="Run convolutional networks on the CPU, with NumPy alone.",
        epilog="fastconv COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"fastconv {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _bench.add_parser(commands)
    _classify.add_parser(commands)
    _explain.add_parser(commands)
    _info.add_parser(commands)
    _summary.add_parser(commands)
    return parser


def _fail(message: str) -> int:
    line = " ".join(message.split())
    print(f"fastconv: error: {line}".encode("ascii", "backslashreplace").decode(), file=sys.stderr)
    return _BAD_INPUT
