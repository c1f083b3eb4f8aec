"""Models as ONNX files, for other programs (extra ``[onnx]``).

Examples
--------
>>> import fastconv
>>> model = fastconv.create_model("lenet5")
>>> fastconv.onnx.export(model, "lenet5.onnx", (1, 1, 32, 32))  # doctest: +SKIP

The batch size is open. With height and width open too, a network takes images of any size:

>>> model = fastconv.create_model("resnet18")
>>> sizes = {"x": {0: "batch", 2: "height", 3: "width"}}
>>> fastconv.onnx.export(  # doctest: +SKIP
...     model, "resnet18.onnx", (1, 3, 224, 224), dynamic_axes=sizes
... )
"""

from fastconv.onnx._export import export as export
