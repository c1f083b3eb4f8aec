"""Timing on noisy machines: contenders in processes of their own that take turns.

`runner.run_case` times one case, `statistics` says what follows, `report` and `plots` show it,
`compare` finds what has become slower, `machine` measures what the hardware can do.
"""
