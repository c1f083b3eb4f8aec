"""Compiled networks: what `Module.compile` returns, and what calling a module runs."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastconv import _cache, _core, cuda
from fastconv._arguments import as_array, as_int, choice, is_sequence
from fastconv._cache import Bounded
from fastconv._recording import Recording
from fastconv._tuning import Times, Tuner, explain
from fastconv.config import get_num_threads
from fastconv.cuda._array import is_on_device
from fastconv.cuda._devices import device_index
from fastconv.ops._conv import ACCURACIES
from fastconv.ops._operands import Operands, share_memory

if TYPE_CHECKING:
    from fastconv.nn import Module

__all__ = ["Network", "Steps"]

Array = NDArray[Any]

_PRECISIONS: dict[str, np.dtype[Any]] = {"fp32": np.dtype(np.float32), "fp64": np.dtype(np.float64)}
_CUDA_PRECISIONS = ("fp32", "tf32", "fp16", "bf16")  # all take and return float32


class Steps(list[dict[str, Any]]):
    """The steps of a network, one dictionary each; as text, a table.

    Attributes
    ----------
    peak_gflops : float or None
        Of a profile on the CPU: what multiply-adds in registers reach here on as many threads.
    verbose : bool
        Whether the text also says what was rejected, and why.
    """

    def __init__(
        self,
        steps: Iterable[dict[str, Any]] = (),
        *,
        peak_gflops: float | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(steps)
        self.peak_gflops = peak_gflops
        self.verbose = verbose

    @property
    def total(self) -> dict[str, Any]:
        """``macs`` of all steps; of a profile also ``seconds``, ``gflops`` and ``of_peak``."""
        total: dict[str, Any] = {"macs": sum(step["macs"] for step in self)}
        if self._timed:
            total["seconds"] = sum(step["seconds"] for step in self)
            total |= _rates(total["macs"], total["seconds"], self.peak_gflops)
        return total

    @property
    def _timed(self) -> bool:
        return bool(self) and "seconds" in self[0]

    def __str__(self) -> str:
        columns: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
            ("name", lambda s: s["name"]),
            ("op", lambda s: s["op"]),
            ("output", lambda s: "x".join(map(str, s["shape"]))),
            ("algorithm", lambda s: s["algorithm"]),
            ("MMACs", lambda s: f"{s['macs'] / 1e6:.1f}" if s["macs"] else ""),
            ("MB", lambda s: f"{s['bytes'] / 1e6:.2f}"),
            ("ms", lambda s: f"{s['seconds'] * 1e3:.3f}"),
            ("share", lambda s: f"{s['share']:.1%}"),
            ("GFLOP/s", lambda s: f"{s['gflops']:.1f}" if s["macs"] else ""),
            ("of peak", lambda s: f"{s['of_peak']:.1%}" if s["macs"] else ""),
            ("reason", lambda s: s["reason"]),
        ]
        lines: list[dict[str, Any]] = list(self)
        if not self._timed:
            columns = [*columns[:6], columns[-1]]
        else:
            if self.peak_gflops is None:
                del columns[-2]
            total = self.total | {"bytes": sum(step["bytes"] for step in self), "share": 1.0}
            total |= {"name": "total", "op": "", "shape": (), "algorithm": "", "reason": ""}
            lines.append(total)
        rows = [[title for title, _ in columns], *([cell(s) for _, cell in columns] for s in lines)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        left = {0, 1, 2, 3, len(columns) - 1}
        text = [
            "  ".join(
                cell.ljust(width) if index in left else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        if self.verbose:
            for index in reversed(range(len(self))):
                names: dict[str, list[str]] = {}  # by why they were rejected
                for name, why in self[index]["rejected"].items():
                    names.setdefault(why, []).append(name)
                text[index + 2 : index + 2] = [
                    f"    not {', '.join(group)}: {why}" for why, group in names.items()
                ]
        return "\n".join(text)


def _rates(macs: int, seconds: float, peak_gflops: float | None) -> dict[str, float]:
    gflops = 2e-9 * macs / seconds if seconds > 0 else 0.0
    return {"gflops": gflops} | ({} if peak_gflops is None else {"of_peak": gflops / peak_gflops})


_peaks: dict[tuple[int, np.dtype[Any]], float] = {}


def _peak_gflops(threads: int, dtype: np.dtype[Any]) -> float:
    """Return the best that this process has measured; other work may have disturbed the first."""
    from fastconv.benchmark.machine import peak_flops

    now = 1e-9 * peak_flops(threads, dtype, repeats=5)
    best = _peaks[threads, dtype] = max(now, _peaks.get((threads, dtype), 0.0))
    return best


def _run_on_device(native: Any, arrays: Sequence[Any], unbatched: bool = False) -> list[Any]:
    results = native.run_on_device([array._native for array in arrays], unbatched)
    return [cuda.Array._wrap(result) for result in results]


class Network:
    """A module compiled for one input shape: made by `Module.compile`.

    Calls may come from many threads at once. It keeps the parameters it was compiled from: changing
    the module later does not change it.

    Attributes
    ----------
    input_shape : tuple of int
        What `x` must have.
    dtype : numpy.dtype
        What `x` must have, and what is computed and returned.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).compile((1, 3, 32, 32))
    >>> network(np.zeros((1, 3, 32, 32), np.float32)).shape
    (1, 8, 30, 30)
    >>> [step["op"] for step in network.explain()]
    ['conv2d+relu']
    """

    input_shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __init__(
        self,
        module: Module,
        input_shape: tuple[int, ...],
        options: dict[str, Any],
        measured: Mapping[str, Times] | None = None,
    ) -> None:
        self.input_shape = input_shape
        self._options = options
        own = module.dtype
        precision = options["precision"]
        self._device: int | None = device_index(options["device"])
        if precision is None:
            self.dtype = own if own is not None else np.dtype(np.float32)
        else:
            self.dtype = _PRECISIONS.get(precision, np.dtype(np.float32))
        self._unbatched = (
            module.input_ndim is not None and len(input_shape) == module.input_ndim - 1
        )
        self._shape = (1, *input_shape) if self._unbatched else input_shape
        recording = Recording(module, [self._shape], self.dtype, convert=precision is not None)
        self._recording: Recording | None = recording
        self._result, self._outs = recording.result, recording.outs
        self._weights = sum(array.nbytes for array in module.state_dict().values())
        self._taps: tuple[str, ...] = tuple(options["taps"])
        self._variants: Bounded[Any] = Bounded(4)
        self._tuner = None
        if options["autotune"]:
            threads = options["threads"] or get_num_threads()
            self._tuner = Tuner(self.dtype, options["accuracy"], threads, measured)
        self._native = self._compile(self._taps)
        self._module: Module | None = None
        if options["keep_weights"]:
            # The module as it is now; the arrays, which nobody writes to, are shared.
            shared: dict[int, Any] = {id(array): array for array in module.state_dict().values()}
            self._module = copy.deepcopy(module, shared)
        else:
            recording.native = None
            self._recording = None

    def _compile(self, taps: Sequence[str]) -> Any:
        if self._recording is None:
            raise ValueError(
                "this network was compiled with keep_weights=False: "
                "name its taps in compile(taps=...)"
            )
        recording = self._recording
        outputs = recording.outputs + recording.tap_values(taps)
        threads = self._options["threads"] or 0
        limits = self._options["accuracy"], self._options["max_workspace"]
        if self._device is not None:
            return cuda._native().Network(
                recording.native,
                outputs,
                *limits,
                precision=self._options["precision"] or "fp32",
                device=self._device,
                keep_constants=self._options["keep_weights"],
            )
        if self._tuner is None:
            return _core.Network(recording.native, outputs, *limits, threads)
        with _cache.making:  # what else is compiled or measured would disturb
            graph = recording.native.optimized(outputs)  # once for all networks
            plan = _core.Network.plan(graph, graph.outputs, *limits)
            native = functools.partial(_core.Network, graph, graph.outputs, *limits, threads)
            return self._tuner.tune(plan, native, self._shape)

    def __call__(self, x: ArrayLike, *, taps: Sequence[str] | None = None, out: Any = None) -> Any:
        """Compute the output.

        Parameters
        ----------
        x : array_like
            Of the compiled shape and dtype. If the network is on a CUDA device, also an array there
            (of fastconv, torch, CuPy...), with any strides.
        taps : sequence of str, optional
            Modules whose outputs are wanted too, by their names in `Module.named_modules`. The
            first use of a new set compiles a variant. Default: those named when compiling.
        out : ndarray or tuple of ndarray, optional
            Where to put the output, of its shape and the network's dtype; for several outputs a
            tuple of as many. With any strides, but only into a C-contiguous one it is written
            without a copy. Not for arrays on a CUDA device.

        Returns
        -------
        ndarray or (ndarray, dict of str to ndarray)
            The output, which is `out` itself if that was given; with taps, also the value that each
            of these modules returned last. They are `fastconv.cuda.Array` where `x` is on a device.

        Raises
        ------
        ValueError
            If `x` or `out` has another shape, a tap does not exist, or `out` is read-only or
            overlaps `x`, an array that the network reads, or itself.
        TypeError
            If `x` or `out` has another dtype, or `out` is no array.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv import nn
        >>> network = nn.Conv2d(3, 8, 3).compile((1, 3, 32, 32))
        >>> y = np.empty((1, 8, 30, 30), np.float32)
        >>> network(np.zeros((1, 3, 32, 32), np.float32), out=y) is y
        True
        """
        array = self._checked(x)
        names = self._taps if taps is None else self._tap_names(taps)
        native = self._native
        if names != self._taps:
            native = self._variants.get(names, lambda: self._compile(names))
        if isinstance(array, cuda.Array):
            if out is not None:
                raise TypeError("out cannot be given for x on a device: results are new arrays")
            arrays = _run_on_device(native, [array], self._unbatched)
        else:
            outs = [] if out is None else self._checked_outs(out, array, native)
            arrays = self._run(native, array, outs)
        y = self._result(arrays) if out is None else out
        if taps is None and not names:
            return y
        return y, dict(zip(names, arrays[len(arrays) - len(names) :], strict=True))

    def _run(self, native: Any, x: Array, outs: Sequence[Array]) -> list[Any]:
        """Return all outputs, the first of them in `outs`."""
        direct = [out if out.flags.carray else None for out in outs]
        if not self._unbatched:
            arrays: list[Any] = native.run([np.asarray(x, order="C")], direct)
        else:
            batches = [None if out is None else out[None] for out in direct]
            arrays = native.run([np.asarray(x[None], order="C")], batches)
            arrays = [array[0] for array in arrays]
        for out, written, array in zip(outs, direct, arrays, strict=False):
            if written is None:
                out[...] = array
        return arrays

    def _checked_outs(self, out: Any, x: Array, native: Any) -> list[Array]:
        """Return the arrays of `out` if the network can write to them while it reads `x`."""
        outs: dict[str, Array] = {}
        for name, array, shape in self._outs(out):
            if array is None:
                raise TypeError(f"{name} must be a numpy.ndarray, got None")
            Operands(x=x).check_out(array, shape[self._unbatched :], argument=name)
            for other, earlier in outs.items():
                if share_memory(array, earlier):
                    raise ValueError(f"{name} overlaps {other}: pass an array of its own")
            if self._device is None and native.overlaps_constants(array):
                raise ValueError(
                    f"{name} overlaps an array that the network reads: pass an array of its own"
                )
            outs[name] = array
        return list(outs.values())

    @staticmethod
    def _tap_names(taps: Sequence[str]) -> tuple[str, ...]:
        if not is_sequence(taps) or not all(isinstance(name, str) for name in taps):
            raise TypeError(
                f"taps must be a sequence of module names, such as ['layer3'], got {taps!r}"
            )
        return tuple(dict.fromkeys(taps))

    def _checked(self, value: Any) -> Any:
        """Return `value` as an array with the shape and dtype."""
        x: Any
        if not is_on_device(value):
            x = as_array("x", value)
        elif self._device is None:
            raise TypeError(
                "x is on a CUDA device, but the network was compiled for the CPU: compile it with "
                "device='cuda', or pass x as a NumPy array"
            )
        else:
            x = cuda.asarray(value, device=self._device)
        if x.dtype != self.dtype:
            raise TypeError(
                f"x must be {self.dtype} as the network was compiled, got {x.dtype}: "
                f"convert it with x.astype(np.{self.dtype})"
            )
        if x.shape != self.input_shape:
            hint = "compile the module for that shape, or call the module itself, which takes any"
            if x.shape == self.input_shape[1:] and self.input_shape[0] == 1:
                hint = "add the batch dimension with x[None]"
            elif x.ndim == 4 and tuple(x.shape[i] for i in (0, 3, 1, 2)) == self.input_shape:
                hint = "channels come first, x.transpose(0, 3, 1, 2)"
            raise ValueError(f"x must have shape {self.input_shape}, got {x.shape}: {hint}")
        return x

    def explain(self, verbose: bool = False) -> Steps:
        """Return what runs: the steps in order, with the algorithm of each and why it was chosen.

        Parameters
        ----------
        verbose : bool
            Whether the table also has a line for each algorithm that was rejected.

        Returns
        -------
        Steps
            A list of dictionaries: ``name`` (path of the module), ``op``, ``shape`` (of the
            result), ``algorithm``, ``reason``, ``rejected`` (why each other algorithm was not
            taken, by its name), ``error_class``, ``macs``, ``bytes`` (operands and packed weights,
            once each) and ``workspace`` (scratch bytes of one thread). ``print`` shows it as a
            table.

        Examples
        --------
        >>> from fastconv import nn
        >>> step = nn.Conv2d(3, 8, 5).compile((1, 3, 32, 32)).explain()[0]
        >>> step["rejected"]["winograd4"]
        'needs a 3x3 kernel'
        """
        return Steps(map(self._explained, self._native.steps()), verbose=verbose)

    def _explained(self, step: dict[str, Any]) -> dict[str, Any]:
        return explain(step) if self._tuner is None else self._tuner.explain(step)

    def profile(self, x: ArrayLike, repeats: int = 10) -> Steps:
        """Run the network and return its steps with their times.

        Parameters
        ----------
        x : array_like
            Of the compiled shape and dtype.
        repeats : int
            How often; the shortest time of each step counts.

        Returns
        -------
        Steps
            As `explain`, with ``seconds``, ``share`` (of all seconds), ``gflops`` (2 * ``macs`` /
            ``seconds`` / 1e9) and ``of_peak`` (the share of what multiply-adds in registers reach
            here on as many threads, measured in each call, the best of which counts; as ``macs``
            are those of the definition, Winograd may pass 1; not on CUDA devices). Its ``total``
            has the sums. On a device steps run one by one here, not as one captured graph.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv import nn
        >>> network = nn.Conv2d(3, 8, 3).compile((1, 3, 32, 32))
        >>> profile = network.profile(np.zeros((1, 3, 32, 32), np.float32))
        >>> profile.total["macs"], profile[0]["share"]
        (194400, 1.0)
        """
        if as_int("repeats", repeats) < 1:
            raise ValueError(f"repeats must be at least 1, got {repeats}")
        array = self._checked(x)
        if isinstance(array, cuda.Array):
            array = array.numpy()
        array = np.asarray(array[None] if self._unbatched else array, order="C")
        seconds = np.min([self._native.profile([array])[1] for _ in range(repeats)], axis=0)
        peak = None
        if self._device is None:
            peak = _peak_gflops(self._options["threads"] or get_num_threads(), self.dtype)
        total = float(seconds.sum())
        steps = Steps(self.explain(), peak_gflops=peak)
        for step, time in zip(steps, seconds.tolist(), strict=True):
            step["seconds"] = time
            step["share"] = time / total if total > 0 else 0.0
            step |= _rates(step["macs"], time, peak)
        return steps

    @property
    def memory(self) -> dict[str, int]:
        """Bytes: the module's weights (0 if not kept), packed ones, a call's arena."""
        return {
            "weights": self._weights if self._module is not None else 0,
            "packed": self._native.packed_bytes,
            "arena": self._native.arena_bytes,
        }

    def __reduce__(self) -> Any:
        if self._module is None:
            raise TypeError(
                "this network was compiled with keep_weights=False and cannot be pickled: "
                "compile it with keep_weights=True"
            )
        measured = None if self._tuner is None else self._tuner.known
        return Network, (self._module, self.input_shape, self._options, measured)

    def __repr__(self) -> str:
        steps = len(self.explain())
        return f"Network(input_shape={self.input_shape}, dtype={self.dtype}, steps={steps})"


def compile_module(
    module: Module,
    input_shape: Sequence[int],
    *,
    threads: int | None = None,
    device: str = "cpu",
    precision: str | None = None,
    accuracy: str = "fast",
    autotune: bool = False,
    max_workspace: int | None = None,
    taps: Sequence[str] = (),
    keep_weights: bool = True,
) -> Network:
    """Compile a module for one input shape.

    Parameters
    ----------
    module : Module
        What to compile.
    input_shape : sequence of int
        Usually (N, C, H, W).
    threads : int, optional
        How many threads each call uses on the CPU; by default as `fastconv.get_num_threads` says
        then.
    device : {"cpu", "cuda", "cuda:N"}
        Where it runs. On a CUDA device calls give back what they get: NumPy arrays for NumPy
        arrays, and `fastconv.cuda.Array` for arrays on the device.
    precision : {"fp32", "fp64"} or, on a CUDA device, {"fp32", "tf32", "fp16", "bf16"}, optional
        What it computes in. By default the parameters' dtype. On the CPU also what it takes and
        returns; on a CUDA device that is always float32, sums are in float32, and `fp32` never is
        TF32.
    accuracy : {"fast", "exact", "fastest"}
        What results may differ by from exact arithmetic (docs/accuracy.md): a stated share of the
        sum of absolute products of the output's own channel; nothing but the rounding of sums in
        a fixed order; or, where that is faster, a share of the largest sum of any channel.
    autotune : bool
        Whether to measure which algorithm is the fastest for each convolution, here and on as many
        threads, instead of going by a rule; the rule's choice stays unless another is clearly
        faster. Under ``accuracy="exact"`` only algorithms that give the same bits take part; under
        ``"fast"`` results may then differ by rounding from machine to machine and with the number
        of threads. What was measured is kept in a file, so that the next time is fast: see
        docs/graph.md. On the CPU only.
    max_workspace : int, optional
        Bytes of scratch memory that an operator may take: of one thread, or of the CUDA device.
    taps : sequence of str
        Modules whose outputs every call returns too.
    keep_weights : bool
        Whether to keep the parameters besides their packed form, for pickling and new taps.

    Returns
    -------
    Network

    Raises
    ------
    ValueError, TypeError
        If an argument has no such value, or `forward` cannot take this shape.
    fastconv.cuda.CudaUnavailable
        If `device` is a CUDA device and there is none that this build can use.
    """
    on_device = device_index(device) is not None
    choice("accuracy", accuracy, ACCURACIES)
    if precision is not None:
        if not on_device and precision in _CUDA_PRECISIONS[1:]:
            raise ValueError(f"precision={precision!r} needs device='cuda'")
        choice("precision", precision, _CUDA_PRECISIONS if on_device else tuple(_PRECISIONS))
    if on_device and autotune:
        raise ValueError("autotune measures kernels of the CPU: leave it False on device='cuda'")
    if on_device and threads is not None:
        raise ValueError("threads are those of the CPU: leave it None on device='cuda'")
    if threads is not None and not 1 <= as_int("threads", threads) <= 1024:
        raise ValueError(f"threads must be from 1 to 1024, got {threads}")
    if max_workspace is not None and as_int("max_workspace", max_workspace) < 0:
        raise ValueError(f"max_workspace must not be negative, got {max_workspace}")
    if isinstance(input_shape, (str, bytes)) or not hasattr(input_shape, "__len__"):
        raise TypeError(
            f"input_shape must be a sequence such as (1, 3, 224, 224), got {input_shape!r}"
        )
    shape = tuple(as_int("input_shape", size) for size in input_shape)
    if not shape or min(shape) < 0:
        raise ValueError(f"input_shape must be sizes such as (1, 3, 224, 224), got {shape}")
    options = {
        "threads": threads,
        "device": device,
        "precision": precision,
        "accuracy": accuracy,
        "autotune": bool(autotune),
        "max_workspace": max_workspace,
        "taps": Network._tap_names(taps),
        "keep_weights": bool(keep_weights),
    }
    return Network(module, shape, options)


class _Compiled:
    """The networks of a module that is called on arrays, one for all shapes of its inputs.

    Where networks differ in sizes alone, they share their packed weights: those of convolutions
    that are planned alike.
    """

    def __init__(self) -> None:
        self._networks: Bounded[tuple[Recording, Any]] = Bounded(32)
        self._packed: list[tuple[Any, Any]] = []  # graphs and networks whose weights were packed

    def run(self, module: Module, arrays: Sequence[Any]) -> Any:
        dtype, device = arrays[0].dtype, None
        if isinstance(arrays[0], cuda.Array):
            device = arrays[0]._native.device
        shapes = tuple(array.shape for array in arrays)
        recording, native = self._networks.get(
            (shapes, dtype, device), lambda: self._compile(module, shapes, dtype, device)
        )
        if device is not None:
            return recording.result(_run_on_device(native, arrays))
        return recording.result(native.run(list(arrays)))

    def _compile(
        self,
        module: Module,
        shapes: tuple[tuple[int, ...], ...],
        dtype: np.dtype[Any],
        device: int | None,
    ) -> tuple[Recording, Any]:
        recording = Recording(module, shapes, dtype)
        graph = recording.native.optimized(recording.outputs)
        recording.native = None
        for other, native in self._packed:
            if native.device == device and other.same_but_sizes(graph):
                return recording, native.with_graph(graph)
        if device is None:
            native = _core.Network(graph, graph.outputs, "fast", None, 0)
        else:
            native = cuda._native().Network(graph, graph.outputs, device=device)
        self._packed = [*self._packed, (graph, native)][-4:]
        return recording, native


def run_compiled(module: Module, *arrays: ArrayLike) -> Any:
    """Compute ``module.forward`` on arrays by a network that is compiled once for each shape.

    Parameters
    ----------
    module : Module
        Its compiled networks are kept in its attribute ``_compiled``, which it sets to `None` when
        its parameters change.
    *arrays : array_like
        The inputs, of one floating dtype.
    """
    inputs: list[Any]
    if on_device := any(map(is_on_device, arrays)):
        inputs = [cuda.asarray(array) for array in arrays]
    else:
        inputs = [as_array("x", array) for array in arrays]
    if len({array.dtype for array in inputs}) != 1:
        raise TypeError(
            "the inputs must have one dtype, got " + ", ".join(str(array.dtype) for array in inputs)
        )
    dtype = inputs[0].dtype
    compute = np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
    compiled = module._compiled
    if compiled is None:
        with _cache.making:
            compiled = module._compiled
            if compiled is None:
                compiled = module._compiled = _Compiled()
    if on_device:
        if dtype != np.float32:
            raise TypeError(f"x must be float32 on a CUDA device, got {dtype}: convert it first")
        return compiled.run(module, inputs)
    y = compiled.run(module, [np.asarray(array, compute, order="C") for array in inputs])
    if dtype == compute:
        return y
    return y.astype(dtype) if isinstance(y, np.ndarray) else type(y)(v.astype(dtype) for v in y)
