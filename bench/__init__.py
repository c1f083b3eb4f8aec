"""The benchmark harness: suites and peers. ``python -m bench --help``."""
