"""The extension module. All of it is private: it takes what `fastconv.ops` has normalised."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]

def num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def set_thread_override(threads: int) -> int: ...
def trim() -> None: ...
def config() -> dict[str, Any]: ...

# Operators other than convolutions write into `out`, of the right shape and of the dtype of `x`.
def activate(activation: str, x: Array, out: Array, negative_slope: float) -> None: ...
def binary(operation: str, a: Array, b: Array, out: Array) -> None: ...
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
def interpolate(
    x: Array, out: Array, scale: tuple[float, float], bilinear: bool, align_corners: bool
) -> None: ...
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
def mean(x: Array, out: Array) -> None: ...
