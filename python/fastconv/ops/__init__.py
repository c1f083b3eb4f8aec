"""Functional operators on NumPy arrays; the names and semantics of ``torch.nn.functional``."""

from fastconv.ops.conv import conv2d

__all__ = ["conv2d"]
