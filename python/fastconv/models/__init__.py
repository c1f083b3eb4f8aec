"""Published networks, one family a file, and the registry that makes them by name.

`blocks` has what several of them are made of.

Examples
--------
>>> import fastconv
>>> fastconv.list_models("resnext*")
['resnext101_32x8d', 'resnext101_64x4d', 'resnext50_32x4d']
>>> fastconv.models.mobilenet_v2(width_mult=0.5).num_classes
1000
"""

from typing import TYPE_CHECKING, Any

from fastconv.models import blocks as blocks
from fastconv.models._base import ImageClassifier as ImageClassifier
from fastconv.models._provenance import Checkpoint as Checkpoint
from fastconv.models._registry import ModelEntry as ModelEntry
from fastconv.models._registry import create_model as create_model
from fastconv.models._registry import list_models as list_models
from fastconv.models._registry import model_entry as model_entry
from fastconv.models._registry import register_model as register_model
from fastconv.models.alexnet import *
from fastconv.models.convnext import *
from fastconv.models.densenet import *
from fastconv.models.efficientnet import *
from fastconv.models.efficientnet_lite import *
from fastconv.models.efficientnetv2 import *
from fastconv.models.googlenet import *
from fastconv.models.inception import *
from fastconv.models.lenet import *
from fastconv.models.mnasnet import *
from fastconv.models.mobilenet import *
from fastconv.models.mobilenetv3 import *
from fastconv.models.regnet import *
from fastconv.models.resnet import *
from fastconv.models.shufflenet import *
from fastconv.models.squeezenet import *
from fastconv.models.vgg import *

if TYPE_CHECKING:
    from fastconv.models._renaming import to_model_names as to_model_names
    from fastconv.models.naming import recognise as recognise


def __getattr__(name: str) -> Any:
    """Import what renames weights when it is first used."""
    from importlib import import_module

    places = {"recognise": "naming", "to_model_names": "_renaming"}
    if name not in places:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{places[name]}"), name)
