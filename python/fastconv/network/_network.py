"""`Network`: what `Module.compile` returns."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import fastconv._core as _core
from fastconv import _cache, cuda
from fastconv._arguments import as_int, is_sequence
from fastconv._cache import Bounded
from fastconv.config import get_num_threads
from fastconv.cuda._devices import device_index
from fastconv.graph._inputs import InputShape, parse
from fastconv.network._arguments import Arguments
from fastconv.network._steps import Steps, explained, rates
from fastconv.ops._operands import Operands, share_memory

if TYPE_CHECKING:
    from fastconv.graph._module import Recordable
    from fastconv.graph._recording import Recording
    from fastconv.network._tuning import Times, Tuner

Array = NDArray[Any]

PRECISIONS: dict[str, np.dtype[Any]] = {"fp32": np.dtype(np.float32), "fp64": np.dtype(np.float64)}
"""What the CPU computes in."""


def run_on_device(native: Any, arrays: Sequence[Any], unbatched: bool = False) -> list[Any]:
    """Run a native network on arrays of a device."""
    results = native.run_on_device([array._native for array in arrays], unbatched)
    return [cuda.Array._wrap(result) for result in results]


class Network:
    """A module compiled for inputs of one shape: made by `Module.compile`.

    Calls may come from many threads at once. It keeps the parameters it was compiled from: changing
    the module later does not change it.

    Attributes
    ----------
    input_shape : tuple of int, or tuple or dict of such
        What the input must have; of several inputs as it was passed to `Module.compile`.
    dtype : numpy.dtype
        What the inputs must have, and what is computed and returned.

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

    input_shape: InputShape
    dtype: np.dtype[Any]

    def __init__(
        self,
        module: Recordable,
        input_shape: InputShape,
        options: dict[str, Any],
        measured: Mapping[str, Times] | None = None,
    ) -> None:
        from fastconv.graph._recording import Recording  # here, as import fastconv must stay fast

        inputs, names = parse(module, input_shape)
        self.input_shape = inputs.given
        self._several = len(names) > 1
        self._options = options
        own = module.dtype
        precision = options["precision"]
        self._device: int | None = device_index(options["device"])
        if precision is None:
            self.dtype = own if own is not None else np.dtype(np.float32)
        else:
            self.dtype = PRECISIONS.get(precision, np.dtype(np.float32))
        self._arguments = Arguments(names, inputs.shapes, self.dtype, self._device)
        self._unbatched = inputs.is_unbatched(module.input_ndim)
        if self._unbatched:
            inputs = inputs.batched()
        self._inputs = inputs
        recording = Recording(module, inputs, self.dtype, convert=precision is not None)
        self._recording: Recording | None = recording
        self._returned = recording.returned
        self._outs = list(zip(recording.shapes, recording.dtypes, strict=True))
        self._weights = sum(array.nbytes for array in module.state_dict().values())
        self._taps: tuple[str, ...] = tuple(options["taps"])
        self._variants: Bounded[Any] = Bounded(4)
        self._tuner: Tuner | None = None
        if options["autotune"]:
            from fastconv.network._tuning import Tuner  # here, as most programs never tune

            threads = options["threads"] or get_num_threads()
            self._tuner = Tuner(self.dtype, options["accuracy"], threads, measured)
        self._native = self._compile(self._taps)
        self._module: Recordable | None = None
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
            return self._tuner.tune(plan, native, self._inputs.shapes)

    def __call__(
        self,
        *inputs: ArrayLike | Mapping[str, ArrayLike],
        taps: Sequence[str] | None = None,
        out: Any = None,
        **named: ArrayLike,
    ) -> Any:
        """Compute the output.

        Parameters
        ----------
        *inputs, **named : array_like
            Of the compiled shape and dtype: in the order of `forward`'s arguments or by their
            names, which may also come as one mapping. If the network is on a CUDA device, also
            arrays there (of fastconv, torch, CuPy...), with any strides.
        taps : sequence of str, optional
            Modules whose outputs are wanted too, by their names in `Module.named_modules`. The
            first use of a new set compiles a variant. Default: those named when compiling.
        out : ndarray, or tuple or mapping of ndarray, optional
            Where to put the output, of its shape and dtype; for several outputs a
            tuple of as many, or a mapping with the same keys. With any strides, but only into a
            C-contiguous one it is written without a copy. Not for arrays on a CUDA device.

        Returns
        -------
        ndarray, or tuple, list or dict of ndarray
            What `forward` returned, or `out` itself if that was given. They are
            `fastconv.cuda.Array` where the inputs are on a device.
        taps : dict of str to ndarray
            Only with taps: the value that each of these modules returned last.

        Raises
        ------
        ValueError
            If an input or `out` has another shape, a tap does not exist, or `out` is read-only or
            overlaps an input, an array that the network reads, or itself.
        TypeError
            If there are other inputs, an input or `out` has another dtype, or `out` is no array.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv import nn
        >>> network = nn.Conv2d(3, 8, 3).compile((1, 3, 32, 32))
        >>> y = np.empty((1, 8, 30, 30), np.float32)
        >>> network(np.zeros((1, 3, 32, 32), np.float32), out=y) is y
        True
        """
        if self._several or named or inputs[1:] or not inputs or type(inputs[0]) is not np.ndarray:
            arrays = self._arguments.gather(inputs, named)
        else:  # what most calls have
            arrays = [self._arguments.check(0, inputs[0])]
        names = self._taps if taps is None else self._tap_names(taps)
        native = self._native
        if names != self._taps:
            native = self._variants.get(names, lambda: self._compile(names))
        if isinstance(arrays[0], cuda.Array):
            if out is not None:
                raise TypeError(
                    "out cannot be given for inputs on a device: results are new arrays"
                )
            results = run_on_device(native, arrays, self._unbatched)
        else:
            outs = [] if out is None else self._checked_outs(out, arrays, native)
            results = self._run(native, arrays, outs)
        y = self._returned.pack(results) if out is None else out
        if taps is None and not names:
            return y
        return y, dict(zip(names, results[len(results) - len(names) :], strict=True))

    def _run(self, native: Any, arrays: Sequence[Array], outs: Sequence[Array]) -> list[Any]:
        """Return all outputs, the first of them in `outs`."""
        direct = [out if out.flags.carray else None for out in outs]
        if not self._unbatched:
            inputs = [np.asarray(array, order="C") for array in arrays]
            results: list[Any] = native.run(inputs, direct)
        else:
            inputs = [np.asarray(array[None], order="C") for array in arrays]
            batches = [None if out is None else out[None] for out in direct]
            results = [result[0] for result in native.run(inputs, batches)]
        for out, written, result in zip(outs, direct, results, strict=False):
            if written is None:
                out[...] = result
        return results

    def _checked_outs(self, out: Any, inputs: Sequence[Array], native: Any) -> list[Array]:
        """Return the arrays of `out` if the network can write to them while it reads `inputs`."""
        operands = Operands(**dict(zip(self._arguments.names, inputs, strict=True)))
        outs: dict[str, Array] = {}
        for (name, array), (shape, dtype) in zip(self._returned.outs(out), self._outs, strict=True):
            if array is None:
                raise TypeError(f"{name} must be a numpy.ndarray, got None")
            other_dtype = None if dtype == self.dtype else dtype
            operands.check_out(array, shape[self._unbatched :], argument=name, dtype=other_dtype)
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
        return explained(step) if self._tuner is None else self._tuner.explain(step)

    def profile(
        self,
        *inputs: ArrayLike | Mapping[str, ArrayLike],
        repeats: int = 10,
        **named: ArrayLike,
    ) -> Steps:
        """Run the network and return its steps with their times.

        Parameters
        ----------
        *inputs, **named : array_like
            Of the compiled shape and dtype, as the network is called with them.
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
        arrays = self._arguments.gather(inputs, named)
        for i, array in enumerate(arrays):
            if isinstance(array, cuda.Array):
                arrays[i] = array = array.numpy()
            arrays[i] = np.asarray(array[None] if self._unbatched else array, order="C")
        seconds = np.min([self._native.profile(arrays)[1] for _ in range(repeats)], axis=0)
        peak = None
        if self._device is None:
            peak = _peak_gflops(self._options["threads"] or get_num_threads(), self.dtype)
        total = float(seconds.sum())
        steps = Steps(self.explain(), peak_gflops=peak)
        for step, time in zip(steps, seconds.tolist(), strict=True):
            step["seconds"] = time
            step["share"] = time / total if total > 0 else 0.0
            step |= rates(step["macs"], time, peak)
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


_peaks: dict[tuple[int, np.dtype[Any]], float] = {}


def _peak_gflops(threads: int, dtype: np.dtype[Any]) -> float:
    """Return the best that this process has measured; other work may have disturbed the first."""
    from fastconv._machine import peak_flops

    now = 1e-9 * peak_flops(threads, dtype, repeats=5)
    best = _peaks[threads, dtype] = max(now, _peaks.get((threads, dtype), 0.0))
    return best
