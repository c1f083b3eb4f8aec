"""Timing on noisy machines: contenders take turns, each in a process of its own.

`runner.run_case` times one case, `statistics` evaluates the times, `report` and `plots` show them,
`compare` finds what has become slower, and `machine` measures the limits of the hardware.
"""
