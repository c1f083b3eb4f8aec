"""Convolutions that are decided ahead of the call: which algorithms serve, weights packed once."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from fastconv import _core, cuda
from fastconv._arguments import Array, as_shape, choice
from fastconv.cuda._devices import device_index
from fastconv.ops._conv import ConvOptions, conv_options, residual_batch, run_conv
from fastconv.ops._operands import Operands

__all__ = ["AlgorithmInfo", "PreparedConv2d", "algorithms", "prepare_conv2d"]


class AlgorithmInfo(NamedTuple):
    """An algorithm that can serve a convolution.

    Attributes
    ----------
    name : str
        What ``algorithm=`` takes.
    workspace_bytes : int
        Scratch memory of each thread while it runs, or of the device.
    error_class : str
        ``"exact"`` (integer-valued data give exact results), ``"strassen"``, ``"winograd2"``,
        ``"winograd4"``, ``"winograd6"`` or ``"3xtf32"`` (see docs/accuracy.md).
    reason : str
        What speaks for it, or where it stands in the order.

    Examples
    --------
    >>> import fastconv
    >>> best = fastconv.algorithms((1, 64, 28, 28), (64, 1, 3, 3), groups=64)[0]
    >>> best.name, best.error_class
    ('depthwise', 'exact')
    """

    name: str
    workspace_bytes: int
    error_class: str
    reason: str


def algorithms(
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: int | tuple[int, int] = 1,
    padding: Any = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    dtype: str = "float32",
    accuracy: str = "fast",
    device: str | None = "cpu",
) -> list[AlgorithmInfo]:
    """List the algorithms that can serve a convolution; ``"auto"`` takes the first.

    So do `prepare_conv2d` and networks, unless the weights would make its rounding errors too
    large. `conv2d` itself, which packs the weights in the call, takes the smaller Winograd tile
    where the output has at most 14 rows or columns, and none at 7, as there it would not pay;
    and ``"im2col"`` for 1x1 of many channels, where the others take ``"direct"``, or, with
    ``accuracy="fastest"``, ``"strassen"``.

    Parameters
    ----------
    x_shape : (N, C, H, W) or (C, H, W)
    weight_shape : (O, C / groups, KH, KW)
    stride, padding, dilation, groups, accuracy, device
        As for `conv2d`.
    dtype : {"float32", "float64"}

    Returns
    -------
    list of AlgorithmInfo

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import fastconv
    >>> found = fastconv.algorithms((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    >>> found[0].name
    'winograd4'
    """
    options = conv_options(stride, padding, dilation, groups, None, "auto", accuracy)
    index = device_index(device)
    shape, kernel = as_shape("x_shape", x_shape), as_shape("weight_shape", weight_shape)
    double = choice("dtype", str(dtype), ("float32", "float64")) == "float64"
    if len(shape) == 3:
        shape = (1, *shape)
    if index is not None:
        if double:
            raise ValueError("dtype must be float32 on a CUDA device, got float64")
        rows = cuda._native().algorithms(shape, kernel, *options[:4], accuracy, "fp32", index)
        return [AlgorithmInfo(*row) for row in rows]
    rows = _core.algorithms(shape, kernel, double, *options[:4], accuracy)
    return [AlgorithmInfo(*row) for row in rows]


class PreparedConv2d:
    """A convolution whose weights are packed once; made by `prepare_conv2d`.

    Call it with ``prepared(x, residual=None, out=None)``. It pickles, and may be called from
    several threads at once.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> weight = np.ones((8, 3, 3, 3), np.float32)
    >>> prepared = fastconv.prepare_conv2d(weight, padding=1)
    >>> prepared(np.ones((1, 3, 5, 5), np.float32)).shape
    (1, 8, 5, 5)
    """

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None,
        options: ConvOptions,
        input_shape: tuple[int, ...] | None,
    ) -> None:
        operands = Operands(weight=weight, bias=bias)
        self._dtype = operands.dtype
        self._weight = operands.contiguous("weight").copy()
        if self._weight.ndim != 4:
            raise ValueError(
                f"weight must have shape (O, C / groups, KH, KW), got {self._weight.shape}"
            )
        offset = operands.vector("bias", len(self._weight), "weight has so many output channels")
        self._bias = None if offset is None else offset.copy()
        self._options = options
        self._input_shape = input_shape
        self._packed: dict[tuple[int, ...], Any] = {}
        if input_shape is not None:
            shape = as_shape("input_shape", input_shape)
            if len(shape) not in (3, 4):
                raise ValueError(f"input_shape must be (N, C, H, W) or (C, H, W), got {shape}")
            self._plan(shape[-3:])

    def _plan(self, image_shape: tuple[int, ...]) -> Any:
        plan = self._packed.get(image_shape)
        if plan is None:
            plan = _core.PreparedConv2d(image_shape, self._weight, self._bias, *self._options)
            packed = dict([*self._packed.items(), (image_shape, plan)][-2:])
            self._packed = packed  # replaced as a whole: other threads may be reading it
        return plan

    def __call__(
        self, x: ArrayLike, residual: ArrayLike | None = None, out: Array | None = None
    ) -> Array:
        """Convolve.

        Parameters
        ----------
        x : array_like, shape (N, C, H, W) or (C, H, W)
            Of the weight's dtype.
        residual : array_like, shape of the result, optional
            Added before the activation.
        out : ndarray, optional
            Where to put the result; may be `residual` itself.

        Returns
        -------
        ndarray, shape (N, O, H_out, W_out) or (O, H_out, W_out)

        Raises
        ------
        TypeError, ValueError
            As `conv2d`.
        """
        operands = Operands(x=x, residual=residual)
        if operands.dtype != self._dtype:
            raise TypeError(
                f"x is {operands.dtype} but the weight is {self._dtype}: "
                f"convert it, for example x.astype(np.{self._dtype})"
            )
        images = operands.images()
        plan = self._plan(images.shape[1:])
        added = residual_batch(operands)
        return run_conv(
            operands,
            lambda y: plan.run(images, added, y),
            lambda: (len(images), *plan.output_shape),
            out,
            inplace=("residual",),
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": {}}

    def __repr__(self) -> str:
        chosen = ", ".join(f"{plan.algorithm} for {shape}" for shape, plan in self._packed.items())
        return f"PreparedConv2d(weight={self._weight.shape}, {chosen or 'not packed yet'})"


def prepare_conv2d(
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Any = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    algorithm: str = "auto",
    accuracy: str = "fast",
) -> PreparedConv2d:
    """Decide a convolution and pack its weights once, for many calls.

    Parameters
    ----------
    weight, bias, stride, padding, dilation, groups, activation, algorithm, accuracy
        As for `conv2d`. The arrays are copied.
    input_shape : (N, C, H, W) or (C, H, W), optional
        Packs now, for images of this size; otherwise at the first call. At most two packings are
        kept.

    Returns
    -------
    PreparedConv2d
        Call it with ``prepared(x, residual=None, out=None)``.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> weight = np.ones((8, 3, 3, 3), np.float32)
    >>> conv = fastconv.prepare_conv2d(weight, padding="same", activation="relu")
    >>> conv(np.ones((2, 3, 16, 16), np.float32)).shape
    (2, 8, 16, 16)
    """
    options = conv_options(stride, padding, dilation, groups, activation, algorithm, accuracy)
    return PreparedConv2d(weight, bias, options, input_shape)
