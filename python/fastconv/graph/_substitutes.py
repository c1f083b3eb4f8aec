"""What to write in `forward` instead of what symbolic values do not have.

An attribute is there only if NumPy's arrays have it too, with the same meaning: `forward` runs on
both. So torch's methods are named here instead, each with what works on both.
"""

from __future__ import annotations

from fastconv import ops

GENERAL = "the functions of fastconv.ops, arithmetic, comparisons and basic slicing"

_ITSELF = "x itself: results are contiguous, and only +=, -=, *= and /= write into it"
_DTYPE = "model.astype(dtype), which converts the whole network"
_DEVICE = 'model.compile(input_shape, device="cuda") for the whole network'
_RESHAPE = "x.reshape(shape)"
_PERMUTE = "x.transpose(axes) of all axes, x.swapaxes(a, b) or fastconv.permute(x, dims)"
_BROADCAST = "fastconv.expand(x, shape), or + and *, which broadcast by themselves"
_SCATTER = "fastconv.scatter_add(x, indices, updates, axis), torch's index_add"
_CONCAT = "fastconv.concat(arrays, axis)"
_VALUES = "network(x, taps=[...]) for the values inside a network"

SUBSTITUTES = {
    "sub": "x - y",
    "rsub": "y - x",
    "neg": "-x",
    **dict.fromkeys(("div", "true_divide"), "x / y"),
    "floor_divide": "fastconv.floor(x / y)",
    "mod": "x - y * fastconv.floor(x / y)",
    "pow": "x ** y",
    "clamp": "fastconv.clip(x, min, max)",
    "hardtanh": "fastconv.clip(x, min, max)",
    "clamp_min": "fastconv.maximum(x, min)",
    "clamp_max": "fastconv.minimum(x, max)",
    **dict.fromkeys(("gt", "greater"), "x > y"),
    **dict.fromkeys(("ge", "greater_equal"), "x >= y"),
    **dict.fromkeys(("lt", "less"), "x < y"),
    **dict.fromkeys(("le", "less_equal"), "x <= y"),
    "eq": "x == y",
    "ne": "x != y",
    "masked_fill": "fastconv.where(mask, value, x)",
    "rint": "fastconv.round(x)",
    "add": "x + y",
    "mul": "x * y",
    "multiply": "x * y",
    **dict.fromkeys(("matmul", "mm", "bmm", "dot"), "x @ y"),
    "addmm": "bias + x @ y",
    "mean": "fastconv.mean(x, axis, keepdims), which takes torch's spelling, too",
    "average": "fastconv.mean(x, axis)",
    "sum": "fastconv.sum(x, axis, keepdims), which takes torch's spelling, too",
    "prod": "fastconv.prod(x, axis, keepdims), which takes torch's spelling, too",
    "var": "x.var(axis), or x.var(axis, ddof=1), which is torch's default",
    "max": "fastconv.max(x, axis, keepdims), and fastconv.argmax(x, axis) for the indices",
    "min": "fastconv.min(x, axis, keepdims), and fastconv.argmin(x, axis) for the indices",
    "amax": "fastconv.max(x, axis)",
    "amin": "fastconv.min(x, axis)",
    "argmax": "fastconv.argmax(x, axis, keepdims), which takes torch's spelling, too",
    "argmin": "fastconv.argmin(x, axis, keepdims), which takes torch's spelling, too",
    "cumsum": "fastconv.cumsum(x, axis)",
    "norm": "fastconv.norm(x, ord, axis)",
    "topk": "numpy.argsort on what the network returns",
    "size": "x.shape, x.shape[1] for one size, math.prod(x.shape) for the number of elements",
    "dim": "x.ndim",
    "ndimension": "x.ndim",
    "numel": "math.prod(x.shape)",
    "nelement": "math.prod(x.shape)",
    "view": _RESHAPE,
    "view_as": "x.reshape(y.shape)",
    "reshape_as": "x.reshape(y.shape)",
    "unflatten": _RESHAPE,
    "ravel": "x.ravel() or fastconv.flatten(x)",
    "flatten": "x.flatten() of all axes, fastconv.flatten(x, 1) of all but the first",
    "squeeze": "x.squeeze(axis), as NumPy's: the axis must have size 1",
    "unsqueeze": "fastconv.unsqueeze(x, axis), or x[:, None] for axis 1",
    "expand_dims": "fastconv.expand_dims(x, axis), or x[:, None] for axis 1",
    "T": _PERMUTE,
    "mT": "x.swapaxes(-2, -1)",
    "t": "x.swapaxes(0, 1)",
    "transpose": _PERMUTE,
    "permute": _PERMUTE,
    "movedim": _PERMUTE,
    "moveaxis": _PERMUTE,
    "swapaxes": "x.swapaxes(a, b)",
    "swapdims": "x.swapaxes(a, b)",
    **dict.fromkeys(("concatenate", "cat"), _CONCAT),
    **dict.fromkeys(("vstack", "hstack", "dstack", "column_stack"), _CONCAT),
    "empty_like": "numpy.zeros_like(x)",
    "stack": "fastconv.stack(arrays, axis)",
    "split": "fastconv.split(x, size, axis) or a slice",
    "chunk": "fastconv.split(x, -(-x.shape[axis] // chunks), axis)",
    "unbind": "x[:, i] for each i",
    "narrow": "a slice, x[:, start : start + length]",
    "select": "x[:, index]",
    "index_select": "x.take(indices, axis)",
    "take": "x.take(indices, axis)",
    **dict.fromkeys(("index_add", "scatter_add"), _SCATTER),
    "flip": "fastconv.flip(x, axis), or a slice, x[:, ::-1]",
    "roll": "fastconv.roll(x, shift, axis)",
    "pad": "fastconv.pad(x, (left, right, top, bottom))",
    "expand": _BROADCAST,
    "expand_as": _BROADCAST,
    "broadcast_to": _BROADCAST,
    "repeat": "fastconv.tile(x, (1, times, 1)) for torch's, x.repeat(n, axis) for each element",
    "repeat_interleave": "x.repeat(n, axis)",
    "tile": "fastconv.tile(x, (1, times, 1))",
    "swish": "fastconv.silu(x)",
    "astype": _DTYPE,
    **dict.fromkeys(("float", "double", "half", "bfloat16", "type", "type_as"), _DTYPE),
    "to": f"{_DTYPE}, or {_DEVICE}",
    **dict.fromkeys(("cuda", "device", "is_cuda", "get_device"), _DEVICE),
    "clone": "x.copy()",
    **dict.fromkeys(("contiguous", "detach", "cpu", "data"), _ITSELF),
    **dict.fromkeys(("requires_grad", "grad", "is_contiguous"), _ITSELF),
    **dict.fromkeys(("item", "tolist", "numpy"), _VALUES),
}

NAMES = {
    **dict.fromkeys(("tensor", "as_tensor", "from_numpy", "Tensor"), "a NumPy array as it is"),
    **dict.fromkeys(("no_grad", "inference_mode"), "nothing: there are no gradients"),
    **dict.fromkeys(("float16", "float32", "float64", "dtype"), "NumPy's dtypes, numpy.float32"),
    "functional": "fastconv.ops",
    "load": "fastconv.weights.load(path)",
    "save": "fastconv.weights.save(path, state_dict)",
    "compile": "model.compile(input_shape)",
    "device": "the argument device= of the ops and of model.compile",
    "manual_seed": "the argument seed= of fastconv.create_model",
    "set_num_interop_threads": "fastconv.set_num_threads(n)",
}
"""What to use instead of names of torch's that `fastconv` has not."""


def substitute(name: str) -> str:
    """Return what to use instead of a method of torch's tensors or of NumPy's arrays."""
    if name in SUBSTITUTES:
        return SUBSTITUTES[name]
    if name.endswith("_") and name[:-1]:  # in place, as add_ and relu_
        plain = substitute(name[:-1])
        return f"{plain}, and assign the result: nothing is written in place"
    return f"fastconv.{name}(x, ...)" if name in ops.__all__ else GENERAL
