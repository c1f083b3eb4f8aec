"""Build the CUDA backend of this clone, test it on the GPU of this machine, and time it.

    python bench/gpu_check.py --out results

Needs nvcc, numpy, pybind11, cmake, ninja and pytest; torch (with CUDA) for comparisons and times,
CuPy for its round trips. Nothing is installed: all is built in ``build/gpu``. See
docs/performance.md, "On a GPU".
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.gpu.main import main

if __name__ == "__main__":
    sys.exit(main())
