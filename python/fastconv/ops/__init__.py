"""Functional operators on NumPy arrays; the names and semantics of ``torch.nn.functional``.

Each also takes the arguments of torch's function, by torch's names and at torch's places:
``input`` for ``x``, ``dim`` for ``axis``, ``keepdim`` for ``keepdims``. Those that only training or
torch's own memory needs, such as ``training`` or ``inplace``, are taken where they change nothing,
and else refused with what to do instead (docs/from-torch.md).
"""

from fastconv.ops import (
    activation,
    axes,
    conv,
    conv_plan,
    conv_transpose,
    dense,
    elementwise,
    indexing,
    interpolation,
    norm,
    padding,
    pool,
    probability,
    repetition,
    shape,
    shuffle,
)
from fastconv.ops.activation import *
from fastconv.ops.axes import *
from fastconv.ops.conv import *
from fastconv.ops.conv_plan import *
from fastconv.ops.conv_transpose import *
from fastconv.ops.dense import *
from fastconv.ops.elementwise import *
from fastconv.ops.indexing import *
from fastconv.ops.interpolation import *
from fastconv.ops.norm import *
from fastconv.ops.padding import *
from fastconv.ops.pool import *
from fastconv.ops.probability import *
from fastconv.ops.repetition import *
from fastconv.ops.shape import *
from fastconv.ops.shuffle import *

__all__ = [
    *activation.__all__,
    *axes.__all__,
    *conv.__all__,
    *conv_plan.__all__,
    *conv_transpose.__all__,
    *dense.__all__,
    *elementwise.__all__,
    *indexing.__all__,
    *interpolation.__all__,
    *norm.__all__,
    *padding.__all__,
    *pool.__all__,
    *probability.__all__,
    *repetition.__all__,
    *shape.__all__,
    *shuffle.__all__,
]
