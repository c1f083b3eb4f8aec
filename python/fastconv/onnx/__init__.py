"""Models as ONNX files, for other programs (extra ``[onnx]``).

Examples
--------
>>> import fastconv
>>> model = fastconv.create_model("lenet5")
>>> fastconv.onnx.export(model, "lenet5.onnx", (1, 1, 32, 32))  # doctest: +SKIP
"""

from fastconv.onnx._export import export as export
