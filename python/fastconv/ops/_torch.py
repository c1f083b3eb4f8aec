"""The arguments of torch's functions and layers that are spelled otherwise here, or change nothing.

Every op takes them by torch's names and at torch's places; `torch_arguments` is the one place that
knows how, and `NEUTRAL` what the arguments are good for that have no counterpart.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Neutral(NamedTuple):
    """An argument of torch whose usual values change nothing at inference."""

    values: tuple[Any, ...]
    """Those values: a class stands for all its instances. Without any it is no argument here."""
    substitute: str
    """What to do instead of passing another value."""


NEUTRAL: Mapping[str, Neutral] = {
    "inplace": Neutral((bool,), "pass True or False; what is returned counts"),
    "_stacklevel": Neutral(
        (int,), "torch has _stacklevel, a number, at this place; to convert, pass x.astype(dtype)"
    ),
    "dtype": Neutral((None,), "convert the array itself, x.astype(dtype)"),
    "alpha": Neutral((1, 1.0), "multiply before: pass fastconv.multiply(b, alpha) for b"),
    **dict.fromkeys(
        ("dim", "keepdim"),
        Neutral(
            (),
            "pass axis= and keepdims=, with NumPy's meaning: torch's function of this name does "
            "something else (max and min return a pair: fastconv.argmax and fastconv.argmin give "
            "the indices)",
        ),
    ),
    "decimals": Neutral((0,), "scale, fastconv.round(x * 10**n) / 10**n"),
    "rounding_mode": Neutral(
        (None,), "fastconv.floor(fastconv.divide(a, b)) rounds down, fastconv.trunc towards 0"
    ),
    "training": Neutral(
        (False,), "only inference is computed, with running_mean and running_var as they are"
    ),
    "momentum": Neutral((float, int, None), "only training uses it: leave it out"),
    **{
        f"{bound}_value": Neutral((None,), f"torch renamed it: pass {bound}_val")
        for bound in ("min", "max")
    },
    "track_running_stats": Neutral(
        (True,),
        "the statistics of a batch are not computed at inference: set running_mean and "
        "running_var, or use nn.LayerNorm",
    ),
    "return_indices": Neutral(
        (False,),
        "only the maxima are computed: find indices with numpy.argmax on "
        "numpy.lib.stride_tricks.sliding_window_view",
    ),
}


def check_neutral(**arguments: Any) -> None:
    """Refuse values that would change something, for arguments of the table `NEUTRAL`.

    Raises
    ------
    ValueError, TypeError
        If there is such a value; if no value is possible. The message has the substitute.
    """
    for name, value in arguments.items():
        values, substitute = NEUTRAL[name]
        plain = value.item() if isinstance(value, np.generic) else value
        kind = type(plain)
        if not values:
            raise TypeError(f"{name}={value!r} is not possible: {substitute}")
        if not any(kind is v or (kind is type(v) and plain == v) for v in values):
            raise ValueError(f"{name}={value!r} is not possible: {substitute}")


def torch_arguments(signature: str) -> Callable[[_Function], _Function]:
    """Let an op take the arguments of torch's function of this name, too.

    Parameters
    ----------
    signature : str
        Torch's arguments in torch's order, what is keyword-only after ``*``, separated by spaces.
        ``name=ours`` is one that has another name here; one that is not among the op's own
        parameters is in `NEUTRAL`. The op's own positional parameters must come first.
    """

    def decorate(function: _Function) -> _Function:
        code = inspect.unwrap(function).__code__  # a signature takes long: import must stay fast
        most = code.co_argcount
        names = frozenset(code.co_varnames[: most + code.co_kwonlyargcount])
        places, _, keywords = signature.partition("*")
        order = [word.partition("=")[0] for word in places.split()]
        renamed = dict(
            word.split("=") for word in (*places.split(), *keywords.split()) if "=" in word
        )
        rest = [renamed.get(name, name) for name in order[most:]]
        neutral = {*order, *keywords.split()} - names - renamed.keys()

        def respelled(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
            """Return the keyword arguments for `function`, what is neutral checked and left out."""
            given = dict(zip(rest, args[most:], strict=False))
            if len(args) > len(order):
                raise TypeError(
                    f"{function.__name__}() takes at most {len(order)} positional arguments, "
                    f"got {len(args)}"
                )
            for name, value in kwargs.items():
                ours = renamed.get(name, name)
                if ours in given or (ours != name and ours in kwargs):
                    both = f"{ours} and {name}, which are the same" if ours != name else ours
                    raise TypeError(f"{function.__name__}() got {both}: pass one of them once")
                given[ours] = value
            for name in neutral & given.keys():
                check_neutral(**{name: given.pop(name)})
            return given

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(args) > most or (kwargs and not kwargs.keys() <= names):
                kwargs = respelled(args, kwargs)
                args = args[:most]
            return function(*args, **kwargs)

        call.torch_signature = signature  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def dtype_of(value: Any) -> Any:
    """Return NumPy's dtype, or the name, of a dtype of NumPy or torch; `None` for anything else."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, np.dtype | type):
        return np.dtype(value)
    name = str(value).removeprefix("torch.")
    if isinstance(value, str) or type(value).__name__ == "dtype":
        try:
            return np.dtype(name)
        except (TypeError, ValueError):
            return None if isinstance(value, str) else name
    return None


def on_cpu(device: Any) -> None:
    """Refuse a `device` argument that is not the CPU.

    Raises
    ------
    ValueError
        The message says how to compute on a device.
    """
    if device is not None and str(device).partition(":")[0] != "cpu":
        raise ValueError(
            f"device must be 'cpu' here, got {device!r}: parameters are in host memory; networks "
            f"run on a device by model.compile(input_shape, device='cuda')"
        )
