"""Read and write network weights, without torch and without running anything that a file names.

`load` reads safetensors, torch's ``.pth``/``.pt`` in both of its formats, and ``.npz``; `save`
writes safetensors and ``.npz``; `to_model_names` renames the entries of foreign checkpoints.
"""

from fastconv.weights._common import WeightsError
from fastconv.weights._load import load
from fastconv.weights._save import save
from fastconv.weights.naming import recognise, to_model_names

__all__ = ["WeightsError", "load", "recognise", "save", "to_model_names"]
