"""The extension module. All of it is private: it takes what `fastconv.ops` has normalised."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]
Shape = tuple[int, ...]

def num_threads() -> int: ...
def process_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def set_thread_override(threads: int) -> int: ...
def trim() -> None: ...
def config() -> dict[str, Any]: ...
def kernel_isa() -> tuple[str, int]: ...
def measure_flops(dtype: np.dtype[Any], seconds: float) -> float: ...
def measure_read_bandwidth(bytes: int, seconds: float) -> float: ...

# Operators other than convolutions write into `out`, of the right shape and of the dtype of `x`.
def activations() -> tuple[str, ...]: ...  # their words
def activate(activation: str, x: Array, out: Array, negative_slope: float) -> None: ...
def instructions() -> list[tuple[str, str, str]]: ...  # (name, operands, result): f floats, m masks
def pointwise(program: str, arrays: Sequence[Array], out: Array) -> None: ...
def pool_output_size(
    size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Pair: ...
def max_pool2d(
    x: Array,
    out: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> None: ...
def avg_pool2d(
    x: Array,
    out: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> None: ...
def adaptive_max_pool2d(x: Array, out: Array) -> None: ...
def adaptive_avg_pool2d(x: Array, out: Array) -> None: ...
def interpolate(x: Array, out: Array, attributes: dict[str, Any]) -> None: ...
def grid_sample(x: Array, grid: Array, out: Array, attributes: dict[str, Any]) -> None: ...
def batch_norm(
    x: Array,
    out: Array,
    running_mean: Array,
    running_var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    activation: str,
) -> None: ...
def layer_norm(
    x: Array, out: Array, weight: Array | None, bias: Array | None, eps: float
) -> None: ...
def local_response_norm(
    x: Array, out: Array, size: int, alpha: float, beta: float, k: float
) -> None: ...
def softmax(x: Array, out: Array, logarithm: bool) -> None: ...

# x (outer, count, inner): over the middle axis to (outer, inner), but cumsum.
def reduce(name: str, x: Array, out: Array) -> None: ...
def argmax(x: Array, out: Array, least: bool) -> None: ...  # out is int64
def norm(x: Array, out: Array, ord: float) -> None: ...
def cumsum(x: Array, out: Array, exclusive: bool, reverse: bool) -> None: ...

# Convolutions. `padding` is ((top, bottom), (left, right)), "same" or "valid".
# Where `out` is None the result is a new array.
Padding = Any

def conv_output_shape(
    x: Shape, weight: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Shape: ...
def conv_transpose_output_shape(
    x: Shape,
    weight: Shape,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Shape: ...
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    residual: Array | None,
    out: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    activation: str,
    algorithm: str,
    accuracy: str,
) -> Array: ...
def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array | None,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
    activation: str,
) -> Array: ...
def linear(
    x: Array,
    weight: Array,
    bias: Array | None,
    residual: Array | None,
    out: Array,
    activation: str,
) -> None: ...
def linear_output_shape(x: Shape, weight: Shape) -> Shape: ...
def matmul_output_shape(a: Shape, b: Shape) -> Shape: ...
def matmul(a: Array, b: Array, out: Array) -> None: ...

# The same for calls as the user wrote them: the result, or NotImplemented where Python has to look.
PlainCall = Callable[[tuple[Any, ...], dict[str, Any]], Any]

def linear_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...
def matmul_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...
def activate_plain(activation: str) -> PlainCall: ...
def instruction_plain(instruction: str, operands: int) -> PlainCall: ...
def algorithms(
    x: Shape,
    weight: Shape,
    float64: bool,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    accuracy: str,
) -> list[tuple[str, int, str, str]]: ...

class PreparedConv2d:
    def __init__(
        self,
        image_shape: Shape,
        weight: Array,
        bias: Array | None,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
        activation: str,
        algorithm: str,
        accuracy: str,
    ) -> None: ...
    def run(self, x: Array, residual: Array | None, out: Array | None) -> Array: ...
    @property
    def output_shape(self) -> Shape: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def packed_bytes(self) -> int: ...

# Graphs and networks (fastconv.graph, fastconv.network). Values are numbered, and each has a
# dtype: float32, float64, float16, bfloat16, int8, uint8, int32, int64 or bool. NumPy has no
# bfloat16: it is the structured dtype [("bfloat16", np.uint16)], which holds the bits.
class Graph:
    def __init__(self) -> None: ...
    def input(self, shape: Sequence[int], dtype: Any) -> int: ...
    def constant(self, array: Array, name: str = ...) -> int: ...
    def add(
        self, op: str, inputs: Sequence[int | None], attributes: dict[str, Any], name: str = ...
    ) -> int: ...
    def __len__(self) -> int: ...
    def shape(self, value: int) -> tuple[int, ...]: ...
    def dtype(self, value: int) -> np.dtype[Any]: ...
    # (operator, inputs, attributes, shape, dtype, name)
    def node(
        self, value: int
    ) -> tuple[
        str, tuple[int | None, ...], dict[str, Any], tuple[int, ...], np.dtype[Any], str
    ]: ...
    def constant_array(self, value: int) -> Array | None: ...  # None once it is packed and gone
    def set_outputs(self, values: Sequence[int]) -> None: ...
    @property
    def inputs(self) -> list[int]: ...
    @property
    def outputs(self) -> list[int]: ...
    # programs: whether chains of pointwise operators become one, as on the CPU
    def optimized(self, outputs: Sequence[int], programs: bool = ...) -> Graph: ...
    def same_but_sizes(self, other: Graph) -> bool: ...

# (name, inputs, ((attribute, kind, default or None), ...))
def operators() -> list[tuple[str, str, str, tuple[tuple[str, str, Any], ...]]]: ...

class Network:
    def __init__(
        self,
        graph: Graph,
        outputs: Sequence[int],
        accuracy: str,
        max_workspace: int | None,
        threads: int,
        algorithms: Mapping[int, str] = ...,
        optimized: bool = ...,  # whether the graph is what Graph.optimized returns
    ) -> None: ...
    @staticmethod  # steps() of the network that would be made
    def plan(
        graph: Graph, outputs: Sequence[int], accuracy: str, max_workspace: int | None
    ) -> list[dict[str, Any]]: ...
    def with_graph(self, optimized: Graph) -> Network: ...
    # outs: for each output, from the first on, the C-contiguous array to write it to, or None.
    def run(self, arrays: Sequence[Array], outs: Sequence[Array | None] = ...) -> list[Array]: ...
    def overlaps_constants(self, array: Array) -> bool: ...  # that every call reads
    def profile(self, inputs: Sequence[Array]) -> tuple[list[Array], list[float]]: ...
    # Those of convolutions also have "value" (which `algorithms` names), "task" (all that the time
    # depends on but machine, threads, dtype and accuracy) and "considered": (algorithm, whether it
    # could be taken, why or why not), the rule's choice first.
    def steps(self) -> list[dict[str, Any]]: ...
    @property
    def device(self) -> None: ...  # as of a network on a CUDA device
    @property
    def packed_bytes(self) -> int: ...
    @property
    def arena_bytes(self) -> int: ...

def set_poison_arenas(poison: bool) -> None: ...
