"""Networks as graphs: what `forward` does to symbolic values, recorded to be read and compiled."""

from fastconv.graph._graph import Graph as Graph
from fastconv.graph._graph import Node as Node

__all__ = ["Graph", "Node"]
