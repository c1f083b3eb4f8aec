"""Functional operators on NumPy arrays; the names and semantics of ``torch.nn.functional``.

Each also takes the arguments of torch's function, by torch's names and at torch's places:
``input`` for ``x``, ``dim`` for ``axis``, ``keepdim`` for ``keepdims``. Those that only training or
torch's own memory needs, such as ``training`` or ``inplace``, are taken where they change nothing,
and else refused with what to do instead (docs/from-torch.md).
"""

from fastconv.ops import (
    activation,
    arithmetic,
    axes,
    conv,
    conv_plan,
    conv_transpose,
    dense,
    elementary,
    extremes,
    grid_sampling,
    indexing,
    instance_normalization,
    interpolation,
    lp_pool,
    normalization,
    padding,
    pool,
    pool1d,
    probability,
    rectifiers,
    reduction,
    repetition,
    shape,
    shuffle,
    volumes,
)
from fastconv.ops.activation import *
from fastconv.ops.arithmetic import *
from fastconv.ops.axes import *
from fastconv.ops.conv import *
from fastconv.ops.conv_plan import *
from fastconv.ops.conv_transpose import *
from fastconv.ops.dense import *
from fastconv.ops.elementary import *
from fastconv.ops.extremes import *
from fastconv.ops.grid_sampling import *
from fastconv.ops.indexing import *
from fastconv.ops.instance_normalization import *
from fastconv.ops.interpolation import *
from fastconv.ops.lp_pool import *
from fastconv.ops.normalization import *
from fastconv.ops.padding import *
from fastconv.ops.pool import *
from fastconv.ops.pool1d import *
from fastconv.ops.probability import *
from fastconv.ops.rectifiers import *
from fastconv.ops.reduction import *
from fastconv.ops.repetition import *
from fastconv.ops.shape import *
from fastconv.ops.shuffle import *
from fastconv.ops.volumes import *

__all__ = [
    *activation.__all__,
    *arithmetic.__all__,
    *axes.__all__,
    *conv.__all__,
    *conv_plan.__all__,
    *conv_transpose.__all__,
    *dense.__all__,
    *elementary.__all__,
    *extremes.__all__,
    *grid_sampling.__all__,
    *indexing.__all__,
    *instance_normalization.__all__,
    *interpolation.__all__,
    *lp_pool.__all__,
    *normalization.__all__,
    *padding.__all__,
    *pool.__all__,
    *pool1d.__all__,
    *probability.__all__,
    *rectifiers.__all__,
    *reduction.__all__,
    *repetition.__all__,
    *shape.__all__,
    *shuffle.__all__,
    *volumes.__all__,
]
