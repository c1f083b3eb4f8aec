"""Operators that only move elements, in ONNX."""

from __future__ import annotations

import numpy as np

from fastconv.onnx._dynamic import Call, Size, is_fixed
from fastconv.onnx._graph import Graph, operator

_END = 2**62
"""Beyond the end of any axis."""


@operator("reshape", varying=["shape"])
def _reshape(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.reshape(inputs[0], call.in_sizes(), call.out_sizes())


@operator("permute")
def _permute(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.node("Transpose", inputs[0], perm=call.attributes["order"])


@operator("slice", varying=["start", "stop"])
def _slice(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    steps = call.attributes["step"]
    starts, stops = (
        [
            _bound(tuple(of_axis), size, step)
            for of_axis, size, step in zip(
                zip(*call.all(key), strict=True), call.in_sizes(), steps, strict=True
            )
        ]
        for key in ("start", "stop")
    )
    axes = graph.ints(range(len(steps)))
    return graph.node(
        "Slice", inputs[0], graph.ints(starts), graph.ints(stops), axes, graph.ints(steps)
    )


def _bound(bound: Size, size: Size, step: int) -> int | Size:
    """Return a bound of a slice as ONNX has it, negative if it is counted from the end."""
    if is_fixed(bound):
        # -1 with a negative step means "down to the first", which ONNX says with a minimum.
        return -_END if step < 0 and bound[0] < 0 else bound[0]
    from_end = tuple(at - n for at, n in zip(bound, size, strict=True))
    if is_fixed(from_end):
        return from_end[0] or _END
    return bound


@operator("concat")
def _concat(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.node("Concat", *inputs, axis=call.attributes["axis"])


@operator("pad")
def _pad(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    mode, x = call.attributes["mode"], inputs[0]
    before, after = call.attributes["before"], call.attributes["after"]
    if any(n > 0 for n in (*before, *after)):
        pads = graph.ints([max(n, 0) for n in (*before, *after)])
        if mode == "constant":
            x = graph.node(
                "Pad", x, pads, graph.constant(call.attributes["value"], call.node.dtype)
            )
        else:
            x = graph.node("Pad", x, pads, mode="edge" if mode == "replicate" else mode)
    if any(n < 0 for n in (*before, *after)):
        # Cropping comes last: what is cropped on one side may be reflected on the other.
        starts = graph.ints([max(-n, 0) for n in before])
        stops = graph.ints([min(n, 0) or _END for n in after])
        x = graph.node("Slice", x, starts, stops, graph.ints(range(len(before))))
    assert x is not None
    return x


@operator("channel_shuffle")
def _channel_shuffle(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    groups, sizes = call.attributes["groups"], call.out_sizes()
    n, c, *rest = sizes
    parts = tuple(size // groups for size in c)
    split = [n, (groups,) * len(c), parts, *rest]
    y = graph.reshape(inputs[0], sizes, split)
    y = graph.node("Transpose", y, perm=[0, 2, 1, *range(3, 3 + len(rest))])
    return graph.reshape(y, [n, parts, split[1], *rest], sizes)


@operator("pixel_shuffle")
def _pixel_shuffle(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    r, mode = call.attributes["upscale_factor"], call.attributes["mode"]
    return graph.node("DepthToSpace", inputs[0], blocksize=r, mode=mode)


@operator("pixel_unshuffle")
def _pixel_unshuffle(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    r = call.attributes["downscale_factor"]
    y = graph.node("SpaceToDepth", inputs[0], blocksize=r)
    if call.attributes["mode"] == "DCR" or r == 1:
        return y
    channels = call.out_sizes()[1]  # the order of which ONNX knows DCR alone
    if not is_fixed(channels):
        raise ValueError("its number of channels depends on the size of a dynamic axis")
    order = np.arange(channels[0]).reshape(r * r, -1).T.ravel()
    return graph.node("Gather", y, graph.ints(order.tolist()), axis=1)


@operator("take", varying=["indices"])
def _take(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.node("Gather", inputs[0], graph.ints(_indices(call)), axis=call.attributes["axis"])


@operator("scatter_add", varying=["indices"])
def _scatter_add(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    axis = call.attributes["axis"]
    indices = graph.node(
        "Unsqueeze",
        graph.ints(_indices(call)),
        graph.ints([i for i in range(call.node.ndim) if i != axis]),
    )
    indices = graph.node("Expand", indices, graph.node("Shape", inputs[1]))
    return graph.node("ScatterElements", inputs[0], indices, inputs[1], axis=axis, reduction="add")


def _indices(call: Call) -> list[int]:
    """Return the indices along an axis, negative where they are counted from a dynamic end."""
    size = call.in_sizes()[call.attributes["axis"]]
    found, every = [], call.all("indices")
    if any(len(indices) != len(every[0]) for indices in every):
        raise ValueError("the number of its indices depends on the size of a dynamic axis")
    for index in zip(*every, strict=True):
        from_end = tuple(at - n for at, n in zip(index, size, strict=True))
        if not (is_fixed(index) or is_fixed(from_end)):
            raise ValueError("its indices depend on the size of a dynamic axis")
        found.append(index[0] if is_fixed(index) else from_end[0])
    return found


@operator("tile", varying=["repeats"])
def _tile(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    repeats = [n[0] if is_fixed(n) else n for n in zip(*call.all("repeats"), strict=True)]
    return graph.node("Tile", inputs[0], graph.ints(repeats))
