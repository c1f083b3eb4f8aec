"""The arrays of one call of an op: their common dtype, and where its result goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import fastconv._core as _core
from fastconv._arguments import Array, as_array

_TooHardError = np.exceptions.TooHardError
_FLOAT64 = np.dtype(np.float64)
_FLOAT32 = np.dtype(np.float32)


def share_memory(a: Array, b: Array) -> bool:
    """Whether two arrays overlap; where that is too hard to tell, whether their bounds do."""
    limit: Any = 10**6  # NumPy's own stubs know only its special values
    try:
        return np.may_share_memory(a, b) and np.shares_memory(a, b, max_work=limit)
    except _TooHardError:
        return True


class Operands:
    """The float arrays of one call: same dtype, float16 and bfloat16 widened to float32.

    Parameters
    ----------
    **arrays
        The call's arrays by argument name; ``None`` where an optional one is absent. The first
        one sets the dtype.

    Attributes
    ----------
    dtype : numpy.dtype
        What the caller passed and gets back.
    compute_dtype : numpy.dtype
        What native code computes in: float32 or float64.
    """

    def __init__(self, **arrays: ArrayLike | None) -> None:
        first = next(iter(arrays))
        given = {
            name: as_array(name, value)  # type: ignore[arg-type]  # refuses None for the first
            for name, value in arrays.items()
            if value is not None or name == first
        }
        self.dtype: np.dtype[Any] = given[first].dtype
        self.compute_dtype: np.dtype[Any] = _FLOAT64 if self.dtype.itemsize == 8 else _FLOAT32
        for name, array in given.items():
            if array.dtype != self.dtype:
                raise TypeError(
                    f"{name} is {array.dtype} but {first} is {self.dtype}: "
                    f"convert one of them, for example {name}.astype(np.{self.dtype})"
                )
        self._arrays = given

    def __getitem__(self, name: str) -> Array:
        array = self.source(name)
        if array.dtype == self.compute_dtype:
            return array
        widened: Array = array.astype(self.compute_dtype)
        return widened

    def get(self, name: str) -> Array | None:
        """The array of this name, or ``None`` if it was not passed."""
        return self[name] if name in self._arrays else None

    def contiguous(self, name: str) -> Array:
        """The array of this name, C-contiguous."""
        return np.asarray(self[name], order="C")

    def get_contiguous(self, name: str) -> Array | None:
        """The array of this name, C-contiguous, or ``None`` if it was not passed."""
        return self.contiguous(name) if name in self._arrays else None

    def vector(self, name: str, length: int, of: str) -> Array | None:
        """The contiguous vector of this name, or ``None`` if it was not passed.

        Raises
        ------
        ValueError
            If it has not `length` elements; `of` says what there are so many of.
        """
        if name not in self._arrays:
            return None
        shape = self._arrays[name].shape
        if shape != (length,):
            raise ValueError(f"{name} must have shape ({length},), as {of}, got {shape}")
        return self.contiguous(name)

    def required_vector(self, name: str, length: int, of: str) -> Array:
        """As `vector`, but absence is a `TypeError`."""
        if (vector := self.vector(name, length, of)) is None:
            raise TypeError(f"{name} must be an array, got None")
        return vector

    def source(self, name: str) -> Array:
        """The array of this name in the caller's dtype."""
        if name not in self._arrays:
            raise TypeError(f"{name} must be an array, got None")
        return self._arrays[name]

    def images(self, name: str = "x") -> Array:
        """The array of this name as (N, C, H, W): a (C, H, W) becomes a batch of one."""
        array = self[name]
        if array.ndim not in (3, 4):
            raise ValueError(f"{name} must have shape (N, C, H, W) or (C, H, W), got {array.shape}")
        return array if array.ndim == 4 else array[None]

    def check_out(
        self,
        out: Array | None,
        shape: Sequence[int],
        *,
        inplace: Sequence[str] = (),
        argument: str = "out",
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        """Check `out=`: its shape, dtype and writability, and that it overlaps no operand.

        `inplace` names the operands that `out` may be, exactly; `argument` is what errors call it;
        `dtype` is the result's, if it is not that of the operands.
        """
        if out is None:
            return
        if not isinstance(out, np.ndarray):
            raise TypeError(f"{argument} must be a numpy.ndarray, got {type(out).__name__}")
        if out.dtype != (dtype or self.dtype):
            expected = dtype or f"{self.dtype} as the other arrays"
            raise TypeError(f"{argument} must be {expected}, got {out.dtype}")
        if out.shape != tuple(shape):
            raise ValueError(f"{argument} must have shape {tuple(shape)}, got {out.shape}")
        if not out.flags.writeable:
            raise ValueError(f"{argument} is read-only")
        if _overlaps_itself(out):
            raise ValueError(
                f"{argument} has elements that share memory: its strides are {out.strides}"
            )
        for name, array in self._arrays.items():
            if not share_memory(out, array):
                continue
            same = (
                array.ctypes.data == out.ctypes.data
                and array.strides == out.strides
                and array.shape == out.shape
            )
            if not (same and name in inplace):
                raise ValueError(f"{argument} overlaps {name}: pass an array of its own")

    def native_out(self, out: Array | None, dtype: np.dtype[Any] | None = None) -> Array | None:
        """`out` if native code can write into it, else ``None``: then `finish` copies.

        Native code writes `dtype`, by default what it computes in.
        """
        if (
            out is not None
            and out.dtype == (dtype or self.compute_dtype)
            and out.dtype.isnative
            and out.flags.aligned
        ):
            return None if any(s % out.itemsize for s in out.strides) else out
        return None

    def run(
        self,
        call: Callable[[Array], None],
        shape: Sequence[int],
        out: Array | None = None,
        *,
        inplace: Sequence[str] = (),
        contiguous: bool = False,
        dtype: np.dtype[Any] | None = None,
    ) -> Array:
        """Check `out`, let `call` write the result of this shape, and return it as `finish` does.

        `contiguous` says that native code writes C-contiguous arrays only; `dtype` is the result's,
        if it is not that of the operands.
        """
        self.check_out(out, shape, inplace=inplace, dtype=dtype)
        target = self.native_out(out, dtype)
        if target is None or (contiguous and not target.flags.c_contiguous):
            target = np.empty(shape, dtype or self.compute_dtype)
        call(target)
        return self.finish(target, out, dtype)

    def compute(
        self,
        op: str,
        weights: Sequence[Array | None],
        attributes: Mapping[str, Any],
        out: Array | None = None,
        *,
        inplace: Sequence[str] = (),
    ) -> Array:
        """Compute an operator of graphs on `x`, as `run`: for those that have no call of their own.

        `op` and `attributes` are as docs/operators.md has them, `weights` its other inputs.
        """
        x, graph = self.contiguous("x"), _core.Graph()
        inputs = [None if array is None else graph.constant(array) for array in weights]
        y = graph.add(op, [graph.input(x.shape, x.dtype), *inputs], dict(attributes))

        def call(target: Array) -> None:
            _core.Network(graph, [y], "fast", None, 0).run([x], [target])

        return self.run(call, graph.shape(y), out, inplace=inplace, contiguous=True)

    def run_images(
        self,
        call: Callable[[Array, Array], None],
        size: tuple[int, int],
        out: Array | None = None,
        *,
        contiguous: bool = False,
    ) -> Array:
        """As `run`, with ``call(x, y)`` for images (N, C, H, W); `size` is the output's (H, W).

        `contiguous` says that native code reads C-contiguous images only.
        """
        x = self.images()
        if x.shape[1] == 0:
            raise ValueError(f"x must have at least one channel, got shape {self['x'].shape}")
        if contiguous:
            x = np.asarray(x, order="C")
        batched = self.source("x").ndim == 4
        shape = (*x.shape[:2], *size)
        return self.run(
            lambda y: call(x, y if batched else y[None]), shape if batched else shape[1:], out
        )

    def move(self, view: Array, out: Array | None = None) -> Array:
        """Copy `view`, made of an operand by moving elements only, to `out` or a new array."""
        self.check_out(out, view.shape)
        if out is None:
            return np.array(view, order="C")
        out[...] = view
        return out

    def finish(
        self, result: Array, out: Array | None = None, dtype: np.dtype[Any] | None = None
    ) -> Array:
        """The result in `dtype`, by default the caller's, and in `out` if that was given."""
        if out is None:
            return result.astype(dtype or self.dtype, copy=False)
        if result is not out:
            out[...] = result
        return out


def _overlaps_itself(array: Array) -> bool:
    """Whether elements share memory: whether some axis's stride is less than what it steps over.

    True as well for some exotic interleaved layouts in which none do.
    """
    if array.flags.c_contiguous or array.size == 0:
        return False
    reach = array.itemsize
    axes = zip(array.strides, array.shape, strict=True)
    for stride, size in sorted((abs(stride), size) for stride, size in axes if size > 1):
        if stride < reach:
            return True
        reach += stride * (size - 1)
    return False
