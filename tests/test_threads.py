"""Threads: how many, who decides, and that no result depends on them."""

from __future__ import annotations

import os
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import fastconv
import numpy as np
import pytest
import threadpoolctl

CORES = sorted(os.sched_getaffinity(0))

# Large enough that the work is divided, of every family of kernels.
LAYERS = {
    "3x3": {"x": (3, 48, 29, 31), "weight": (56, 48, 3, 3), "padding": 1},
    "1x1": {"x": (3, 120, 28, 28), "weight": (72, 120, 1, 1)},
    "1x1, whole vectors": {"x": (3, 128, 30, 27), "weight": (160, 128, 1, 1)},
    "strided": {"x": (2, 24, 57, 55), "weight": (40, 24, 5, 5), "stride": 2, "padding": 2},
    "depthwise": {"x": (2, 90, 45, 47), "weight": (90, 1, 5, 5), "padding": 2, "groups": 90},
    "grouped": {"x": (2, 64, 29, 30), "weight": (96, 16, 3, 3), "padding": 1, "groups": 4},
}
ALGORITHMS = ("auto", "im2col", "direct", "strassen", "winograd2", "winograd4", "depthwise")


def layer(name, dtype):
    arguments = dict(LAYERS[name])
    rng = np.random.default_rng(len(name))
    for key in ("x", "weight"):
        arguments[key] = rng.standard_normal(arguments[key]).astype(dtype)
    return arguments


def convolve(arguments, **options):
    """The result, or None where the algorithm cannot serve."""
    try:
        return fastconv.conv2d(**arguments, activation="relu", **options)
    except ValueError as error:
        if "cannot serve" not in str(error) and "algorithm" not in str(error):
            raise
        return None


def same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.fixture(autouse=True)
def restore_threads():
    before = fastconv.get_num_threads()
    yield
    fastconv.set_num_threads(before)


@pytest.mark.parametrize("accuracy", ["fast", "exact"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_results_do_not_depend_on_the_number_of_threads(name, dtype, accuracy):
    arguments = layer(name, dtype)
    compared = 0
    for algorithm in ALGORITHMS:
        options = {"algorithm": algorithm, "accuracy": accuracy}
        with fastconv.num_threads(1):
            expected = convolve(arguments, **options)
        if expected is None:
            continue
        assert np.any(expected)
        for threads in (2, 5):
            with fastconv.num_threads(threads):
                assert same_bits(convolve(arguments, **options), expected), (algorithm, threads)
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_exact_results_do_not_depend_on_how_the_batch_is_sliced(name, dtype):
    arguments = layer(name, dtype)
    shape = (7, *arguments["x"].shape[1:])
    x = np.random.default_rng(7).standard_normal(shape).astype(dtype)
    batch = fastconv.conv2d(**{**arguments, "x": x}, accuracy="exact")
    for size in (1, 2, 3, 5):
        for start in range(0, len(x), size):
            part = fastconv.conv2d(**{**arguments, "x": x[start : start + size]}, accuracy="exact")
            assert same_bits(part, batch[start : start + size]), (start, size)
    # Reversed and unbatched as well.
    reverse = fastconv.conv2d(**{**arguments, "x": x[::-1]}, accuracy="exact")
    assert same_bits(reverse[::-1].copy(), batch)
    assert same_bits(fastconv.conv2d(**{**arguments, "x": x[2]}, accuracy="exact"), batch[2])


def test_eight_python_threads_at_once():
    cases = [layer(name, dtype) for name in LAYERS for dtype in ("float32", "float64")]
    expected = [convolve(case) for case in cases]
    barrier = threading.Barrier(8)

    def work(seed):
        order = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(cases)), 3))
        barrier.wait(30)
        return all(same_bits(convolve(cases[i]), expected[i]) for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_set_and_get():
    fastconv.set_num_threads(3)
    assert fastconv.get_num_threads() == 3
    fastconv.set_num_threads(np.int64(1))
    assert fastconv.get_num_threads() == 1
    assert fastconv.show_config("dict")["threads"] == 1


def test_the_context_is_of_the_calling_thread():
    fastconv.set_num_threads(3)
    with fastconv.num_threads(2):
        assert fastconv.get_num_threads() == 2
        with fastconv.num_threads(5):
            assert fastconv.get_num_threads() == 5
        assert fastconv.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(fastconv.get_num_threads).result() == 3
        fastconv.set_num_threads(4)
        assert fastconv.get_num_threads() == 2
    assert fastconv.get_num_threads() == 4


def leave_by_error():
    with fastconv.num_threads(2):
        raise KeyError("inside")


def test_the_context_ends_with_an_error():
    before = fastconv.get_num_threads()
    with pytest.raises(KeyError, match="inside"):
        leave_by_error()
    assert fastconv.get_num_threads() == before


def enter(n):
    with fastconv.num_threads(n):
        pass


@pytest.mark.parametrize("function", [fastconv.set_num_threads, enter])
@pytest.mark.parametrize(
    ("n", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (1025, ValueError),
        (2**31, ValueError),
        (2**70, ValueError),
        (1.0, TypeError),
        ("2", TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_bad_numbers_of_threads(function, n, error):
    before = fastconv.get_num_threads()
    with pytest.raises(error, match=r"^n "):
        function(n)
    assert fastconv.get_num_threads() == before


SHOW = "import fastconv; print(fastconv.get_num_threads())"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FASTCONV_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "7,2"}, 7),
        ({"FASTCONV_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"FASTCONV_NUM_THREADS": "", "OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "many"}, fastconv.show_config("dict")["cores_available"]),
    ],
)
def test_environment(run_source, environment, expected):
    assert run_source(SHOW, **environment) == f"{expected}\n"


@pytest.mark.parametrize("value", ["0", "-2", "two", "2.5", "1025", "99999999999999999999"])
def test_bad_environment(run_source, value):
    error = run_source(SHOW, check=False, FASTCONV_NUM_THREADS=value)
    assert "ImportError: FASTCONV_NUM_THREADS must be from 1 to 1024" in error
    assert f"'{value}'" in error


def test_affinity_mask(run_source):
    source = f"""
        import os
        os.sched_setaffinity(0, [{CORES[0]}])
        import fastconv
        print(fastconv.get_num_threads(), fastconv.show_config("dict")["cores_available"])
    """
    assert run_source(source) == "1 1\n"


def test_never_more_threads_than_cores_by_default(run_source):
    assert 1 <= int(run_source(SHOW)) <= len(CORES)


IDLE = """
    import time
    import fastconv, numpy as np
    x = np.ones((4, 64, 56, 56), np.float32)
    w = np.ones((64, 64, 3, 3), np.float32)
    fastconv.set_num_threads(4)
    for _ in range(3):
        fastconv.conv2d(x, w, padding=1)
    time.sleep(0.01)  # the workers may spin this long, and no longer
    before = time.process_time()
    time.sleep(0.5)
    print(time.process_time() - before)
"""


def test_idle_threads_use_no_cpu(run_source):
    assert float(run_source(IDLE)) < 0.02


FORK = """
    import os, sys, threading, warnings
    import fastconv, numpy as np
    warnings.simplefilter("ignore")  # Python 3.12 warns of any fork with threads
    fastconv.set_num_threads(3)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 40, 33, 35), dtype=np.float32)
    w = rng.standard_normal((48, 40, 3, 3), dtype=np.float32)

    def results():
        return [fastconv.conv2d(x, w, padding=1, algorithm=a).tobytes()
                for a in ("auto", "im2col", "direct", "winograd4")]

    expected = results()
"""


def test_forked_child(run_source):
    source = """
        for _ in range(5):
            child = os.fork()
            if child == 0:
                os._exit(0 if results() == expected else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert results() == expected
        # A child of a child.
        child = os.fork()
        if child == 0:
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(0 if results() == expected else 1)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print("ok")
    """
    assert run_source(textwrap.dedent(FORK) + textwrap.dedent(source)) == "ok\n"


def test_fork_while_other_threads_convolve(run_source):
    source = """
        stop = threading.Event()

        def work():
            while not stop.is_set():
                assert results() == expected

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(30):
                child = os.fork()
                if child == 0:
                    os._exit(0 if results() == expected else 1)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            stop.set()
        for thread in threads:
            thread.join()
        print("ok")
    """
    assert run_source(textwrap.dedent(FORK) + textwrap.dedent(source)) == "ok\n"


def test_multiprocessing_by_fork(run_source):
    source = """
        import multiprocessing

        def check(_):
            return results() == expected

        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(check, range(6)) == [True] * 6
        print("ok")
    """
    assert run_source(textwrap.dedent(FORK) + textwrap.dedent(source)) == "ok\n"


def test_threadpoolctl_limits_the_process():
    fastconv.set_num_threads(3)

    def info():
        (found,) = [i for i in threadpoolctl.threadpool_info() if i["user_api"] == "fastconv"]
        return found

    assert info()["num_threads"] == 3
    assert info()["version"] == fastconv.__version__
    with threadpoolctl.threadpool_limits(1):
        assert fastconv.get_num_threads() == 1
    assert fastconv.get_num_threads() == 3
    with threadpoolctl.threadpool_limits(2, user_api="fastconv"):
        assert fastconv.get_num_threads() == 2
    # The process-wide number is what it sets and restores, not the thread's own.
    with fastconv.num_threads(5), threadpoolctl.threadpool_limits(2):
        assert fastconv.get_num_threads() == 5
    assert fastconv.get_num_threads() == 3


def test_works_without_threadpoolctl(run_source):
    source = """
        import sys
        sys.modules["threadpoolctl"] = None
        import fastconv
        print(fastconv.get_num_threads() >= 1)
    """
    assert run_source(source) == "True\n"
