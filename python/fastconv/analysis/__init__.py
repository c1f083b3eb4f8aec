"""The arithmetic of convolutional networks: sizes, parameters, operations, receptive fields.

There are formulas for single layers, and functions that read the recorded graph of a whole network.
Nothing here computes with pixels or weights.

MACs are multiply-accumulates, the unit in which papers and torchvision give the cost of a network.
FLOPs are floating-point operations, always ``2 * MACs``. Convolutions, transposed convolutions,
linear layers and `matmul` are counted, products with padding included. Biases, normalisation,
activations, pooling and elementwise operators are not counted, as they add little.
"""

from fastconv.analysis._arithmetic import (
    conv_flops,
    conv_macs,
    conv_output_size,
    conv_parameters,
    linear_flops,
    linear_macs,
    linear_parameters,
    separable_conv_flops,
    separable_conv_macs,
    separable_conv_parameters,
)
from fastconv.analysis._receptive_field import ReceptiveField, receptive_field
from fastconv.analysis._summary import Summary, SummaryRow, summary
from fastconv.analysis._transposed import (
    conv_transpose_flops,
    conv_transpose_macs,
    conv_transpose_output_size,
)

__all__ = [
    "ReceptiveField",
    "Summary",
    "SummaryRow",
    "conv_flops",
    "conv_macs",
    "conv_output_size",
    "conv_parameters",
    "conv_transpose_flops",
    "conv_transpose_macs",
    "conv_transpose_output_size",
    "linear_flops",
    "linear_macs",
    "linear_parameters",
    "receptive_field",
    "separable_conv_flops",
    "separable_conv_macs",
    "separable_conv_parameters",
    "summary",
]
