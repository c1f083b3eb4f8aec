"""Sampling at the places of a grid, in ONNX."""

from __future__ import annotations

from fastconv.onnx._dynamic import Call
from fastconv.onnx._graph import Graph, operator


@operator("grid_sample")
def _grid_sample(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    attributes = call.attributes
    return graph.node(
        "GridSample",
        *inputs,
        mode=attributes["mode"],
        padding_mode=attributes["padding_mode"],
        align_corners=int(attributes["align_corners"]),
    )
