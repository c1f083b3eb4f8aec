"""Instruction sets: FASTCONV_ISA forces one, and the forced one is the one that runs."""

from __future__ import annotations

import json

import fastconv
import numpy as np
import pytest
from fastconv import _core

FOUND = fastconv.show_config("dict")["isa_found"]
VECTOR_BYTES = {"baseline": 16, "neon": 16, "avx2": 32, "avx512": 64}

PROBE = """
    import json
    import fastconv
    from fastconv import _core
    print(json.dumps([fastconv.show_config("dict")["isa"], *_core.kernel_isa()]))
"""

# 576 products a sum: enough for other orders of summation to round otherwise.
CONVOLVE = """
    import json
    import fastconv, numpy as np
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 64, 19, 21))
    w = rng.standard_normal((48, 64, 3, 3))
    print(json.dumps({
        dtype: fastconv.conv2d(
            x.astype(dtype), w.astype(dtype), padding=1, algorithm=algorithm
        ).ravel().tolist()
        for algorithm in ["ALGORITHM"] for dtype in ("float32", "float64")
    }))
"""


@pytest.mark.parametrize("isa", FOUND)
def test_the_forced_one_runs(run_source, isa):
    assert json.loads(run_source(PROBE, FASTCONV_ISA=isa)) == [isa, isa, VECTOR_BYTES[isa]]


def test_the_best_one_is_the_default(run_source):
    expected = [FOUND[-1], FOUND[-1], VECTOR_BYTES[FOUND[-1]]]
    assert json.loads(run_source(PROBE)) == expected
    assert json.loads(run_source(PROBE, FASTCONV_ISA="")) == expected


def test_this_process_runs_what_it_says():
    isa, vector_bytes = _core.kernel_isa()
    assert fastconv.show_config("dict")["isa"] == isa
    assert vector_bytes == VECTOR_BYTES[isa]


def test_found_ones_are_known_and_in_order():
    assert FOUND[0] in ("baseline", "neon")
    assert FOUND[1:] == ["avx2", "avx512"][: len(FOUND) - 1]


@pytest.mark.parametrize("isa", ["sse9", "AVX2", "avx2 ", *(VECTOR_BYTES.keys() - set(FOUND))])
def test_one_that_is_not_to_be_had(run_source, isa):
    error = run_source("import fastconv", check=False, FASTCONV_ISA=isa)
    assert f"ImportError: FASTCONV_ISA={isa} cannot be used" in error
    assert ", ".join(FOUND) in error


@pytest.mark.parametrize("algorithm", ["im2col", "direct", "winograd2", "winograd4"])
def test_they_agree_within_rounding(run_source, algorithm):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 64, 19, 21))
    w = rng.standard_normal((48, 64, 3, 3))
    results = {
        isa: json.loads(run_source(CONVOLVE.replace("ALGORITHM", algorithm), FASTCONV_ISA=isa))
        for isa in FOUND
    }
    for dtype, unit in (("float32", 2e-6), ("float64", 2e-6 * 2.0**-29)):
        # The promise of docs/accuracy.md; the inputs are rounded to dtype first.
        xd, wd = (a.astype(dtype).astype(np.float64) for a in (x, w))
        exact = fastconv.conv2d(xd, wd, padding=1, algorithm="reference").ravel()
        size = fastconv.conv2d(np.abs(xd), np.abs(wd), padding=1, algorithm="reference")
        bound = unit * np.broadcast_to(size.max((2, 3), keepdims=True), size.shape).ravel()
        for isa, result in results.items():
            assert np.all(np.abs(result[dtype] - exact) <= bound), (isa, dtype)


def test_their_roundings_differ(run_source):
    """As they must where other code runs: baseline has no FMA, on x86-64."""
    results = {
        run_source(CONVOLVE.replace("ALGORITHM", "direct"), FASTCONV_ISA=isa) for isa in FOUND
    }
    assert len(results) == 1 if len(FOUND) == 1 else len(results) >= 2
