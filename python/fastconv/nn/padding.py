"""Padding layers; see `fastconv.pad`."""

from __future__ import annotations

from fastconv import ops as F
from fastconv._arguments import as_float, as_ints
from fastconv.nn.module import Module, Value

Two = int | tuple[int, int]
Four = int | tuple[int, int, int, int]
Six = int | tuple[int, int, int, int, int, int]


class _Pad(Module):
    """Elements added on all sides, which `padding` has as the ops do, the last axis first."""

    _mode = "constant"
    _sides: int

    def __init__(self, padding: Two | Four | Six) -> None:
        self.padding = as_ints("padding", padding, self._sides)

    def forward(self, x: Value) -> Value:
        """Pad."""
        return F.pad(x, self.padding, self._mode)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.padding}"


class _Pad1d(_Pad):
    input_ndim = 3
    _sides = 2

    def __init__(self, padding: Two) -> None:
        super().__init__(padding)


class _Pad2d(_Pad):
    input_ndim = 4
    _sides = 4

    def __init__(self, padding: Four) -> None:
        super().__init__(padding)


class _Pad3d(_Pad):
    input_ndim = 5
    _sides = 6

    def __init__(self, padding: Six) -> None:
        super().__init__(padding)


class ZeroPad1d(_Pad1d):
    """Add zeros at the ends.

    `padding` is one int or (left, right), in elements.
    """


class ZeroPad2d(_Pad2d):
    """Add zeros on the four sides.

    `padding` is one int or (left, right, top, bottom), in elements.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ZeroPad2d((1, 2, 3, 0))(np.ones((1, 1, 4, 4), np.float32)).shape
    (1, 1, 7, 7)
    """


class ZeroPad3d(_Pad3d):
    """`ZeroPad2d` of volumes.

    `padding` is one int or (left, right, top, bottom, front, back), in elements.
    """


class ReflectionPad1d(_Pad1d):
    """Mirror the signal at its ends.

    `padding` is one int or (left, right), in elements.
    """

    _mode = "reflect"


class ReflectionPad2d(_Pad2d):
    """Mirror the image at its border.

    `padding` is one int or (left, right, top, bottom), in elements.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.ReflectionPad2d(1)
    ReflectionPad2d((1, 1, 1, 1))
    """

    _mode = "reflect"


class ReflectionPad3d(_Pad3d):
    """`ReflectionPad2d` of volumes.

    `padding` is one int or (left, right, top, bottom, front, back), in elements.
    """

    _mode = "reflect"


class ReplicationPad1d(_Pad1d):
    """Repeat the ends.

    `padding` is one int or (left, right), in elements.
    """

    _mode = "replicate"


class ReplicationPad2d(_Pad2d):
    """Repeat the border.

    `padding` is one int or (left, right, top, bottom), in elements.
    """

    _mode = "replicate"


class ReplicationPad3d(_Pad3d):
    """`ReplicationPad2d` of volumes.

    `padding` is one int or (left, right, top, bottom, front, back), in elements.
    """

    _mode = "replicate"


class CircularPad1d(_Pad1d):
    """Go on at the other end.

    `padding` is one int or (left, right), in elements.
    """

    _mode = "circular"


class CircularPad2d(_Pad2d):
    """Go on at the other side.

    `padding` is one int or (left, right, top, bottom), in elements.
    """

    _mode = "circular"


class CircularPad3d(_Pad3d):
    """`CircularPad2d` of volumes.

    `padding` is one int or (left, right, top, bottom, front, back), in elements.
    """

    _mode = "circular"


class _ConstantPad(_Pad):
    def __init__(self, padding: Two | Four | Six, value: float) -> None:
        self.padding = as_ints("padding", padding, self._sides)
        self.value = as_float("value", value)

    def forward(self, x: Value) -> Value:
        """Pad."""
        return F.pad(x, self.padding, value=self.value)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Add a number at the ends.

    `padding` is one int or (left, right), in elements.
    """

    input_ndim = 3
    _sides = 2

    def __init__(self, padding: Two, value: float) -> None:
        super().__init__(padding, value)


class ConstantPad2d(_ConstantPad):
    """Add a number on the four sides.

    `padding` is one int or (left, right, top, bottom), in elements.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.ConstantPad2d(2, 0.5)
    ConstantPad2d(padding=(2, 2, 2, 2), value=0.5)
    """

    input_ndim = 4
    _sides = 4

    def __init__(self, padding: Four, value: float) -> None:
        super().__init__(padding, value)


class ConstantPad3d(_ConstantPad):
    """`ConstantPad2d` of volumes.

    `padding` is one int or (left, right, top, bottom, front, back), in elements.
    """

    input_ndim = 5
    _sides = 6

    def __init__(self, padding: Six, value: float) -> None:
        super().__init__(padding, value)
